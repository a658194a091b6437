#include <gtest/gtest.h>

#include "kernel/core/nearest.hpp"
#include "kernel/config/schema.hpp"

namespace holdfast::config {
namespace {

std::string first(const json& schema, const json& value) {
    auto v = validate(schema, value);
    return v.empty() ? "" : v[0].pointer + ": " + v[0].message;
}

TEST(Schema, names_the_type_expected_and_found) {
    const json s = {{"type", "object"}, {"properties", {{"n", {{"type", "integer"}}}}}};
    EXPECT_EQ(first(s, {{"n", "5"}}), "/n: expected an integer, found the string \"5\"");
    EXPECT_EQ(first(s, {{"n", 1.5}}), "/n: expected an integer, found number 1.5");
    EXPECT_EQ(first(s, json::array()), ": expected an object, found an array");
    EXPECT_EQ(first(s, {{"n", 5}}), "");
}

TEST(Schema, suggests_the_nearest_known_name) {
    const json s = {{"type", "object"}, {"additionalProperties", false}, {"properties", {{"failure_threshold", true}, {"use", true}}}};
    EXPECT_EQ(first(s, {{"failure_treshold", 5}}), "/failure_treshold: unknown member 'failure_treshold': did you mean 'failure_threshold'?");
    EXPECT_EQ(first(s, {{"colour", 5}}), "/colour: unknown member 'colour': known here are failure_threshold, use");
    EXPECT_TRUE(validate(s, {{"colour", 5}})[0].at_key);
}

TEST(Schema, checks_values) {
    EXPECT_EQ(first({{"enum", {"text", "json"}}}, "jsn"), ": expected one of \"text\", \"json\", found the string \"jsn\"; did you mean \"json\"?");
    EXPECT_EQ(first({{"minimum", 1}}, 0), ": expected at least 1, found 0");
    EXPECT_EQ(first({{"maximum", 10}}, 11), ": expected at most 10, found 11");
    EXPECT_EQ(first({{"minLength", 1}}, ""), ": expected a non-empty string");
    EXPECT_EQ(first({{"pattern", "^a"}}, "b"), ": expected a string that matches ^a, found the string \"b\"");
    EXPECT_EQ(first({{"required", {"use"}}}, json::object()), ": missing member 'use'");
    EXPECT_EQ(first({{"items", {{"type", "string"}}}}, json::array({"a", 1})), "/1: expected a string, found integer 1");
    EXPECT_EQ(first({{"uniqueItems", true}}, json::array({1, 1})), "/1: duplicate element integer 1");
    EXPECT_EQ(first({{"const", 1}}, 2), ": expected 1, found integer 2");
}

TEST(Schema, follows_references_and_conditions) {
    const json s = json::parse(R"({"$defs":{"b":{"type":"object","properties":{"x":{"type":"integer"}}}},
        "properties":{"b":{"$ref":"#/$defs/b"}},
        "if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"required":["v"]}})");
    EXPECT_EQ(first(s, {{"b", {{"x", "y"}}}}), "/b/x: expected an integer, found the string \"y\"");
    EXPECT_EQ(first(s, {{"k", 1}}), ": missing member 'v'");
    EXPECT_EQ(first(s, {{"k", 2}}), "");
}

TEST(Schema, a_schema_that_refers_to_itself_ends) {
    EXPECT_NE(first({{"$ref", "#"}}, 1), "");
    EXPECT_NE(first({{"$ref", "http://example.com/x"}}, 1), "") << "network references are never fetched";
}

TEST(Schema, secrets_are_not_shown) {
    EXPECT_EQ(first({{"type", "integer"}, {"writeOnly", true}}, "hunter2"), ": expected an integer, found string");
}

TEST(Schema, fills_defaults_at_every_level) {
    const json s = json::parse(R"({"properties":{"a":{"default":{},"properties":{"b":{"default":3}}},"c":{"properties":{"d":{"default":1}}}}})");
    json v = {{"c", json::object()}};
    fill_defaults(s, v);
    EXPECT_EQ(v["c"]["d"], 1);
    EXPECT_EQ(v["a"]["b"], 3) << "also inside a section that was absent";
}

TEST(Nearest, finds_typing_mistakes_and_nothing_else) {
    EXPECT_EQ(nearest("mcpServer", {"mcpServers", "plugins"}), "mcpServers");
    EXPECT_EQ(nearest("ehco", {"echo", "time"}), "echo");
    EXPECT_EQ(nearest("elephant", {"echo", "time"}), "");
}

}  // namespace
}  // namespace holdfast::config
