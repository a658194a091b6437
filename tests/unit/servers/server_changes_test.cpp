// What is changed at runtime: overrides, added servers, many at once.
#include "fake_world.hpp"

namespace holdfast::servers::test {
namespace {

struct server_changes_test : testing::Test {
    world w;
    std::optional<result<json>> answer;

    row_reply reply() {
        answer.reset();
        return [this](result<json> r) { answer = std::move(r); };
    }
    const json& answered() {
        w.rt.run_until_idle();
        static const json none;
        if (!answer || !*answer) {
            ADD_FAILURE() << (answer ? answer->error().message : "no answer");
            return none;
        }
        return **answer;
    }
    errc refused() {
        w.rt.run_until_idle();
        EXPECT_TRUE(answer && !*answer);
        return answer && !*answer ? answer->error().code : errc::internal;
    }
    void load() {
        w.set->load_overrides(reply());
        w.rt.run_until_idle();
    }
};

TEST_F(server_changes_test, an_override_is_in_force_shown_stored_and_there_again_after_a_restart_of_the_host) {
    load();
    w.apply(w.config({"a", "b"}));
    w.set->update_config("a", {{"call_timeout_s", 3}}, "ada", reply());
    EXPECT_EQ(answered()["overrides"], json{"call_timeout_s"});
    EXPECT_EQ(w.row("b")["overrides"], json::array());
    EXPECT_EQ(w.store->rows["mcpServers/a"]["set"], (json{{"/call_timeout_s", 3}}));
    EXPECT_EQ(w.store->rows["mcpServers/a"]["by"], "ada");
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "healthy");

    w.stop();
    w.start();
    load();
    w.apply(w.config({"a", "b"}));
    EXPECT_EQ(w.row("a")["overrides"], json{"call_timeout_s"});
    w.set->reset_config("a", reply());
    EXPECT_EQ(answered()["overrides"], json::array());
    EXPECT_FALSE(w.store->rows.count("mcpServers/a"));
}

TEST_F(server_changes_test, a_change_that_is_not_valid_changes_nothing) {
    w.apply(w.config({"a"}));
    w.set->update_config("a", {{"call_timeout_s", "soon"}}, "", reply());
    EXPECT_EQ(refused(), errc::invalid_argument);
    EXPECT_EQ(w.row("a")["overrides"], json::array());
    EXPECT_FALSE(w.store->rows.count("mcpServers/a"));
    w.set->update_config("nobody", {{"call_timeout_s", 3}}, "", reply());
    EXPECT_EQ(refused(), errc::server_not_found);
    w.set->update_config("a", {{"env", {{"K", "${env:HOLDFAST_NOT_SET}"}}}}, "", reply());
    EXPECT_EQ(refused(), errc::invalid_argument);
}

TEST_F(server_changes_test, an_edit_of_the_key_in_the_file_wins_over_the_override) {
    w.apply(w.config({"a"}));
    w.set->update_config("a", {{"stop_grace_s", 3}}, "", reply());
    EXPECT_EQ(answered()["overrides"], json{"stop_grace_s"});
    json c = w.config({"a"});
    c["mcpServers"]["a"]["description"] = "another key";
    w.apply(c);
    EXPECT_EQ(w.row("a")["overrides"], json{"stop_grace_s"});
    c["mcpServers"]["a"]["stop_grace_s"] = 2;
    w.apply(c);
    EXPECT_EQ(w.row("a")["overrides"], json::array());
    EXPECT_FALSE(w.store->rows.count("mcpServers/a"));
}

TEST_F(server_changes_test, a_store_that_cannot_write_is_told_of_and_the_change_is_in_force_and_written_when_it_can) {
    load();
    w.apply(w.config({"a"}));
    w.store->broken = true;
    w.set->update_config("a", {{"stop_grace_s", 3}}, "", reply());
    EXPECT_EQ(refused(), errc::read_only);
    EXPECT_NE(answer->error().message.find("not stored yet"), std::string::npos);
    EXPECT_EQ(w.row("a")["overrides"], json{"stop_grace_s"});
    w.advance(seconds(61));
    w.store->rows["mcpServers/late"] = {{"entry", {{"transport", "fake"}}}, {"by", "bob"}};  // another scan must not lose it either
    w.store->broken = false;
    w.advance(seconds(61));
    EXPECT_EQ(w.status_of("late"), "healthy");
    EXPECT_EQ(w.store->rows["mcpServers/a"]["set"], (json{{"/stop_grace_s", 3}}));
    EXPECT_EQ(w.row("a")["overrides"], json{"stop_grace_s"});
}

TEST_F(server_changes_test, a_row_that_the_store_never_takes_keeps_nobody_elses_from_being_seen) {
    load();
    w.apply(w.config({"a", "b"}));
    w.set->update_config("b", {{"call_timeout_s", 5}}, "", reply());
    EXPECT_EQ(answered()["overrides"], json{"call_timeout_s"});
    w.store->refused = "mcpServers/a";
    w.set->update_config("a", {{"call_timeout_s", 3}}, "", reply());
    EXPECT_EQ(refused(), errc::invalid_argument);
    w.store->rows.erase("mcpServers/b");
    w.store->rows["mcpServers/late"] = {{"entry", {{"transport", "fake"}}}, {"by", "bob"}};
    w.advance(seconds(31));
    EXPECT_EQ(w.status_of("late"), "healthy");
    EXPECT_EQ(w.row("b")["overrides"], json::array());
    EXPECT_EQ(w.row("a")["overrides"], json{"call_timeout_s"});  // ours, until it is stored
    w.store->refused.clear();
    w.advance(seconds(61));
    EXPECT_EQ(w.row("a")["overrides"], json{"call_timeout_s"});
    EXPECT_EQ(w.store->rows["mcpServers/a"]["set"], (json{{"/call_timeout_s", 3}}));
}

TEST_F(server_changes_test, rows_that_nobody_here_wrote_do_no_harm) {
    w.store->rows["mcpServers/a"] = {{"set", {{"no pointer", 1}, {"/bad~escape", 1}, {"", 1}}}, {"base", {{"no pointer", ""}, {"/bad~escape", ""}, {"", ""}}}};
    w.store->rows["mcpServers/late"] = {{"entry", {{"transport", "fake"}}}, {"by", 7}};
    load();
    w.apply(w.config({"a"}));
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.status_of("late"), "healthy");
    EXPECT_EQ(w.row("a")["overrides"], json::array());
}

TEST_F(server_changes_test, a_list_is_replaced_as_a_whole_never_by_its_parts) {
    json c = w.config({"a"});
    c["mcpServers"]["a"]["args"] = {"one", "two"};
    w.apply(c);
    for (const json part : {json{{"0", nullptr}}, json{{"0", "x"}}, json{{"7", nullptr}}, json{{"-", "x"}}, json{{"01", "x"}}}) {
        w.set->update_config("a", {{"args", part}}, "", reply());
        EXPECT_EQ(refused(), errc::invalid_argument) << part;
        EXPECT_EQ(w.row("a")["overrides"], json::array());
    }
}

TEST_F(server_changes_test, one_that_was_enabled_by_hand_and_then_in_the_file_goes_on_whole) {
    json c = w.config({"a"});
    c["mcpServers"]["a"]["disabled"] = true;
    w.apply(c);
    ASSERT_TRUE(w.command(&server_set::enable, "a"));
    EXPECT_EQ(w.status_of("a"), "healthy");
    c["mcpServers"]["a"].erase("disabled");
    c["mcpServers"]["a"]["call_timeout_s"] = 3;
    w.apply(c);
    w.advance(seconds(5));
    EXPECT_EQ(w.status_of("a"), "healthy");
    const auto called = w.call("a");
    EXPECT_TRUE(called->value && *called->value);
    const auto checks = w.health.active.size();
    w.advance(seconds(31));
    EXPECT_GT(w.health.active.size(), checks) << "its health is looked at again";
}

TEST_F(server_changes_test, a_status_that_the_store_refused_is_stored_when_it_can_be) {
    load();
    w.apply(w.config({"a"}));
    w.advance(seconds(1));
    w.store->broken = true;
    ASSERT_TRUE(w.command(&server_set::disable, "a"));
    w.advance(seconds(60));
    w.store->broken = false;
    w.advance(seconds(31));
    EXPECT_EQ(w.store->rows["a"]["status"], "disabled") << dump(w.store->rows["a"]);
    w.stop();
    w.start();
    load();
    w.apply(w.config({"a"}));
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "disabled");
}

TEST_F(server_changes_test, more_rows_than_one_page_are_all_read) {
    for (int i = 0; i < 1500; ++i) w.store->rows["mcpServers/s" + std::to_string(i)] = {{"entry", {{"transport", "fake"}, {"disabled", true}}}, {"by", "bob"}};
    load();
    w.apply(w.config({"a"}));
    EXPECT_EQ(w.set->names().size(), 1501u);
    w.advance(seconds(31));
    EXPECT_EQ(w.set->names().size(), 1501u);
}

TEST_F(server_changes_test, what_another_program_writes_into_the_store_is_found_within_thirty_seconds) {
    load();
    w.apply(w.config({"a"}));
    w.store->rows["mcpServers/late"] = {{"entry", {{"transport", "fake"}}}, {"by", "bob"}};
    w.advance(seconds(31));
    EXPECT_EQ(w.status_of("late"), "healthy");
    EXPECT_EQ(w.row("late")["added"], true);
    w.store->rows.erase("mcpServers/late");
    w.advance(seconds(31));
    EXPECT_EQ(w.set->row("late").error().code, errc::server_not_found);
    EXPECT_EQ(w.row("a")["restarts"], 0);
}

TEST_F(server_changes_test, servers_are_added_and_removed_and_the_files_own_are_not) {
    w.apply(w.config({"a"}));
    w.set->add_server("n", {{"transport", "fake"}}, "ada", reply());
    EXPECT_EQ(answered()["added"], true);
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("n"), "healthy");
    w.set->add_server("n", {{"transport", "fake"}}, "ada", reply());
    EXPECT_EQ(refused(), errc::server_already_exists);
    w.set->add_server("odd", json::object(), "ada", reply());
    EXPECT_EQ(refused(), errc::invalid_argument);
    EXPECT_EQ(w.set->row("odd").error().code, errc::server_not_found);
    w.apply(w.config({"a", "b"}));
    EXPECT_EQ(w.status_of("n"), "healthy") << "a change of the file is none of its business";
    w.set->remove_server("a", reply());
    EXPECT_EQ(refused(), errc::invalid_argument);
    w.set->remove_server("n", reply());
    w.rt.run_until_idle();
    w.advance(seconds(2));
    EXPECT_EQ(w.set->row("n").error().code, errc::server_not_found);
    EXPECT_FALSE(w.store->rows.count("mcpServers/n"));
}

TEST_F(server_changes_test, an_imported_file_adds_what_is_good_and_names_what_is_not) {
    w.apply(w.config({"a"}));
    const std::string text = R"({"mcpServers": {"a": {"command": "x"}, "n": {"command": "sh", "env": {"K": "${HOLDFAST_NOT_SET:-d}"}}, "bad": {},
        "gone": {"command": "holdfast-no-such-program"}}})";
    w.set->import_servers("/tmp/desktop.json", text, true, "ada", reply());
    EXPECT_EQ(answered()["servers"].size(), 1u) << answered();
    EXPECT_EQ(answered()["problems"].size(), 3u);
    EXPECT_NE(dump(answered()["problems"]).find("command_not_found"), std::string::npos);
    EXPECT_EQ(w.set->names(), std::vector<std::string>{"a"});
    w.set->import_servers("/tmp/desktop.json", text, false, "ada", reply());
    EXPECT_EQ(answered()["servers"][0]["name"], "n");
    EXPECT_EQ(w.set->names(), (std::vector<std::string>{"a", "n"}));
    EXPECT_EQ(w.store->rows["mcpServers/n"]["entry"]["env"]["K"], "${env:HOLDFAST_NOT_SET:-d}") << "references, not their values, are stored";
}

TEST_F(server_changes_test, many_at_once_each_with_its_result) {
    std::vector<std::string> names;
    for (int i = 0; i < 100; ++i) names.push_back("s" + std::to_string(100 + i));
    w.apply(w.config(names));
    w.set->bulk("stop", {}, reply());
    w.advance(seconds(2));
    EXPECT_EQ(answered()["successful"], 100);
    EXPECT_EQ(w.set->counts()["disabled"], 100);
    w.set->bulk("start", {"s107", "nobody", "s105"}, reply());
    const json r = answered();
    EXPECT_EQ(r["successful"], 2);
    EXPECT_EQ(r["failed"], 1);
    EXPECT_EQ(r["results"][0]["name"], "s107") << "in the order given";
    EXPECT_EQ(r["results"][0]["status"], "healthy");
    EXPECT_EQ(r["results"][1]["error"]["code"], "server_not_found");
    EXPECT_EQ(w.set->counts()["healthy"], 2);
}

TEST_F(server_changes_test, settings_of_many_at_once_each_with_its_result) {
    load();
    json c = w.config({"a", "b", "c"});
    c["mcpServers"]["b"]["pool"] = {{"size", 2}};
    w.apply(c);
    w.advance(seconds(1));
    w.set->update_configs({"c", "nobody", "b", "a"}, {{"move", "restart"}}, "ada", reply());
    const json r = answered();
    EXPECT_EQ(r["successful"], 2);
    EXPECT_EQ(r["failed"], 2);
    EXPECT_EQ(r["results"][0], (json{{"name", "c"}, {"ok", true}, {"status", "healthy"}})) << "in the order given";
    EXPECT_EQ(r["results"][1]["error"]["code"], "server_not_found");
    EXPECT_EQ(r["results"][2]["error"]["code"], "invalid_argument") << "a pool does not go with it";
    EXPECT_EQ(w.row("a")["overrides"], json{"move"});
    EXPECT_EQ(w.row("b")["overrides"], json::array()) << "left as it was";
    EXPECT_EQ(w.store->rows["mcpServers/c"]["by"], "ada");
    EXPECT_FALSE(w.store->rows.count("mcpServers/b"));
    EXPECT_FALSE(w.store->rows.count("mcpServers/nobody"));

    w.set->update_configs({}, {{"call_timeout_s", 3}}, "ada", reply());
    EXPECT_EQ(answered()["successful"], 3) << "no names: all";
    EXPECT_EQ(w.row("b")["overrides"], json{"call_timeout_s"});
    w.set->update_configs({}, json::object(), "ada", reply());
    EXPECT_EQ(answered()["failed"], 3);
    w.store->broken = true;
    w.set->update_configs({"a"}, {{"call_timeout_s", 4}}, "ada", reply());
    EXPECT_EQ(answered()["results"][0]["error"]["code"], "read_only") << "in force, but not stored";
}

TEST_F(server_changes_test, settings_of_a_thousand_at_once_take_no_time) {
    std::vector<std::string> names;
    for (int i = 0; i < 1000; ++i) names.push_back("s" + std::to_string(i));
    json c = w.config(names);
    for (auto& s : c["mcpServers"]) s["disabled"] = true;
    w.apply(c);
    const auto began = std::chrono::steady_clock::now();
    w.set->update_configs({}, {{"call_timeout_s", 3}}, "ada", reply());
    EXPECT_EQ(answered()["successful"], 1000);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10)) << "one pass over all, not one for each";
}

TEST_F(server_changes_test, all_leaves_out_what_a_person_disabled) {
    w.apply(w.config({"a", "b"}));
    w.set->disable("b", reply());
    w.advance(seconds(2));
    w.set->bulk("restart", {}, reply());
    w.advance(seconds(2));
    EXPECT_EQ(answered()["results"].size(), 1u);
    w.set->bulk("enable", {}, reply());
    w.advance(seconds(2));
    EXPECT_EQ(answered()["successful"], 2);
    EXPECT_EQ(w.status_of("b"), "healthy");
    w.set->bulk("dance", {}, reply());
    EXPECT_EQ(refused(), errc::invalid_argument);
}

}  // namespace
}  // namespace holdfast::servers::test
