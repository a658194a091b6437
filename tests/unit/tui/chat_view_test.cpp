#include <gtest/gtest.h>

#include "ui-tui/chat_view.hpp"

namespace holdfast::tui {
namespace {

std::string text(const std::vector<styled>& lines) {
    std::string out;
    for (const styled& s : lines) out += s.text;
    return out;
}
json event(std::uint64_t seq, const char* type, json fields = json::object()) {
    fields.update({{"seq", seq}, {"epoch", 7}, {"type", type}});
    return fields;
}
json snapshot(std::uint64_t seq) {
    return {{"epoch", 7}, {"seq", seq}, {"state", "idle"}, {"messages", json::array({{{"role", "user"}, {"text", "hi"}}})}, {"pending", json::array()}, {"stream", nullptr}};
}

TEST(ChatView, shows_the_snapshot_then_only_what_is_newer) {
    chat_view v;
    EXPECT_EQ(text(v.attach(snapshot(5), true)), "> hi\n");
    EXPECT_EQ(text(v.on_event(event(5, "StreamChunkReceived", {{"message_id", "m"}, {"chunk", "old"}}))), "");
    EXPECT_EQ(text(v.on_event(event(6, "StreamChunkReceived", {{"message_id", "m"}, {"chunk", "new"}}))), "new");
    EXPECT_EQ(text(v.on_event(event(7, "StreamCompleted", {{"message_id", "m"}, {"final_content", "new"}}))), "\n");
}

TEST(ChatView, an_answer_that_never_streamed_is_shown_when_complete) {
    chat_view v;
    v.attach(snapshot(1), false);
    EXPECT_EQ(text(v.on_event(event(2, "StreamCompleted", {{"message_id", "m"}, {"final_content", "whole"}}))), "whole\n");
}

TEST(ChatView, takes_over_from_another_ui_without_repeating) {
    chat_view v;
    v.resume_after(7, 5);
    EXPECT_EQ(text(v.attach(snapshot(9), true)), "") << "everything up to 5 was shown there, 6 to 9 come as events";
    EXPECT_EQ(text(v.on_event(event(6, "StreamChunkReceived", {{"message_id", "m"}, {"chunk", "six"}}))), "six");
    EXPECT_EQ(v.seq(), 6u);
}

TEST(ChatView, a_pending_request_is_asked_once_and_answered_by_anybody) {
    chat_view v;
    json s = snapshot(3);
    s["pending"] = json::array({{{"request_id", "r"}, {"kind", "permission"}, {"prompt", "Allow?"}, {"arguments", {{"a", 1}}}}});
    EXPECT_NE(text(v.attach(s, false)).find("Allow?"), std::string::npos);
    EXPECT_EQ(text(v.on_event(event(4, "PermissionRequired", {{"request_id", "r"}, {"prompt", "Allow?"}}))), "") << "the same request again";
    ASSERT_EQ(v.requests().size(), 1u);
    EXPECT_EQ(v.prompt(), "allow? [y/a/n] ");
    EXPECT_NE(text(v.on_event(event(5, "PermissionResolved", {{"request_id", "r"}, {"decision", "deny"}, {"resolved_by", "web"}}))).find("deny by web"), std::string::npos);
    EXPECT_TRUE(v.requests().empty());
}

TEST(ChatView, answers_are_understood_or_explained) {
    request r;
    EXPECT_EQ(read_answer(r, " Y ").params["decision"], "allow_once");
    EXPECT_EQ(read_answer(r, "always").params["decision"], "allow_always");
    EXPECT_EQ(read_answer(r, "n").params["decision"], "deny");
    EXPECT_FALSE(read_answer(r, "maybe").understood);
    EXPECT_FALSE(read_answer(r, "").understood);
    r.is_input = true;
    r.schema = {{"properties", {{"name", {{"type", "string"}}}}}};
    EXPECT_EQ(read_answer(r, "Ann").params, (json{{"action", "accept"}, {"content", {{"name", "Ann"}}}}));
    EXPECT_EQ(read_answer(r, "{\"name\":\"Bo\"}").params["content"]["name"], "Bo");
    EXPECT_EQ(read_answer(r, "/decline").params["action"], "decline");
    r.schema["properties"]["age"] = {{"type", "integer"}};
    EXPECT_FALSE(read_answer(r, "Ann").understood) << "two values do not fit in one word";
}

TEST(ChatView, an_address_is_shown_whole_and_answered_with_yes_no_or_cancel) {
    chat_view v;
    v.attach(snapshot(1), false);
    const std::string url = "https://accounts.example.com@evil.example/sign-in?" + std::string(600, 'q');
    const std::string shown = text(v.on_event(event(2, "PermissionRequired", {{"request_id", "r"}, {"kind", "input"}, {"prompt", "Sign in, please"}, {"server_name", "mail"}, {"url", url}})));
    EXPECT_NE(shown.find("mail asks: Sign in, please"), std::string::npos);
    EXPECT_NE(shown.find(url + "\n"), std::string::npos) << "all of it";
    EXPECT_NE(shown.find("site: evil.example;"), std::string::npos) << "not what stands before the @";
    const std::string odd = text(v.on_event(event(3, "PermissionRequired", {{"request_id", "r2"}, {"kind", "input"}, {"url", "https://ex\u202E\u0430mple.org/\n x"}})));
    EXPECT_NE(odd.find("https://ex%E2%80%AE%D0%B0mple.org/%0A%20x\n"), std::string::npos) << odd;
    EXPECT_EQ(v.prompt(), "will you open it? [Y/n/c] ");
    const request& r = v.requests().front();
    for (const char* yes : {"", " ", "y", "YES"}) EXPECT_EQ(read_answer(r, yes).params, (json{{"action", "accept"}})) << yes;
    for (const char* no : {"n", "d", "no", "/decline"}) EXPECT_EQ(read_answer(r, no).params, (json{{"action", "decline"}})) << no;
    for (const char* later : {"c", "/cancel"}) EXPECT_EQ(read_answer(r, later).params, (json{{"action", "cancel"}})) << later;
    EXPECT_EQ(escape_answer(r).params, (json{{"action", "cancel"}}));
    EXPECT_FALSE(read_answer(r, "what?").understood);
    EXPECT_EQ(read_answer(r, "what?").hint.find("JSON"), std::string::npos);
}

TEST(ChatView, a_form_without_fields_is_agreed_to) {
    request r;
    r.is_input = true;
    r.schema = {{"type", "object"}, {"properties", json::object()}};
    EXPECT_EQ(read_answer(r, "").params, (json{{"action", "accept"}, {"content", json::object()}}));
    EXPECT_EQ(read_answer(r, "n").params["action"], "decline");
}

TEST(ChatView, shows_what_a_server_wants_of_the_model_and_what_it_got) {
    chat_view v;
    json s = snapshot(1);
    const json wanted{{"system_prompt", "Be brief."}, {"messages", json::array({{{"role", "user"}, {"text", "say something"}}})}, {"max_tokens", 20}, {"model_hints", {"claude"}}};
    s["pending"] = json::array({{{"request_id", "r"}, {"kind", "sampling"}, {"prompt", "Let srv/tool ask the model?"}, {"server", "srv"}, {"arguments", wanted}, {"options", {"allow_once", "deny"}}}});
    const std::string shown = text(v.attach(s, false));
    for (const char* part : {"! Let srv/tool ask the model?", "claude", "system: Be brief.", "user: say something"}) EXPECT_NE(shown.find(part), std::string::npos) << part;
    EXPECT_EQ(v.prompt(), "allow? [y/n] ");
    const request& r = v.requests().front();
    EXPECT_EQ(read_answer(r, "y").params["decision"], "allow_once");
    EXPECT_EQ(read_answer(r, "n").params["decision"], "deny");
    EXPECT_FALSE(read_answer(r, "a").understood) << "there is no always";
    EXPECT_FALSE(escape_answer(r).understood);
    EXPECT_NE(text(v.on_event(event(2, "SamplingCompleted", {{"server_name", "srv"}, {"tool_name", "tool"}, {"status", "result"}, {"text", "moo"}}))).find("the model answered: moo"), std::string::npos);
    EXPECT_NE(text(v.on_event(event(3, "SamplingCompleted", {{"status", "error"}, {"message", "no key"}}))).find("no answer: no key"), std::string::npos);
}

TEST(ChatView, survives_events_that_lack_everything) {
    chat_view v;
    v.attach(nullptr, true);
    std::uint64_t n = 0;
    for (const char* type : {"MessageAdded", "StreamChunkReceived", "StreamCompleted", "PermissionRequired", "PermissionResolved", "MCPToolExecuted", "SamplingCompleted", "SessionStateChanged", "ErrorOccurred", "SessionEnded", "Unheard"})
        EXPECT_NO_THROW(v.on_event(event(++n, type))) << type;
}

}  // namespace
}  // namespace holdfast::tui
