// Small pure parts: tool names, results as text, commands, options, the chat request.
#include <gtest/gtest.h>

#include <set>

#include "sessions/chat_request.hpp"
#include "sessions/commands.hpp"
#include "sessions/tool_text.hpp"

namespace holdfast::sessions {
namespace {

TEST(tool_names, are_what_models_accept_and_never_collide) {
    const std::string parts[] = {"a", "b", "a__b", "b__c", "_a", "a_", "ä", "a.b", "a/b", "a b", "x__y__z", std::string(80, 'n'), std::string(79, 'n') + "m"};
    std::set<std::string> seen;
    tool_names names;
    for (const auto& server : parts)
        for (const auto& tool : parts) {
            const std::string n = encode_tool_name(server, tool);
            EXPECT_LE(n.size(), max_tool_name);
            EXPECT_EQ(n.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"), std::string::npos) << n;
            EXPECT_TRUE(seen.insert(n).second) << server << "/" << tool << " → " << n;
            EXPECT_TRUE(names.add(server, tool));
            EXPECT_EQ(names.decode(n), (std::pair{server, tool}));
        }
    EXPECT_EQ(encode_tool_name("files", "read_file"), "files__read_file");
    EXPECT_FALSE(names.decode("nothing"));
}

TEST(tool_text, flattens_and_cuts_between_characters) {
    const json r{{"content", json::array({{{"type", "text"}, {"text", "a"}}, {{"type", "image"}, {"mimeType", "image/png"}, {"data", "QUJD"}},
                                          {{"type", "resource"}, {"resource", {{"uri", "u"}, {"text", "t"}}}}})}};
    EXPECT_EQ(result_text(r, 1000), "a\n[image image/png, 4 base64 characters]\nt");
    EXPECT_EQ(result_text({{"structuredContent", {{"x", 1}}}}, 1000), "{\"x\":1}");
    EXPECT_EQ(utf8_prefix("aäb", 2), "a");
    EXPECT_EQ(utf8_prefix("aäb", 3), "aä");
    const json cut = bounded_result({{"content", json::array({{{"type", "text"}, {"text", std::string(1000, 'x')}}})}, {"isError", true}}, 200);
    EXPECT_LT(dump(cut).size(), 300u);
    EXPECT_EQ(cut["isError"], true);
    EXPECT_EQ(result_text(json("odd"), 10), "");
}

TEST(commands, aliases_expand_until_a_command_or_a_message_is_left) {
    const alias_table aliases{{"m", "/model"}, {"mm", "/m $1"}, {"hi", "hello"}, {"loop", "/loop"}, {"swap", "say $2 $1"}};
    EXPECT_EQ(expand("/help", {})->name, "help");
    EXPECT_EQ(expand("  /model  x ", {})->rest, "x");
    EXPECT_EQ(expand("/m fast", aliases)->rest, "fast");
    EXPECT_EQ(expand("/mm fast more", aliases)->rest, "fast");
    EXPECT_EQ(expand("/hi there", aliases)->rest, "hello there");
    EXPECT_TRUE(expand("/hi there", aliases)->name.empty());
    EXPECT_EQ(expand("/swap a b", aliases)->rest, "say b a");
    EXPECT_EQ(expand("/loop", aliases).error().code, errc::invalid_argument);
    EXPECT_EQ(expand("/nope", aliases).error().code, errc::command_not_found);
    EXPECT_EQ(expand("/", aliases).error().code, errc::command_not_found);
    EXPECT_NE(help_text(aliases).find("/mm  alias for: /m $1"), std::string::npos);
    EXPECT_FALSE(check_alias("model", "x"));
    EXPECT_FALSE(check_alias("a b", "x"));
    EXPECT_FALSE(check_alias("ok", "  "));
    EXPECT_TRUE(check_alias("ok", "x"));
}

TEST(options, name_the_setting_that_is_wrong) {
    EXPECT_EQ(session_options_from({{"max_rounds", 3}, {"hibernate_after_s", 0.5}})->hibernate_after, milliseconds(500));
    EXPECT_TRUE(session_options_from(json()));
    for (const json& bad : {json{{"max_rounds", 0}}, json{{"max_round", 3}}, json{{"max_rounds", "3"}}, json{{"system_prompt", 1}}, json(7)})
        EXPECT_EQ(session_options_from(bad).error().code, errc::config_invalid) << bad;
}

TEST(chat_request, answers_every_tool_use_and_begins_with_the_user) {
    session_state s;
    s.id = "s";
    const auto add = [&](message m) { s.recent.push_back(std::make_shared<const message>(std::move(m))); };
    add({"m0", "cut off from its question", 0, 1, speaker::assistant, message_status::complete, {}, {}, ""});
    add({"m1", "go", 0, 2, speaker::user, message_status::complete, {}, {}, ""});
    tool_use done{"c1", "demo", "count", "demo__count", {{"a", 1}}, call_status::result, {{"content", json::array({{{"type", "text"}, {"text", "one"}}})}}};
    tool_use unknown{"c2", "demo", "count", "demo__count", {{"a", 2}}, call_status::outcome_unknown, error_result("unknown")};
    add({"m2", "calling", 0, 3, speaker::assistant, message_status::complete, {done, unknown}, {}, "x"});
    add({"m3", "", 0, 4, speaker::assistant, message_status::failed, {}, {}, ""});
    add({"m4", "par", 0, 5, speaker::assistant, message_status::interrupted, {}, {}, ""});
    add({"m5", "", 0, 6, speaker::assistant, message_status::streaming, {}, {}, ""});
    const json m = make_chat_request(s, nullptr, {}).body["messages"];
    ASSERT_EQ(m.size(), 4u);
    EXPECT_EQ(m[0]["role"], "user");
    EXPECT_EQ(m[1]["content"].size(), 3u);
    EXPECT_EQ(m[2]["role"], "tool");
    ASSERT_EQ(m[2]["content"].size(), 2u);
    EXPECT_EQ(m[2]["content"][0]["is_error"], false);
    EXPECT_EQ(m[2]["content"][1]["is_error"], true);
    EXPECT_EQ(m[3]["content"][0]["text"], "par [interrupted]");
}

}  // namespace
}  // namespace holdfast::sessions
