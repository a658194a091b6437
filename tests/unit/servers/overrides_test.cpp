#include "servers/overrides.hpp"

#include <gtest/gtest.h>

namespace holdfast::servers {
namespace {

result<json> as_is(const json& v) { return v; }

struct overrides_test : testing::Test {
    override_book book;
    json file{{"a", {{"command", "x"}, {"args", {"1"}}, {"health", {{"interval_s", 30}}}}}};

    void patch(const json& changes, const std::string& name = "a") {
        auto ok = book.patch(name, changes, member(file, name), "ada", "2026-01-01T00:00:00.000Z");
        ASSERT_TRUE(ok) << ok.error().message;
    }
    override_book::outcome apply() { return book.apply(file, as_is); }
    /// As after a restart of the host.
    void through_the_store() {
        const json row = book.find("a")->to_row();
        book = {};
        book.restore("a", row);
    }
};

TEST_F(overrides_test, a_patch_is_merged_key_by_key_and_null_takes_a_key_out) {
    patch({{"health", {{"interval_s", 60}, {"timeout_s", 2}}}, {"args", nullptr}, {"env", {{"K", "v"}}}});
    const auto out = apply();
    EXPECT_EQ(out.servers.at("a").entry, (json{{"command", "x"}, {"health", {{"interval_s", 60}, {"timeout_s", 2}}}, {"env", {{"K", "v"}}}}));
    EXPECT_EQ(out.servers.at("a").keys, (std::vector<std::string>{"args", "env.K", "health.interval_s", "health.timeout_s"}));
    EXPECT_TRUE(out.changed.empty());
}

TEST_F(overrides_test, an_edit_of_the_same_key_in_the_file_wins_and_other_keys_stay) {
    patch({{"health", {{"interval_s", 60}}}, {"args", {"2"}}});
    through_the_store();
    file["a"]["health"]["interval_s"] = 45;
    file["a"]["command"] = "y";
    const auto out = apply();
    EXPECT_EQ(out.servers.at("a").entry, (json{{"command", "y"}, {"args", {"2"}}, {"health", {{"interval_s", 45}}}}));
    EXPECT_EQ(out.servers.at("a").keys, std::vector<std::string>{"args"});
    EXPECT_EQ(out.lost, std::vector<std::string>{"a: health.interval_s"});
    EXPECT_EQ(out.changed, std::vector<std::string>{"a"});
    file["a"]["health"]["interval_s"] = 30;  // back to what it was: the override is gone for good
    EXPECT_EQ(apply().servers.at("a").entry["health"]["interval_s"], 30);
}

TEST_F(overrides_test, the_last_key_lost_removes_the_row) {
    patch({{"args", {"2"}}});
    file["a"]["args"] = {"3"};
    EXPECT_EQ(apply().changed, std::vector<std::string>{"a"});
    EXPECT_EQ(book.find("a"), nullptr);
}

TEST_F(overrides_test, what_the_file_said_does_not_reach_the_store) {
    file["a"]["env"] = {{"TOKEN", "very secret"}};
    patch({{"env", {{"TOKEN", "${env:OTHER}"}}}});
    EXPECT_EQ(dump(book.find("a")->to_row()).find("very secret"), std::string::npos);
}

TEST_F(overrides_test, a_value_that_cannot_be_resolved_is_left_out_and_told) {
    patch({{"args", {"2"}}, {"cwd", "${env:GONE}"}});
    const auto out = book.apply(file, [](const json& v) -> result<json> {
        if (v == "${env:GONE}") return fail(errc::invalid_argument, "GONE is not set");
        return v;
    });
    EXPECT_EQ(out.problems, std::vector<std::string>{"a: cwd: GONE is not set"});
    EXPECT_EQ(out.servers.at("a").entry["args"], json{"2"});
    EXPECT_FALSE(out.servers.at("a").entry.contains("cwd"));
}

TEST_F(overrides_test, a_server_that_was_added_gives_way_to_one_of_that_name_in_the_file) {
    ASSERT_TRUE(book.add("b", {{"command", "z"}}, "ada", "now"));
    EXPECT_EQ(book.add("b", {{"command", "z"}}, "ada", "now").error().code, errc::server_already_exists);
    patch({{"args", {"9"}}}, "b");
    auto out = apply();
    EXPECT_TRUE(out.servers.at("b").added);
    EXPECT_EQ(out.servers.at("b").entry, (json{{"command", "z"}, {"args", {"9"}}}));
    file["b"] = {{"command", "file"}};
    out = apply();
    EXPECT_EQ(out.servers.at("b").entry, (json{{"command", "file"}}));
    EXPECT_EQ(book.find("b"), nullptr);
}

TEST_F(overrides_test, overrides_of_a_server_that_is_away_wait_for_it) {
    patch({{"args", {"2"}}});
    const json whole = file;
    file = json::object();
    EXPECT_TRUE(apply().servers.empty());
    file = whole;
    EXPECT_EQ(apply().servers.at("a").entry["args"], json{"2"});
}

TEST_F(overrides_test, a_patch_of_a_whole_and_of_its_parts_do_not_stand_side_by_side) {
    patch({{"health", {{"interval_s", 60}}}});
    patch({{"health", nullptr}});
    EXPECT_FALSE(apply().servers.at("a").entry.contains("health"));
    patch({{"health", {{"timeout_s", 1}}}});
    EXPECT_EQ(apply().servers.at("a").entry["health"], (json{{"interval_s", 30}, {"timeout_s", 1}}));
    EXPECT_EQ(book.patch("a", json::object(), file["a"], "", "").error().code, errc::invalid_argument);
}

}  // namespace
}  // namespace holdfast::servers
