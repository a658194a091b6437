// What the Chat Completions adapter says and understands, without a network.
#include <gtest/gtest.h>

#include "llm-openai/answer_errors.hpp"
#include "llm-openai/chat.hpp"
#include "llm-openai/chat_stream.hpp"

namespace holdfast::llm_openai {
namespace {

using std::chrono::milliseconds;

settings some_settings(std::string_view text = R"({"api_key":"sk-secret-0123456789"})") { return read_settings(text); }

struct answer {
    std::vector<json> chunks;
    sdk::status status;
    json result;
};
class heard {
  public:
    heard& say(const std::string& data) {
        for (const auto& c : stream_.event(data)) a_.chunks.push_back(json::parse(c));
        return *this;
    }
    heard& delta(const json& d, const json& finish = nullptr) {
        return say(json{{"model", "m-1"}, {"choices", {{{"index", 0}, {"delta", d}, {"finish_reason", finish}}}}}.dump());
    }
    heard& call(const json& c) { return delta({{"tool_calls", json::array({c})}}); }
    heard& whole(const json& body) {
        for (const auto& c : stream_.whole(body.dump())) a_.chunks.push_back(json::parse(c));
        return *this;
    }
    answer end() {
        std::string text;
        a_.status = stream_.result(text);
        if (a_.status.ok()) a_.result = json::parse(text);
        return a_;
    }
    tool_names names;

  private:
    settings s_ = some_settings();
    chat_stream stream_{s_, names, "asked"};
    answer a_;
};
json piece(int index, const char* id, const char* name, const char* arguments) {
    json c{{"index", index}, {"function", json::object()}};
    if (id) c["id"] = id;
    if (name) c["function"]["name"] = name;
    if (arguments) c["function"]["arguments"] = arguments;
    return c;
}
std::vector<json> uses(const answer& a) {
    std::vector<json> out;
    for (const auto& part : a.result["content"])
        if (part["type"] == "tool_use") out.push_back(part);
    return out;
}

TEST(openai_stream, puts_text_together_and_sets_usage) {
    heard h;
    h.delta({{"role", "assistant"}, {"content", ""}}).delta({{"content", "Hel"}}).delta({{"content", "lo"}}).delta(json::object(), "stop");
    h.say(R"({"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}})");
    h.say(R"({"choices":[],"obfuscation":"xyz","usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}})").say(" [DONE] ");
    const answer a = h.end();
    ASSERT_TRUE(a.status.ok()) << a.status.message;
    EXPECT_EQ(a.result["content"], json::parse(R"([{"type":"text","text":"Hello"}])"));
    EXPECT_EQ(a.result["model"], "m-1");
    EXPECT_EQ(a.result["stop_reason"], "end_turn");
    EXPECT_EQ(a.result["usage"], json::parse(R"({"input_tokens":5,"output_tokens":2,"cached_tokens":3})"));
    EXPECT_EQ(a.chunks.size(), 2u) << "empty deltas are not passed on";
}

TEST(openai_stream, keeps_parallel_calls_apart_that_all_say_index_0) {
    heard h;
    h.call(piece(0, "a", "one", "")).call(piece(0, nullptr, nullptr, "{\"x\":")).call(piece(0, nullptr, nullptr, "1}"));
    h.call(piece(0, "b", "two", "{\"y\"")).call(piece(0, nullptr, nullptr, ":2}")).call(piece(0, "c", "one", "{}"));
    const answer a = h.delta(json::object(), "tool_calls").say("[DONE]").end();
    ASSERT_TRUE(a.status.ok()) << a.status.message;
    EXPECT_EQ(a.result["stop_reason"], "tool_use");
    const auto u = uses(a);
    ASSERT_EQ(u.size(), 3u);
    EXPECT_EQ(u[0], json::parse(R"({"type":"tool_use","id":"a","name":"one","input":{"x":1}})"));
    EXPECT_EQ(u[1], json::parse(R"({"type":"tool_use","id":"b","name":"two","input":{"y":2}})"));
    EXPECT_EQ(u[2]["id"], "c");
}

TEST(openai_stream, puts_interleaved_calls_together_by_index) {
    heard h;
    h.call(piece(0, "a", "one", "{\"x\"")).call(piece(1, "b", "two", "{\"y\"")).call(piece(0, nullptr, nullptr, ":1}")).call(piece(1, "", "", ":2}"));
    const auto u = uses(h.delta(json::object(), "tool_calls").end());
    ASSERT_EQ(u.size(), 2u);
    EXPECT_EQ(u[0]["input"], json::parse(R"({"x":1})"));
    EXPECT_EQ(u[1]["input"], json::parse(R"({"y":2})"));
}

TEST(openai_stream, takes_a_repeated_id_and_name_for_the_same_call) {
    heard h;
    h.call(piece(0, "a", "one", "{\"x\":1")).call(piece(0, "a", "one", "}")).call(piece(0, "a", "one", ""));
    const answer a = h.delta(json::object(), "tool_calls").end();
    ASSERT_EQ(uses(a).size(), 1u);
    EXPECT_EQ(std::count_if(a.chunks.begin(), a.chunks.end(), [](const json& c) { return c["type"] == "tool_use_start"; }), 1);
}

TEST(openai_stream, makes_up_ids_that_differ) {
    heard h;
    h.call(piece(0, "", "one", "{}")).call(piece(1, "", "one", "{}"));
    const auto u = uses(h.delta(json::object(), "stop").end());
    ASSERT_EQ(u.size(), 2u);
    EXPECT_NE(u[0]["id"], u[1]["id"]);
    EXPECT_FALSE(u[0]["id"].get<std::string>().empty());
}

TEST(openai_stream, never_makes_a_call_of_arguments_that_are_not_whole) {
    const std::string arguments = R"({"path":"/a","n":[1,2]})";
    for (std::size_t cut = 0; cut < arguments.size(); ++cut) {
        heard truncated;
        truncated.delta({{"content", "t"}}).call(piece(0, "a", "rm", arguments.substr(0, cut).c_str()));
        const answer a = truncated.delta(json::object(), "length").say("[DONE]").end();
        ASSERT_TRUE(a.status.ok());
        EXPECT_EQ(a.result["stop_reason"], "max_tokens");
        EXPECT_TRUE(uses(a).empty()) << cut;
        if (cut == 0) continue;  // no arguments at all are no arguments
        heard wrong;
        const answer w = wrong.call(piece(0, "a", "rm", arguments.substr(0, cut).c_str())).delta(json::object(), "tool_calls").end();
        EXPECT_EQ(w.status.code, HF_E_PROTOCOL) << cut;
    }
    heard list;
    EXPECT_EQ(list.call(piece(0, "a", "rm", "[1]")).delta(json::object(), "tool_calls").end().status.code, HF_E_PROTOCOL);
}

TEST(openai_stream, is_incomplete_without_a_terminal_event) {
    heard h;
    EXPECT_EQ(h.delta({{"content", "half"}}).end().status.code, HF_E_PROTOCOL);
    EXPECT_EQ(heard().end().status.code, HF_E_PROTOCOL);
    EXPECT_EQ(heard().say("[DONE]").end().status.code, HF_E_PROTOCOL) << "nothing at all is no answer";
    EXPECT_TRUE(heard().delta({{"content", "x"}}).say("[DONE]").end().status.ok());
    EXPECT_TRUE(heard().delta({{"content", "x"}}, "stop").end().status.ok());
}

TEST(openai_stream, passes_reasoning_on_under_both_names_but_not_into_the_text) {
    heard h;
    h.delta({{"reasoning_content", "hm"}, {"reasoning", "hm"}}).delta({{"reasoning", "so"}}).delta({{"content", "42"}}, "stop");
    const answer a = h.end();
    ASSERT_EQ(a.chunks.size(), 3u);
    EXPECT_EQ(a.chunks[0], json::parse(R"({"type":"reasoning","text":"hm"})"));
    EXPECT_EQ(a.chunks[1], json::parse(R"({"type":"reasoning","text":"so"})"));
    EXPECT_EQ(a.result["content"].size(), 1u);
}

TEST(openai_stream, maps_every_finish_reason) {
    for (const auto& [wire, ours] : std::map<std::string, std::string>{{"stop", "end_turn"}, {"length", "max_tokens"}, {"content_filter", "refusal"}, {"tool_calls", "other"}, {"new", "other"}})
        EXPECT_EQ(heard().delta({{"content", "x"}}, wire).end().result["stop_reason"], ours) << wire;
    EXPECT_EQ(heard().delta({{"refusal", "no"}}, "stop").end().result["stop_reason"], "refusal");
}

TEST(openai_stream, reports_an_error_inside_the_stream) {
    heard h;
    h.delta({{"content", "x"}}).say(R"({"error":{"message":"model overloaded for key sk-secret-0123456789","code":503}})");
    const auto s = h.end().status;
    EXPECT_EQ(s.code, HF_E_UNAVAILABLE);
    EXPECT_NE(s.message.find("overloaded"), std::string::npos);
    EXPECT_EQ(s.message.find("sk-secret"), std::string::npos);
    EXPECT_EQ(heard().say("{not json").end().status.code, HF_E_PROTOCOL);
    EXPECT_EQ(heard().say(std::string(100'000, '[')).end().status.code, HF_E_PROTOCOL);
}

TEST(openai_stream, takes_a_whole_answer_too) {
    heard h;
    h.whole(json::parse(R"({"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","tool_calls":[
        {"id":"a","type":"function","function":{"name":"one","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"two","arguments":"{\"k\":[]}"}}]},
        "finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})"));
    const answer a = h.end();
    ASSERT_TRUE(a.status.ok()) << a.status.message;
    EXPECT_EQ(uses(a).size(), 2u);
    EXPECT_EQ(heard().whole(json::object()).end().status.code, HF_E_PROTOCOL);
}

TEST(openai_chat, cancelled_before_it_began_ends_once) {
    std::vector<std::int32_t> ends;
    hf_call raw{};
    raw.size = sizeof raw;
    raw.ctx = &ends;
    raw.on_done = [](void* ctx, std::uint64_t, const hf_error* err, hf_bytes) { static_cast<std::vector<std::int32_t>*>(ctx)->push_back(err ? err->code : HF_OK); };
    const settings s = some_settings();
    const sdk::log quiet(nullptr, nullptr);
    net::http_client client;
    models offers(client, s);
    const auto job = std::make_shared<chat_job>(chat_job::surroundings{client, offers, s, quiet},
                                                sdk::call(std::make_shared<sdk::detail::call_state>(raw)), json::object(), nullptr);
    job->cancel();  // posted by another thread before the one that submits has posted begin()
    job->begin();
    EXPECT_EQ(ends, std::vector<std::int32_t>{HF_E_CANCELLED});
}

TEST(openai_request, maps_every_kind_of_part) {
    tool_names names;
    const json request = parse_chat_request(R"({"system":"be brief","max_tokens":9,"temperature":0.5,
      "tools":[{"name":"files/read.me","description":"d","input_schema":{"type":"object"}},{"name":"files_read_me","description":"e"}],
      "messages":[
        {"role":"user","content":[{"type":"text","text":"look"},{"type":"image","media_type":"image/png","data":"AAAA"}]},
        {"role":"assistant","content":[{"type":"text","text":"ok"},{"type":"opaque","x":1},{"type":"tool_use","id":"c1","name":"files/read.me","input":{"p":"ü"}}]},
        {"role":"tool","content":[{"type":"tool_result","tool_use_id":"c1","text":"no","is_error":true},{"type":"tool_result","tool_use_id":"c2","text":"yes"}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"c3","name":"files_read_me","input":{}}]},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]})");
    const json body = chat_body(request, "m", false, names);
    EXPECT_EQ(body["stream"], true);
    EXPECT_EQ(body["stream_options"]["include_usage"], true);
    EXPECT_EQ(body["max_tokens"], 9);
    EXPECT_EQ(chat_body(request, "m", true, names)["max_completion_tokens"], 9);
    const json& m = body["messages"];
    ASSERT_EQ(m.size(), 7u);
    EXPECT_EQ(m[0], json::parse(R"({"role":"system","content":"be brief"})"));
    EXPECT_EQ(m[1]["content"][1]["image_url"]["url"], "data:image/png;base64,AAAA");
    EXPECT_EQ(m[2]["tool_calls"][0]["function"], json::parse(R"({"name":"files_read_me","arguments":"{\"p\":\"ü\"}"})"));
    EXPECT_EQ(m[3], json::parse(R"({"role":"tool","tool_call_id":"c1","content":"Error: no"})"));
    EXPECT_EQ(m[4]["content"], "yes");
    EXPECT_TRUE(m[5]["content"].is_null());
    EXPECT_EQ(m[5]["tool_calls"][0]["function"]["name"], "files_read_me_2");
    EXPECT_EQ(m[6]["content"], "a\nb");
    EXPECT_EQ(names.from_wire("files_read_me"), "files/read.me");
    EXPECT_EQ(names.from_wire("files_read_me_2"), "files_read_me");
    EXPECT_EQ(names.from_wire("invented"), "invented");
}

TEST(openai_request, refuses_what_it_does_not_understand) {
    tool_names names;
    for (const char* bad : {R"({"messages":[7]})", R"({"messages":[{"role":"user"}]})", R"({"messages":[{"role":"user","content":[7]}]})",
                            R"({"messages":[{"role":"robot","content":[]}]})", R"({"messages":[],"tools":[{}]})"})
        EXPECT_THROW(chat_body(parse_chat_request(bad), "m", false, names), sdk::plugin_error) << bad;
}

TEST(openai_retry, does_as_the_vendor_does) {
    const auto now = std::chrono::system_clock::from_time_t(784111777);
    const auto wait = [&](int status, net::headers h, int attempt = 0, double jitter = 0) { return retry_after_answer(attempt, status, h, jitter, now); };
    for (const int s : {408, 409, 429, 500, 503, 529}) EXPECT_EQ(wait(s, {}), milliseconds(500)) << s;
    for (const int s : {400, 401, 403, 404, 422}) EXPECT_FALSE(wait(s, {})) << s;
    EXPECT_EQ(wait(503, {}, 1), milliseconds(1000));
    EXPECT_EQ(wait(503, {}, 4), milliseconds(8000));
    EXPECT_EQ(wait(503, {}, 9), milliseconds(8000));
    EXPECT_EQ(wait(503, {}, 4, 1), milliseconds(6000));
    EXPECT_FALSE(wait(503, {{"x-should-retry", "false"}}));
    EXPECT_EQ(wait(400, {{"x-should-retry", "true"}}), milliseconds(500));
    EXPECT_EQ(wait(429, {{"retry-after-ms", "120"}, {"retry-after", "5"}}), milliseconds(120));
    EXPECT_EQ(wait(429, {{"retry-after", "5"}}), milliseconds(5000));
    EXPECT_EQ(wait(429, {{"retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"}}), milliseconds(10'000));
    EXPECT_FALSE(wait(429, {{"retry-after", "3600"}})) << "the caller is told instead";
}

TEST(openai_errors, say_what_to_do_and_no_secret) {
    const auto now = std::chrono::system_clock::now();
    const settings s = some_settings();
    const auto e = [&](int status, std::string_view body, net::headers h = {}) { return status_of_answer(status, h, body, s, now); };
    const auto auth = e(401, R"({"error":{"message":"Incorrect API key provided: sk-sec***6789."}})");
    EXPECT_EQ(auth.code, HF_E_AUTH);
    EXPECT_NE(auth.message.find("api_key"), std::string::npos);
    EXPECT_EQ(auth.message.find("sk-"), std::string::npos);
    const auto limited = e(429, "{}", {{"retry-after", "120"}});
    EXPECT_EQ(limited.code, HF_E_RATE_LIMITED);
    EXPECT_EQ(limited.retry_after, milliseconds(120'000));
    EXPECT_TRUE(limited.retryable);
    EXPECT_FALSE(e(429, R"({"error":{"code":"insufficient_quota","message":"pay"}})").retryable);
    EXPECT_EQ(e(500, "<html>").code, HF_E_UNAVAILABLE);
    EXPECT_EQ(e(404, R"({"error":"no such model"})").message.find("no such model") == std::string::npos, false);
    EXPECT_EQ(e(400, R"({"error":{"message":"bad sk-secret-0123456789 and sk-proj-abcdefghij"}})").message.find("sk-"), std::string::npos);
    EXPECT_EQ(e(400, "").peer_status, 400);
}

TEST(openai_settings, names_what_is_wrong_but_no_secret) {
    EXPECT_EQ(some_settings().model, default_model);
    EXPECT_EQ(read_settings(R"({"base_url":"http://127.0.0.1:8080/v1/"})").base_url, "http://127.0.0.1:8080/v1");
    EXPECT_TRUE(read_settings(R"({"base_url":"http://localhost/v1"})").local);
    EXPECT_EQ(read_settings(R"({"base_url":"http://localhost/v1"})").model, "");
    for (const char* bad : {R"([])", R"({"base_url":"ftp://x"})", R"({"base_url":"http://u:p@x"})", R"({"api_key":"secret\n"})", R"({"headers":{"a b":"secret"}})",
                            R"({"headers":{"a":"secret\r\n"}})", R"({"max_retries":-1})", R"({"idle_timeout_s":"x"})", R"({"api_key":7})"}) {
        try {
            read_settings(bad);
            ADD_FAILURE() << bad;
        } catch (const sdk::plugin_error& e) {
            EXPECT_EQ(e.status().code, HF_E_INVALID);
            EXPECT_EQ(std::string(e.what()).find("secret"), std::string::npos);
        }
    }
    const settings own = read_settings(R"({"api_key":"k","headers":{"authorization":"Custom x"}})");
    ASSERT_EQ(own.headers.size(), 1u) << "the operator's header replaces ours";
}

}  // namespace
}  // namespace holdfast::llm_openai
