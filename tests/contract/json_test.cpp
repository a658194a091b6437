#include "holdfast/json.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace {
using namespace holdfast::sdk;

TEST(json, objects_read_by_a_real_parser) {
    const std::string text = json_object({{"s", "a\"\\\n\x01 ü"}, {"i", -3}, {"u", std::uint64_t{18446744073709551615u}}, {"d", 0.1}, {"b", true},
                                          {"nan", std::nan("")}, field::raw("o", R"({"x":[1]})")});
    const auto j = nlohmann::json::parse(text);
    EXPECT_EQ(j["s"], "a\"\\\n\x01 ü");
    EXPECT_EQ(j["i"], -3);
    EXPECT_EQ(j["u"], 18446744073709551615u);
    EXPECT_EQ(j["d"], 0.1);
    EXPECT_EQ(j["b"], true);
    EXPECT_TRUE(j["nan"].is_null());
    EXPECT_EQ(j["o"]["x"][0], 1);
    EXPECT_EQ(json_object({}), "{}");
}

TEST(json, members_are_found_at_the_top_only) {
    const std::string text = R"( { "a" : {"n": "inner, }"} , "l":[1,{"n":2}], "n":"outer", "z":-1.5e3 ,"t":true, "e":{}, "last":null} )";
    EXPECT_EQ(json_text(text, "n"), "outer");
    EXPECT_EQ(json_member(text, "a"), R"({"n": "inner, }"})");
    EXPECT_EQ(json_member(text, "l"), R"([1,{"n":2}])");
    EXPECT_EQ(json_number<double>(text, "z"), -1500);
    EXPECT_EQ(json_number<int>(text, "z", 7), 7) << "not an integer";
    EXPECT_TRUE(json_bool(text, "t"));
    EXPECT_EQ(json_member(text, "e"), "{}");
    EXPECT_EQ(json_member(text, "last"), "null");
    EXPECT_EQ(json_member(text, "none"), "");
    EXPECT_EQ(json_text(text, "none", "other"), "other");
}

TEST(json, strings_are_unescaped) {
    EXPECT_EQ(json_text(R"({"s":"a\"\\\/\n\t\u00fc\ud83d\ude00"})", "s"), "a\"\\/\n\tü😀");
    EXPECT_FALSE(json_unquote(R"("\ud83d")"));
    EXPECT_FALSE(json_unquote(R"("\u12")"));
    EXPECT_FALSE(json_unquote(R"("\")"));
    EXPECT_FALSE(json_unquote("\""));
}

TEST(json, broken_text_is_no_member) {
    for (const char* text : {"", "{", "[]", "{\"a\"", "{\"a\":", "{\"a", "{\"a\":\"", "{\"a\":[1", "x", "{\"a\" 1}"}) EXPECT_EQ(json_member(text, "b"), "") << text;
    const std::string deep = "{\"d\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + ",\"n\":1}";
    EXPECT_EQ(json_number<int>(deep, "n"), 1);
}
}  // namespace
