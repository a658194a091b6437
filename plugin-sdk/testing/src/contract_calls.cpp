// What every interface with submit and cancel must do, whatever its methods mean (llm, store).
#include <thread>

#include "contract_suite.hpp"
#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"

namespace holdfast::testing::contract {

namespace {
struct surface {
    std::unique_ptr<plugin_instance> instance;
    call_probe::submit_function submit = nullptr;
    void (*cancel)(void*, std::uint64_t) = nullptr;
    const char* method = "";
    const char* request = "{}";

    explicit surface(bench& b) : instance(b.up()) {
        if (!instance) return;
        if (const auto* llm = instance->ext<hf_llm>(HF_EXT_LLM)) {
            submit = llm->submit, cancel = llm->cancel, method = "chat";
            request = R"({"messages":[{"role":"user","content":[{"type":"text","text":"Say hello in a few words."}]}],"tools":[]})";
        } else if (const auto* store = instance->ext<hf_store>(HF_EXT_STORE)) {
            submit = store->submit, cancel = store->cancel, method = "status";
        }
    }
    explicit operator bool() const { return submit != nullptr; }
    void call(call_probe& p, milliseconds deadline = milliseconds(0)) const { p.submit(submit, instance->self(), method, request, deadline); }
};
}  // namespace

void a_newer_caller_is_fine(bench& b) {
    const surface s(b);
    ASSERT_TRUE(s);
    call_probe p;
    p.be_newer();
    s.call(p);
    ASSERT_TRUE(p.wait(milliseconds(20000)));
    EXPECT_TRUE(p.outcome().ok() || !b.at().answers) << p.outcome().message;
    expect_faultless(p, s.method);
}

void requests_are_not_kept(bench& b) {
    const surface s(b);
    ASSERT_TRUE(s);
    call_probe p;
    p.take_back();  // method and request cannot be read once submit has returned
    s.call(p);
    ASSERT_TRUE(p.wait(milliseconds(20000)));
    EXPECT_TRUE(p.outcome().ok() || !b.at().answers) << p.outcome().message;
    expect_faultless(p, s.method);
}

void deadlines_are_honoured(bench& b) {
    const surface s(b);
    ASSERT_TRUE(s);
    std::vector<call_probe> probes(4);
    for (auto& p : probes) s.call(p, milliseconds(1));
    for (auto& p : probes) {
        ASSERT_TRUE(p.wait(milliseconds(5000))) << "not completed 5 s after its deadline";
        const auto code = p.outcome().code;
        EXPECT_TRUE(code == HF_OK || code == HF_E_TIMEOUT || code == HF_E_OVERLOADED || code == HF_E_CANCELLED || !b.at().answers)
            << code << " " << p.outcome().message;
        expect_faultless(p, "a call with a deadline of 1 ms");
    }
}

void cancels_race_with_completions(bench& b) {
    const surface s(b);
    ASSERT_TRUE(s);
    constexpr int rounds = 25;
    for (int i = 0; i < rounds; ++i) {
        call_probe p;
        std::atomic<bool> go{false};
        const std::uint64_t id = p.id();
        std::thread other([&] {
            while (!go.load(std::memory_order_acquire)) std::this_thread::yield();
            for (int k = 0; k < 3; ++k) s.cancel(s.instance->self(), id);
        });
        go.store(true, std::memory_order_release);
        s.call(p);
        s.cancel(s.instance->self(), id);
        other.join();
        ASSERT_TRUE(p.wait(milliseconds(10000))) << "a cancelled call was never completed";
        expect_faultless(p, "a call cancelled from two threads");
    }
}

void unknown_cancels_are_ignored(bench& b) {
    const surface s(b);
    ASSERT_TRUE(s);
    for (const std::uint64_t id : {std::uint64_t{0}, std::uint64_t{1} << 63, ~std::uint64_t{0}, std::uint64_t{123456789}})
        s.cancel(s.instance->self(), id);
    call_probe p;
    s.call(p);
    ASSERT_TRUE(p.wait(milliseconds(20000)));
    EXPECT_TRUE(p.outcome().ok() || !b.at().answers) << p.outcome().message;
}

void calls_after_stop_are_not_kept(bench& b) {
    const surface s(b);
    ASSERT_TRUE(s);
    s.instance->quiesce();
    s.instance->stop();
    call_probe p;
    s.call(p);
    // It may still know the answer; it must not keep the call for a worker that is gone.
    EXPECT_TRUE(p.wait(milliseconds(2000))) << "a call after stop was accepted and never completed";
    s.instance->down();
    expect_faultless(p, "a call after stop");
}

}  // namespace holdfast::testing::contract
