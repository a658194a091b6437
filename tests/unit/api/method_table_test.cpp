#include <gtest/gtest.h>

#include "api/method_table.hpp"
#include "api/schema.hpp"

namespace holdfast::api {
namespace {

struct method_table_test : testing::Test {
    method_table table;
    result<json> last = fail(errc::internal, "not answered");
    int ran = 0;

    void SetUp() override {
        table.add({"thing.get", role::viewer, "One thing", object_schema({{"name", "string", true}, {"limit", "integer"}}), {},
                   [this](const identity& who, json p, reply done) {
                       ++ran;
                       done(json{{"name", p["name"]}, {"user", who.user}});
                   }});
        table.add({"thing.break", role::admin, "Throws", object_schema({}), {}, [](const identity&, json, reply) { throw std::runtime_error("boom"); }});
    }
    void call(role r, const std::string& name, json params) {
        table.call({"ann", r, "web"}, name, std::move(params), [this](result<json> r) { last = std::move(r); });
    }
};

TEST_F(method_table_test, runs_a_method_with_checked_params) {
    call(role::viewer, "thing.get", {{"name", "x"}});
    ASSERT_TRUE(last);
    EXPECT_EQ(*last, (json{{"name", "x"}, {"user", "ann"}}));
}

TEST_F(method_table_test, refuses_wrong_params_naming_the_member) {
    call(role::viewer, "thing.get", json::object());
    EXPECT_EQ(last.error().message, "thing.get: params: missing member 'name'");
    call(role::viewer, "thing.get", {{"name", 5}});
    EXPECT_EQ(last.error().message, "thing.get: /name: expected a string, found integer 5");
    call(role::viewer, "thing.get", {{"name", "x"}, {"limt", 5}});
    EXPECT_EQ(last.error().message, "thing.get: /limt: unknown member 'limt': did you mean 'limit'?");
    EXPECT_EQ(last.error().code, errc::invalid_argument);
    EXPECT_EQ(ran, 0);
}

TEST_F(method_table_test, unknown_methods_suggest_the_nearest) {
    call(role::admin, "thing.gte", nullptr);
    EXPECT_EQ(last.error().code, errc::not_found);
    EXPECT_EQ(last.error().message, "no method 'thing.gte': did you mean 'thing.get'?");
}

TEST_F(method_table_test, rights_are_checked_before_anything_runs) {
    call(role::op, "thing.break", nullptr);
    EXPECT_EQ(last.error().code, errc::forbidden);
    EXPECT_EQ(last.error().message, "thing.break needs the role admin, ann has operator");
}

TEST_F(method_table_test, the_openapi_document_lists_every_method) {
    const json doc = table.openapi();
    EXPECT_EQ(doc["openapi"], "3.1.0");
    EXPECT_EQ(doc["paths"].size(), 2u);
    EXPECT_EQ(doc["paths"]["/api/v1/call/thing.get"]["post"]["x-role"], "viewer");
    EXPECT_TRUE(doc["paths"]["/api/v1/call/thing.get"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"].contains("name"));
}

TEST(Role, names_round_trip_and_unknown_ones_are_refused) {
    for (role r : {role::viewer, role::op, role::admin}) EXPECT_EQ(*role_from(to_string(r)), r);
    EXPECT_FALSE(role_from("root"));
}

}  // namespace
}  // namespace holdfast::api
