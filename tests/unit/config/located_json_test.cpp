#include <gtest/gtest.h>

#include "kernel/config/located_json.hpp"

namespace holdfast::config {
namespace {

std::string problem_of(std::string_view text) {
    auto r = parse_located(text, "f.json");
    return r ? "(accepted)" : r.error().to_string();
}

TEST(LocatedJson, knows_the_place_of_values_and_keys) {
    auto r = parse_located("{\n  \"a\": [1,\n    {\"b/c\": true}]\n}", "f.json");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->value, (json{{"a", {1, {{"b/c", true}}}}}));
    EXPECT_EQ(r->value_at("/a/1/b~1c").line, 3u);
    EXPECT_EQ(r->value_at("/a/1/b~1c").column, 13u);
    EXPECT_EQ(r->key_at("/a").line, 2u);
    EXPECT_EQ(r->key_at("/a").column, 3u);
    EXPECT_EQ(r->value_at("/a/1/missing").line, 3u) << "the nearest ancestor";
}

TEST(LocatedJson, columns_count_code_points_not_bytes) {
    auto r = parse_located("{\"ä\": 1, \"x\": 2}", "f.json");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->key_at("/x").column, 10u);
}

TEST(LocatedJson, says_what_was_expected_and_found) {
    EXPECT_EQ(problem_of("{\"a\": 1,}"), "f.json:1:8: expected another member after ',', found '}': remove the trailing comma");
    EXPECT_EQ(problem_of("{\"a\" 1}"), "f.json:1:6: expected ':' after the member name, found '1'");
    EXPECT_EQ(problem_of("{'a': 1}"), "f.json:1:2: expected a member name in double quotes, found \"'\" (JSON strings use double quotes)");
    EXPECT_EQ(problem_of("{ // no\n}"), "f.json:1:3: expected a member name in double quotes, found '/' (comments are not part of JSON)");
    EXPECT_EQ(problem_of("{\"a\": [1 2]}"), "f.json:1:10: expected ',' or ']', found '2'");
    EXPECT_EQ(problem_of(""), "f.json:1:1: expected a value, found the end of the file");
    EXPECT_EQ(problem_of("{} x"), "f.json:1:4: expected the end of the document, found 'x'");
    EXPECT_EQ(problem_of("{\"a\": 01}"), "f.json:1:7: expected a number, found one with a leading zero");
    EXPECT_EQ(problem_of("{\"a\": \"x\n\"}"), "f.json:1:7: expected the closing '\"' of this string before the end of the line");
    EXPECT_EQ(problem_of("\"\\ud800\""), "f.json:1:2: half a surrogate pair in a string");
    EXPECT_EQ(problem_of("\"\xff\""), "f.json:1:2: bytes that are not UTF-8: save the file as UTF-8");
}

TEST(LocatedJson, a_duplicate_name_is_refused_with_both_places) {
    EXPECT_EQ(problem_of("{\"plugins\": {\"web\": {},\n \"web\": {}}}"),
              "f.json:2:2: /plugins/web: duplicate member 'web': the first one is on line 1; every name may appear once");
}

TEST(LocatedJson, a_hundred_thousand_levels_are_refused_without_recursion_trouble) {
    const std::string deep = std::string(100'000, '[');
    EXPECT_EQ(problem_of(deep), "f.json:1:65: nested deeper than 64 levels");
    auto limited = parse_json(deep);
    ASSERT_FALSE(limited);
    EXPECT_EQ(limited.error().code, errc::invalid_argument);
}

TEST(LocatedJson, agrees_with_the_reference_parser_on_valid_documents) {
    for (const char* text : {"null", "[]", "{}", "-0.5e+3", "[1,2.25,-3,1e5]", "{\"a\":{\"b\":[true,false,null]}}", "\"\\u00e9\\ud83d\\ude00\\n\"", "9007199254740993", "18446744073709551616"}) {
        auto r = parse_located(text, "f");
        ASSERT_TRUE(r) << text;
        const json reference = json::parse(text);
        EXPECT_EQ(r->value.is_number() ? json(r->value.get<double>()) : r->value, reference.is_number() ? json(reference.get<double>()) : reference) << text;
    }
}

}  // namespace
}  // namespace holdfast::config
