// The demonstration model: what it understands, and the plugin under a fake host.
#include <gtest/gtest.h>

#include "llm-demo/answer.hpp"

namespace llm_demo {
namespace {

json tool(const std::string& name, json properties, json required = json::array()) {
    return {{"name", name}, {"description", ""}, {"input_schema", {{"type", "object"}, {"properties", std::move(properties)}, {"required", std::move(required)}}}};
}
const json string_type{{"type", "string"}};
const json number_type{{"type", "number"}};

json demo_tools() {
    return json::array({tool("demo__get_time", {{"timezone", string_type}}), tool("demo__echo", {{"text", string_type}}, {"text"}),
                        tool("demo__list_files", {{"path", string_type}}),
                        tool("demo__read_file", {{"path", string_type}, {"offset", {{"type", "integer"}}}, {"limit", {{"type", "integer"}}}}, {"path"}),
                        tool("demo__slow", {{"duration_ms", {{"type", "integer"}}}, {"steps", {{"type", "integer"}}}}), tool("demo__count", {{"id", string_type}}),
                        tool("demo__ask_name", {{"greeting", string_type}}), tool("demo__test_simple_text", json::object())});
}
json other_tools() {
    return json::array({tool("everything__echo", {{"message", string_type}}, {"message"}), tool("everything__get-sum", {{"a", number_type}, {"b", number_type}}, {"a", "b"}),
                        tool("fs__list_directory", {{"path", string_type}}, {"path"}), tool("fs__read_text_file", {{"path", string_type}, {"head", number_type}}, {"path"})});
}
json ask(const std::string& text, json tools) {
    return {{"messages", json::array({{{"role", "user"}, {"content", json::array({{{"type", "text"}, {"text", text}}})}}})}, {"tools", std::move(tools)}};
}
/// "name {arguments}; name {arguments}"
std::string calls(const std::string& text, json tools) {
    std::string out;
    for (const auto& c : answer_to(ask(text, std::move(tools))).calls) out += (out.empty() ? "" : "; ") + c.name + " " + c.input.dump();
    return out;
}

TEST(demonstration_model, chooses_tools_by_intent) {
    const std::pair<const char*, const char*> of_demo[] = {
        {"what time is it?", "demo__get_time {}"},
        {"What is the time in Europe/Berlin?", R"(demo__get_time {"timezone":"Europe/Berlin"})"},
        {"what's today's date", "demo__get_time {}"},
        {"list files", R"(demo__list_files {"path":"."})"},
        {"please list the files in src/host", R"(demo__list_files {"path":"src/host"})"},
        {"Which files are in this directory?", R"(demo__list_files {"path":"."})"},
        {"read file README.md", R"(demo__read_file {"path":"README.md"})"},
        {"read notes/a.txt", R"(demo__read_file {"path":"notes/a.txt"})"},
        {"Could you show the file \"my notes.txt\"?", R"(demo__read_file {"path":"my notes.txt"})"},
        {"echo hello world", R"(demo__echo {"text":"hello world"})"},
        {"say \"hi\"", R"(demo__echo {"text":"hi"})"},
        {"echo add 2", R"(demo__echo {"text":"add 2"})"},
        {"count", "demo__count {}"},
        {"count alpha", R"(demo__count {"id":"alpha"})"},
        {"do something slow for 200 ms", R"(demo__slow {"duration_ms":200})"},
        {"slow 2 seconds", R"(demo__slow {"duration_ms":2000})"},
        {"ask my name", "demo__ask_name {}"},
        {"call echo {\"text\": \"x\"}", R"(demo__echo {"text":"x"})"},
        {"call demo/echo {\"text\": \"x\"}", R"(demo__echo {"text":"x"})"},
        {"use slow with duration_ms=5 steps=2", R"(demo__slow {"duration_ms":5,"steps":2})"},
        {"use echo with text=\"a b\"", R"(demo__echo {"text":"a b"})"},
        {"use test_simple_text", "demo__test_simple_text {}"},
        {"test_simple_text", "demo__test_simple_text {}"},
        {"what time is it and echo hi", R"(demo__get_time {}; demo__echo {"text":"hi"})"},
        {"echo one, echo two and then count x", R"(demo__echo {"text":"one"}; demo__echo {"text":"two"}; demo__count {"id":"x"})"},
        {"echo salt and pepper", R"(demo__echo {"text":"salt and pepper"})"},
        {"good morning", ""},
    };
    for (const auto& [text, expected] : of_demo) EXPECT_EQ(calls(text, demo_tools()), expected) << text;
    const std::pair<const char*, const char*> of_others[] = {
        {"echo hi", R"(everything__echo {"message":"hi"})"},
        {"add 2 and 3", R"(everything__get-sum {"a":2,"b":3})"},
        {"what is 2.5 plus 4?", R"(everything__get-sum {"a":2.5,"b":4})"},
        {"list files", R"(fs__list_directory {"path":"."})"},
        {"list files in /tmp", R"(fs__list_directory {"path":"/tmp"})"},
        {"read file a.txt", R"(fs__read_text_file {"path":"a.txt"})"},
        {"add 1 and 2 and list files", R"(everything__get-sum {"a":1,"b":2}; fs__list_directory {"path":"."})"},
    };
    for (const auto& [text, expected] : of_others) EXPECT_EQ(calls(text, other_tools()), expected) << text;
}

TEST(demonstration_model, says_what_the_tools_returned) {
    json r = ask("what time is it", demo_tools());
    const answer first = answer_to(r);
    json parts = json::array({{{"type", "tool_use"}, {"id", first.calls[0].id}, {"name", first.calls[0].name}, {"input", json::object()}}});
    r["messages"].push_back({{"role", "assistant"}, {"content", parts}});
    r["messages"].push_back({{"role", "tool"}, {"content", json::array({{{"type", "tool_result"}, {"tool_use_id", first.calls[0].id}, {"text", "12:00\n"}, {"is_error", false}}})}});
    EXPECT_EQ(answer_to(r).text, "Here is what get_time returned: 12:00");
    EXPECT_TRUE(answer_to(r).calls.empty());
    r["messages"].back()["content"][0]["is_error"] = true;
    EXPECT_EQ(answer_to(r).text, "The tool get_time did not succeed: 12:00");
    r["messages"].push_back(ask("count", {})["messages"][0]);
    EXPECT_NE(answer_to(r).calls.at(0).id, first.calls[0].id);
}

TEST(demonstration_model, is_honest_about_itself_and_about_missing_tools) {
    EXPECT_NE(answer_to(ask("hello", demo_tools())).text.find("demonstration model"), std::string::npos);
    EXPECT_EQ(answer_to(ask("hello", demo_tools())).text.find("test_simple_text"), std::string::npos);
    EXPECT_NE(answer_to(ask("what time is it", json::array())).text.find("none is available"), std::string::npos);
    EXPECT_NE(answer_to(ask("call nothing {}", demo_tools())).text.find("no tool named nothing"), std::string::npos);
    EXPECT_EQ(answer_to(ask("say hi", json::array())).text, "hi");
}

TEST(demonstration_model, tells_stories_of_any_length) {
    for (const int n : {1, 24, 25, 500}) {
        const answer a = answer_to(ask("tell a long story of " + std::to_string(n) + " words", json::array()));
        EXPECT_EQ(words_of(a.text).size(), static_cast<std::size_t>(n));
        std::string joined;
        for (const auto& w : words_of(a.text)) joined += w;
        EXPECT_EQ(joined, a.text);
    }
}

TEST(demonstration_model, survives_requests_of_any_shape) {
    for (const char* r : {"{}", R"({"messages":[1,null,{"role":"user"}],"tools":[{}]})", R"({"messages":[{"role":"tool","content":"x"}],"tools":{}})",
                          R"({"messages":[{"role":"user","content":[{"type":"text","text":"echo hi"}]}],"tools":[{"name":"a__echo","input_schema":7}]})",
                          R"({"messages":[{"role":"user","content":[{"type":"text","text":"and then , and "}]}]})"})
        (void)chat_result(answer_to(json::parse(r)), json::parse(r));
}

}  // namespace
}  // namespace llm_demo
