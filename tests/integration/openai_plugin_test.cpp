// The plugin as the host runs it, against scripted and against real peers.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "holdfast/ext/llm.h"
#include "holdfast/testing/loader.hpp"
#include "peers/peer_process.hpp"
#include "unit/net_client/script_server.hpp"

namespace {

using namespace holdfast::testing;
using holdfast::sdk::status;
using nlohmann::json;

constexpr const char* key = "sk-test-0123456789abcdef";

const plugin_file& file() {
    static const plugin_file f(LLM_OPENAI_PLUGIN);
    return f;
}

class running {
  public:
    explicit running(const json& settings) : instance_(file(), {.settings = settings.dump()}) {
        const auto s = instance_.up();
        if (!s.ok()) throw std::runtime_error(s.message);
        llm = instance_.ext<hf_llm>(HF_EXT_LLM);
    }
    void submit(call_probe& p, const char* method, const json& request, milliseconds deadline = milliseconds(0)) { p.submit(llm->submit, instance_.self(), method, request.dump(), deadline); }
    json describe() {
        call_probe p;
        submit(p, "describe", json::object());
        EXPECT_TRUE(p.wait());
        EXPECT_TRUE(p.outcome().ok()) << p.outcome().message;
        return json::parse(p.result(), nullptr, false);
    }
    void cancel(const call_probe& p) { llm->cancel(instance_.self(), p.id()); }
    plugin_instance& instance() { return instance_; }
    /// Nothing that was logged holds the key.
    void expect_no_secret() {
        for (const auto& l : instance_.host().logs()) EXPECT_EQ((l.message + l.fields).find(key), std::string::npos) << l.message;
    }
    const hf_llm* llm = nullptr;

  private:
    plugin_instance instance_;
};

json ask(const std::string& text) { return {{"messages", {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", text}}}}}}}, {"tools", json::array()}}; }
json settings_for(const script_server& s, json more = json::object()) {
    json j{{"base_url", s.url("/v1")}, {"api_key", key}, {"model", "m"}};
    j.update(more);
    return j;
}
std::string delta(const json& d, const json& finish = nullptr) {
    return "data: " + json{{"choices", {{{"index", 0}, {"delta", d}, {"finish_reason", finish}}}}}.dump() + "\n\n";
}
/// Submits a chat and waits for its end.
struct outcome {
    status s;
    json result;
    std::vector<std::string> chunks;
};
outcome chat(running& r, const json& request = ask("hi")) {
    call_probe p;
    r.submit(p, "chat", request);
    EXPECT_TRUE(p.wait(milliseconds(20'000)));
    for (const auto& f : p.faults()) ADD_FAILURE() << f;
    return {p.outcome(), json::parse(p.result(), nullptr, false), p.chunks()};
}

TEST(openai_plugin, sends_what_was_configured) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(200, "text/event-stream", delta({{"content", "x"}}, "stop") + "data: [DONE]\n\n"); });
    running r(settings_for(s, {{"organization", "org"}, {"headers", {{"X-Title", "t"}}}}));
    EXPECT_TRUE(chat(r).s.ok());
    const auto heard = s.heard().at(0);
    EXPECT_EQ(heard.target, "/v1/chat/completions");
    EXPECT_EQ(heard.header("authorization"), std::string("Bearer ") + key);
    EXPECT_EQ(heard.header("openai-organization"), "org");
    EXPECT_EQ(heard.header("x-title"), "t");
    EXPECT_EQ(json::parse(heard.body)["model"], "m");
}

TEST(openai_plugin, completes_at_done_without_waiting_for_the_line_to_close) {
    script_server s([](const heard_request&, script_server::peer& p) {
        p.events();
        for (const char c : delta({{"content", "Grüße"}}, "stop") + "data: [DONE]\n\n") p.chunk(std::string(1, c));
        p.wait_gone();
    });
    running r(settings_for(s));
    const auto o = chat(r);
    ASSERT_TRUE(o.s.ok()) << o.s.message;
    EXPECT_EQ(o.result["content"][0]["text"], "Grüße");
}

TEST(openai_plugin, retries_before_content_and_obeys_the_server) {
    std::atomic<int> n{0};
    script_server s([&](const heard_request&, script_server::peer& p) {
        switch (++n) {
            case 1: p.answer(429, "application/json", "{}", "retry-after-ms: 5\r\n"); break;
            case 2: p.answer(400, "application/json", "{}", "x-should-retry: true\r\nretry-after-ms: 1\r\n"); break;
            default: p.answer(200, "text/event-stream", delta({{"content", "third"}}, "stop") + "data: [DONE]\n\n");
        }
    });
    running r(settings_for(s));
    const auto o = chat(r);
    ASSERT_TRUE(o.s.ok()) << o.s.message;
    EXPECT_EQ(o.result["content"][0]["text"], "third");
    r.expect_no_secret();
}

TEST(openai_plugin, gives_up_after_max_retries_and_reports_the_last) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(503, "application/json", R"({"error":{"message":"busy"}})", "retry-after-ms: 1\r\n"); });
    running r(settings_for(s, {{"max_retries", 1}}));
    const auto o = chat(r);
    EXPECT_EQ(o.s.code, HF_E_UNAVAILABLE);
    EXPECT_EQ(o.s.peer_status, 503);
    EXPECT_NE(o.s.message.find("busy"), std::string::npos);
    EXPECT_EQ(s.heard().size(), 2u);
}

TEST(openai_plugin, does_not_retry_after_content_was_shown) {
    script_server s([](const heard_request&, script_server::peer& p) {
        p.events();
        p.chunk(delta({{"content", "half"}}));
        p.reset();
    });
    running r(settings_for(s));
    const auto o = chat(r);
    EXPECT_EQ(o.s.code, HF_E_TRANSPORT);
    EXPECT_EQ(o.chunks.size(), 1u);
    EXPECT_EQ(s.heard().size(), 1u);
}

TEST(openai_plugin, an_orderly_end_without_a_terminal_event_is_a_protocol_error) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(200, "text/event-stream", delta({{"content", "half"}})); });
    running r(settings_for(s));
    EXPECT_EQ(chat(r).s.code, HF_E_PROTOCOL);
}

TEST(openai_plugin, a_line_that_breaks_after_the_end_does_no_harm) {
    script_server s([](const heard_request&, script_server::peer& p) {
        p.events();
        p.chunk(delta({{"content", "all"}}, "stop"));
        p.hang_up();
    });
    running r(settings_for(s));
    EXPECT_TRUE(chat(r).s.ok());
}

TEST(openai_plugin, ends_a_silent_stream_even_if_comments_come) {
    script_server s([](const heard_request&, script_server::peer& p) {
        p.events();
        p.chunk(delta({{"content", "one"}}));
        while (p.chunk(": still here\n\n")) std::this_thread::yield();
    });
    running r(settings_for(s, {{"idle_timeout_s", 0.1}}));
    EXPECT_EQ(chat(r).s.code, HF_E_TIMEOUT);
}

TEST(openai_plugin, refused_credentials_name_the_setting_and_not_the_key) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(401, "application/json", R"({"error":{"message":"bad key )" + std::string(key) + "\"}}"); });
    running r(settings_for(s));
    const auto o = chat(r);
    EXPECT_EQ(o.s.code, HF_E_AUTH);
    EXPECT_NE(o.s.message.find("api_key"), std::string::npos);
    EXPECT_EQ(o.s.message.find(key), std::string::npos);
    EXPECT_EQ(s.heard().size(), 1u);
    r.expect_no_secret();
}

TEST(openai_plugin, cancel_closes_the_transfer_at_once) {
    std::atomic<bool> gone{false};
    script_server s([&](const heard_request&, script_server::peer& p) {
        p.events();
        p.chunk(delta({{"content", "x"}}));
        gone = p.wait_gone();
    });
    running r(settings_for(s));
    call_probe p;
    r.submit(p, "chat", ask("hi"));
    ASSERT_TRUE(s.wait_heard(1));
    r.cancel(p);
    ASSERT_TRUE(p.wait());
    EXPECT_EQ(p.outcome().code, HF_E_CANCELLED);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!gone && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_TRUE(gone);
}

TEST(openai_plugin, keeps_the_deadline) {
    script_server s([](const heard_request&, script_server::peer& p) { p.wait_gone(); });
    running r(settings_for(s));
    call_probe p;
    r.submit(p, "chat", ask("hi"), milliseconds(80));
    ASSERT_TRUE(p.wait());
    EXPECT_EQ(p.outcome().code, HF_E_TIMEOUT);
}

TEST(openai_plugin, describes_a_local_server_and_takes_its_first_model) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        if (q.target == "/v1/models") p.answer(200, "application/json", R"({"data":[{"id":"first"},{"id":"second"}]})");
        else p.answer(200, "text/event-stream", delta({{"content", "x"}}, "stop") + "data: [DONE]\n\n");
    });
    running r(json{{"base_url", s.url("/v1")}});
    const json d = r.describe();
    EXPECT_EQ(d["available"], true);
    EXPECT_EQ(d["local"], true);
    EXPECT_EQ(d["model"], "first");
    EXPECT_TRUE(chat(r).s.ok());
    r.describe();
    EXPECT_EQ(s.heard().size(), 2u) << "the list is asked for once in a few seconds";
    EXPECT_EQ(json::parse(s.heard()[1].body)["model"], "first");
    EXPECT_FALSE(s.heard()[1].has("authorization"));
}

TEST(openai_plugin, says_why_it_is_not_available) {
    {
        running r(json::object());
        const json d = r.describe();
        EXPECT_EQ(d["available"], false);
        EXPECT_EQ(d["model"], "gpt-6.1-sol");
        EXPECT_NE(d["reason"].get<std::string>().find("api_key"), std::string::npos);
        EXPECT_EQ(chat(r).s.code, HF_E_AUTH);
    }
    running down(json{{"base_url", "http://127.0.0.1:9/v1"}});
    EXPECT_EQ(down.describe()["available"], false);
    EXPECT_EQ(chat(down).s.code, HF_E_TRANSPORT);
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(401, "application/json", "{}"); });
    running locked(json{{"base_url", s.url("/v1")}});
    EXPECT_NE(locked.describe()["reason"].get<std::string>().find("api_key"), std::string::npos);
}

TEST(openai_plugin, calls_tools_of_a_real_emulator) {
    if (!has_peer("@copilotkit/aimock")) GTEST_SKIP() << "@copilotkit/aimock is not installed: run tests/peers/install.sh";
    peer_process aimock({"node", std::string(PEERS_SOURCE) + "/aimock.mjs", peers_dir()});
    const auto line = aimock.wait_line("listening on ");
    ASSERT_TRUE(line) << aimock.output();
    running r(json{{"base_url", line->substr(line->find("http")) + "/v1"}, {"api_key", key}, {"model", "gpt-6.1-sol"}});
    EXPECT_EQ(chat(r, ask("hello")).result["content"][0]["text"], "Hello! How can I help you today?");

    json request = ask("what is the weather");
    request["tools"] = {{{"name", "get_weather"}, {"description", "d"}, {"input_schema", {{"type", "object"}}}}};
    const auto first = chat(r, request);
    ASSERT_TRUE(first.s.ok()) << first.s.message;
    EXPECT_EQ(first.result["stop_reason"], "tool_use");
    ASSERT_EQ(first.result["content"].size(), 2u) << first.result;
    EXPECT_EQ(first.result["content"][0]["input"], json::parse(R"({"place":"Zürich","unit":"celsius"})"));
    EXPECT_EQ(first.result["content"][1]["input"]["place"], "Bern");

    request["messages"].push_back({{"role", "assistant"}, {"content", first.result["content"]}});
    json results = json::array();
    for (const auto& use : first.result["content"]) results.push_back({{"type", "tool_result"}, {"tool_use_id", use["id"]}, {"text", "21"}});
    request["messages"].push_back({{"role", "tool"}, {"content", results}});
    const auto second = chat(r, request);
    ASSERT_TRUE(second.s.ok()) << second.s.message;
    EXPECT_EQ(second.result["content"][0]["text"], "It is 21 degrees in Zürich.");
    EXPECT_EQ(second.result["stop_reason"], "end_turn");
}

}  // namespace
