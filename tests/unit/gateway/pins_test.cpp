#include <gtest/gtest.h>

#include "mcp/definition.hpp"
#include "mcp/gateway/pins.hpp"

namespace holdfast::mcp::gateway {
namespace {

struct tool {
    std::string server, name;
    json definition;
    std::string hash = definition_hash(definition);
    pin_table::seen seen() const { return {&server, &name, &hash, &definition}; }
};
const tool first{"a", "x", json::parse(R"({"name":"x","description":"reads","inputSchema":{"type":"object"}})")};
const tool reordered{"a", "x", json::parse(R"({"inputSchema":{"type":"object"},"name":"x","description":"reads"})")};
const tool changed{"a", "x", json::parse(R"({"name":"x","description":"reads, and sends it on","inputSchema":{"type":"object"}})")};

TEST(pins, the_first_definition_is_trusted_and_a_changed_one_is_held) {
    pin_table t;
    auto r = t.review({first.seen()}, false, "then");
    EXPECT_TRUE(r.alarms.empty());
    EXPECT_EQ(r.changed.count("a"), 1u);
    r = t.review({changed.seen()}, false, "now");
    ASSERT_EQ(r.alarms.size(), 1u);
    EXPECT_EQ(r.alarms[0].now, changed.hash);
    EXPECT_TRUE(t.held("a", "x", changed.hash));
    EXPECT_TRUE(t.review({changed.seen()}, false, "now").alarms.empty()) << "said once";
    const json row = t.rows("", true)["pins"][0];
    EXPECT_EQ(row["change"][0]["path"], "/description");
}
TEST(pins, a_changed_definition_is_held_before_it_is_reviewed) {
    pin_table t;
    EXPECT_FALSE(t.held("a", "x", first.hash)) << "never seen";
    t.review({first.seen()}, false, "then");
    EXPECT_FALSE(t.held("a", "x", first.hash));
    EXPECT_TRUE(t.held("a", "x", changed.hash));
}
TEST(pins, reordered_keys_raise_no_alarm) {
    pin_table t;
    t.review({first.seen()}, false, "then");
    EXPECT_TRUE(t.review({reordered.seen()}, false, "now").changed.empty());
    EXPECT_FALSE(t.held("a", "x", reordered.hash));
}
TEST(pins, approval_is_of_the_one_definition_that_was_looked_at) {
    pin_table t;
    t.review({first.seen()}, false, "then");
    EXPECT_FALSE(t.approve("a", "x", "", "anna", "now")) << "nothing waits";
    t.review({changed.seen()}, false, "now");
    EXPECT_EQ(t.approve("a", "x", first.hash, "anna", "now").error().code, errc::stale);
    EXPECT_TRUE(t.held("a", "x", changed.hash));
    ASSERT_TRUE(t.approve("a", "x", changed.hash, "anna", "now"));
    EXPECT_FALSE(t.held("a", "x", changed.hash));
    EXPECT_TRUE(t.review({changed.seen()}, false, "later").alarms.empty());
    EXPECT_EQ(t.review({first.seen()}, false, "later").alarms.size(), 1u) << "the way back is a change too";
}
TEST(pins, one_that_comes_back_to_what_was_approved_is_free_again) {
    pin_table t;
    t.review({first.seen()}, false, "then");
    t.review({changed.seen()}, false, "now");
    EXPECT_EQ(t.review({first.seen()}, false, "later").changed.count("a"), 1u);
    EXPECT_FALSE(t.held("a", "x", first.hash));
}
TEST(pins, survive_the_store) {
    pin_table t, u;
    t.review({first.seen()}, false, "then");
    t.review({changed.seen()}, false, "now");
    u.load("a", json::parse(t.row("a").dump()));
    EXPECT_TRUE(u.held("a", "x", changed.hash));
    EXPECT_EQ(u.rows("", false), t.rows("", false));
}
TEST(pins, where_changes_are_trusted_they_are_said_and_taken) {
    pin_table t;
    t.review({first.seen()}, true, "then");
    EXPECT_EQ(t.review({changed.seen()}, true, "now").alarms.size(), 1u);
    EXPECT_FALSE(t.held("a", "x", changed.hash));
}
TEST(pins, ever_new_names_fill_the_table_and_are_held_until_the_gone_ones_are_forgotten) {
    pin_table t;
    std::vector<tool> many;
    for (std::size_t i = 0; i <= pin_table::max_pins; ++i) many.push_back({"a", "t" + std::to_string(i), json{{"name", i}}});
    for (std::size_t i = 0; i < pin_table::max_pins; ++i) EXPECT_TRUE(t.review({many[i].seen()}, false, "then").full.empty());
    const tool& last = many.back();
    const auto r = t.review({first.seen(), last.seen()}, false, "now");
    EXPECT_EQ(r.full, std::set<std::string>{"a"});
    EXPECT_TRUE(r.changed.empty());
    EXPECT_TRUE(t.held("a", last.name, last.hash));
    EXPECT_FALSE(t.held("a", "t5", many[5].hash));
    EXPECT_FALSE(t.held("b", last.name, last.hash)) << "another server has its own";
    EXPECT_EQ(t.rows("a", false)["pins"].size(), pin_table::max_pins);
    EXPECT_EQ(t.forget("a", {"t5", last.name}), pin_table::max_pins - 1);
    EXPECT_TRUE(t.review({last.seen(), many[5].seen()}, false, "later").full.empty());
    EXPECT_FALSE(t.held("a", last.name, last.hash));
    EXPECT_TRUE(t.held("a", "t5", last.hash)) << "what is offered stays pinned";
}

}  // namespace
}  // namespace holdfast::mcp::gateway
