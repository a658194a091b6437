#include <set>
#include <thread>

#include "contract_suite.hpp"
#include "holdfast/ext/llm.h"

namespace holdfast::testing::contract {
namespace {

constexpr char hello[] = R"({"messages":[{"role":"user","content":[{"type":"text","text":"Say hello in a few words."}]}],"tools":[]})";

struct active {
    std::unique_ptr<plugin_instance> instance;
    const hf_llm* llm = nullptr;
    explicit active(bench& b) : instance(b.up()) {
        if (instance) llm = instance->ext<hf_llm>(HF_EXT_LLM);
    }
    explicit operator bool() const { return llm != nullptr; }
    void submit(call_probe& p, std::string_view method, std::string_view request, milliseconds deadline = milliseconds(0)) const {
        p.submit(llm->submit, instance->self(), method, request, deadline);
    }
};

void expect_chat_result(const call_probe& p) {
    ASSERT_TRUE(p.outcome().ok()) << p.outcome().code << " " << p.outcome().message;
    const json r = json::parse(p.result(), nullptr, false);
    ASSERT_TRUE(r.is_object()) << p.result();
    const std::set<std::string> reasons{"end_turn", "tool_use", "max_tokens", "refusal", "other"};
    EXPECT_TRUE(r.value("model", json()).is_string());
    EXPECT_TRUE(reasons.count(r.value("stop_reason", ""))) << p.result();
    ASSERT_TRUE(r.value("content", json()).is_array());
    ASSERT_TRUE(r.value("usage", json()).is_object());
    EXPECT_TRUE(r["usage"].value("input_tokens", json()).is_number_integer());
    EXPECT_TRUE(r["usage"].value("output_tokens", json()).is_number_integer());
    std::string told, streamed;
    for (const auto& part : r["content"]) {
        if (part.value("type", "") == "text") told += part.at("text").get<std::string>();
        if (part.value("type", "") == "tool_use") {
            EXPECT_TRUE(part.at("input").is_object());
        }
    }
    for (const auto& text : p.chunks()) {
        const json c = json::parse(text, nullptr, false);
        ASSERT_TRUE(c.is_object()) << "a chunk that is not an object: " << text;
        const std::string type = c.value("type", "");
        EXPECT_TRUE(type == "text" || type == "reasoning" || type == "tool_use_start") << text;
        if (type == "text") streamed += c.at("text").get<std::string>();
    }
    EXPECT_EQ(streamed, told) << "the text chunks and the result's text differ";
}

void describe_says_what_it_is(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    call_probe p;
    a.submit(p, "describe", "{}");
    ASSERT_TRUE(p.wait());
    ASSERT_TRUE(p.outcome().ok()) << p.outcome().message;
    const json r = json::parse(p.result(), nullptr, false);
    ASSERT_TRUE(r.is_object()) << p.result();
    EXPECT_TRUE(r.value("model", json()).is_string());
    EXPECT_TRUE(r.value("available", json()).is_boolean());
    EXPECT_TRUE(r.value("local", json()).is_boolean());
    EXPECT_TRUE(r.value("demonstration", json()).is_boolean());
    if (!r.value("available", true)) {
        EXPECT_NE(r.value("reason", ""), "") << "unavailable without a reason";
    }
    expect_faultless(p, "describe");
}

void chat_streams_and_completes_once(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    call_probe p;
    a.submit(p, "chat", hello);
    ASSERT_TRUE(p.wait(milliseconds(20000)));
    if (b.at().answers)
        expect_chat_result(p);
    else
        EXPECT_FALSE(p.outcome().ok());
    expect_faultless(p, "chat");
}

void unknown_methods_are_unsupported(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    for (const char* method : {"", "sing", "chat "}) {
        call_probe p;
        a.submit(p, method, "{}");
        ASSERT_TRUE(p.wait());
        EXPECT_EQ(p.outcome().code, HF_E_UNSUPPORTED) << method;
        expect_faultless(p, method);
    }
}

void bad_requests_are_refused_once(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    const std::string deep = "{\"messages\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
    for (const std::string& request : {std::string(), std::string("{"), std::string("[]"), std::string("{\"messages\":7}"), std::string("\xff")}) {
        call_probe p;
        a.submit(p, "chat", request);
        ASSERT_TRUE(p.wait()) << request.substr(0, 40);
        EXPECT_EQ(p.outcome().code, HF_E_INVALID) << request.substr(0, 40) << ": " << p.outcome().message;
        expect_faultless(p, request.substr(0, 40));
    }
    call_probe p;  // whatever it makes of it, it must not run out of stack
    a.submit(p, "chat", deep);
    ASSERT_TRUE(p.wait());
    expect_faultless(p, "a deep request");
}

void cancel_ends_a_chat_soon(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    a.llm->cancel(a.instance->self(), 999'999'999);  // unknown: ignored
    for (int i = 0; i < 10; ++i) {
        call_probe p;
        a.submit(p, "chat", hello);
        a.llm->cancel(a.instance->self(), p.id());
        a.llm->cancel(a.instance->self(), p.id());
        ASSERT_TRUE(p.wait(milliseconds(5000))) << "cancelled, but not completed within 5 s";
        // It may have been faster than the cancellation.
        const auto code = p.outcome().code;
        EXPECT_TRUE(code == HF_E_CANCELLED || code == HF_OK || !b.at().answers) << code << " " << p.outcome().message;
        a.llm->cancel(a.instance->self(), p.id());  // finished: ignored
        expect_faultless(p, "cancelled chat");
    }
}

void chats_at_once_do_not_mix(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    constexpr int each = 4;
    std::vector<std::vector<call_probe>> probes;
    for (int t = 0; t < 4; ++t) probes.emplace_back(each);
    std::vector<std::thread> callers;
    for (auto& mine : probes)
        callers.emplace_back([&a, &mine] {
            for (auto& p : mine) a.submit(p, "chat", hello);
        });
    for (auto& t : callers) t.join();
    for (auto& mine : probes)
        for (auto& p : mine) {
            ASSERT_TRUE(p.wait(milliseconds(30000)));
            // A bounded queue may refuse some; what is accepted is answered whole.
            if (b.at().answers && p.outcome().code != HF_E_OVERLOADED) expect_chat_result(p);
            expect_faultless(p, "one of 16 chats");
        }
}

void stop_completes_what_is_pending(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    std::vector<call_probe> probes(8);
    for (auto& p : probes) a.submit(p, "chat", hello);
    EXPECT_TRUE(a.instance->quiesce(milliseconds(0)).ok());
    EXPECT_TRUE(a.instance->stop().ok());
    for (auto& p : probes) {
        EXPECT_TRUE(p.finished()) << "stop returned with a call pending";
        expect_faultless(p, "call at stop");
    }
    a.instance->down();
    for (auto& p : probes) expect_faultless(p, "call after destroy");
}

}  // namespace

const std::vector<test>& llm_tests() {
    static const std::vector<test> all{
        {"describe_says_what_it_is", &describe_says_what_it_is},
        {"chat_streams_and_completes_once", &chat_streams_and_completes_once},
        {"unknown_methods_are_unsupported", &unknown_methods_are_unsupported},
        {"bad_requests_are_refused_once", &bad_requests_are_refused_once},
        {"cancel_ends_a_chat_soon", &cancel_ends_a_chat_soon},
        {"chats_at_once_do_not_mix", &chats_at_once_do_not_mix},
        {"stop_completes_what_is_pending", &stop_completes_what_is_pending},
        {"a_newer_caller_is_fine", &a_newer_caller_is_fine},
        {"requests_are_not_kept", &requests_are_not_kept},
        {"deadlines_are_honoured", &deadlines_are_honoured},
        {"cancels_race_with_completions", &cancels_race_with_completions},
        {"unknown_cancels_are_ignored", &unknown_cancels_are_ignored},
        {"calls_after_stop_are_not_kept", &calls_after_stop_are_not_kept},
    };
    return all;
}

}  // namespace holdfast::testing::contract
