#include <gtest/gtest.h>

#include "api/method_table.hpp"
#include "api/schema.hpp"

namespace holdfast::api {
namespace {

struct method_table_test : testing::Test {
    method_table table;
    result<json> last = fail(errc::internal, "not answered");
    int ran = 0;
    reply kept;

    void SetUp() override {
        table.add({"thing.get", role::viewer, "One thing", object_schema({{"name", "string", true}, {"limit", "integer"}}), {},
                   [this](const identity& who, json p, reply done) {
                       ++ran;
                       done(json{{"name", p["name"]}, {"user", who.user}});
                   }});
        table.add({"thing.watch", role::op, "Pieces", object_schema({{"name", "string", true}}), {}, {},
                   [this](const identity&, json, chunk_fn chunk, reply done) -> cancel_fn {
                       chunk("one");
                       chunk("two");
                       kept = std::move(done);
                       return [this] { kept(fail(errc::cancelled, "as told")); };
                   }});
        table.add({"thing.do", role::op, "Either", object_schema({{"what", "string", true}}), {}, [this](const identity&, json, reply done) { ++ran; done(json::object()); },
                   {}, [](const json& p) { return p["what"] == "hard" ? role::admin : role::op; }});
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

TEST_F(method_table_test, what_is_asked_may_need_more_rights) {
    call(role::op, "thing.do", {{"what", "easy"}});
    EXPECT_TRUE(last);
    call(role::op, "thing.do", {{"what", "hard"}});
    EXPECT_EQ(last.error().code, errc::forbidden);
    EXPECT_EQ(last.error().message, "thing.do needs the role admin for this, ann has operator");
    EXPECT_EQ(ran, 1);
    call(role::viewer, "thing.do", {{"what", "easy"}});
    EXPECT_EQ(last.error().message, "thing.do needs the role operator, ann has viewer");
    call(role::admin, "thing.do", {{"what", "hard"}});
    EXPECT_TRUE(last);
}

TEST_F(method_table_test, the_openapi_document_lists_every_method) {
    const json doc = table.openapi();
    EXPECT_EQ(doc["openapi"], "3.1.0");
    EXPECT_EQ(doc["paths"].size(), 3u);
    EXPECT_EQ(doc["paths"]["/api/v1/call/thing.get"]["post"]["x-role"], "viewer");
    EXPECT_TRUE(doc["paths"]["/api/v1/call/thing.get"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"].contains("name"));
}

TEST_F(method_table_test, pieces_come_before_the_reply_and_a_cancel_ends_them) {
    std::vector<std::string> pieces;
    auto take = [&](std::string_view piece) { pieces.emplace_back(piece); };
    auto done = [this](result<json> r) { last = std::move(r); };
    auto cancel = table.stream({"ann", role::op, "web"}, "thing.watch", {{"name", "x"}}, take, done);
    EXPECT_EQ(pieces, (std::vector<std::string>{"one", "two"}));
    EXPECT_EQ(last.error().code, errc::internal) << "answered before the cancel";
    ASSERT_TRUE(cancel);
    cancel();
    EXPECT_EQ(last.error().code, errc::cancelled);
}

TEST_F(method_table_test, a_stream_is_checked_as_a_call_is) {
    auto start = [&](role r, const std::string& name, json params) {
        table.stream({"ann", r, "web"}, name, std::move(params), [](std::string_view) { FAIL() << "a piece of a refused call"; }, [this](result<json> got) { last = std::move(got); });
        return last ? errc::internal : last.error().code;
    };
    EXPECT_EQ(start(role::viewer, "thing.watch", {{"name", "x"}}), errc::forbidden);
    EXPECT_EQ(start(role::op, "thing.watch", json::object()), errc::invalid_argument);
    EXPECT_EQ(start(role::op, "thing.nothing", json::object()), errc::not_found);
}

TEST_F(method_table_test, one_answer_and_pieces_are_told_apart) {
    call(role::op, "thing.watch", {{"name", "x"}});
    EXPECT_EQ(last.error().code, errc::invalid_argument) << "a caller that takes no pieces";
    table.stream({"ann", role::op, "web"}, "thing.get", {{"name", "x"}}, {}, [this](result<json> r) { last = std::move(r); });
    EXPECT_TRUE(last) << "a caller that would have taken pieces";
    EXPECT_FALSE(table.openapi()["paths"].contains("/api/v1/call/thing.watch"));
}

TEST(Role, names_round_trip_and_unknown_ones_are_refused) {
    for (role r : {role::viewer, role::op, role::admin}) EXPECT_EQ(*role_from(to_string(r)), r);
    EXPECT_FALSE(role_from("root"));
}

}  // namespace
}  // namespace holdfast::api
