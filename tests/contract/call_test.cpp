// call: exactly one completion, whatever the plugin does with the object.
#include "holdfast/call_table.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>

#include "holdfast/testing/loader.hpp"

namespace {

using namespace holdfast::sdk;
using holdfast::testing::call_probe;

// A service whose submit does what the test says.
struct service {
    detail::call_table table;
    std::function<void(call)> body;
    static std::int32_t submit(void* self, const hf_call* raw, hf_error* err) {
        auto& me = *static_cast<service*>(self);
        return me.table.submit(raw, err, [&me](call c) { me.body(std::move(c)); });
    }
};

class calls : public ::testing::Test {
  protected:
    service s_;
    call_probe p_;
    void submit(std::function<void(call)> body) {
        s_.body = std::move(body);
        p_.submit(&service::submit, &s_, "method", "request");
    }
    void TearDown() override {
        for (const auto& f : p_.faults()) ADD_FAILURE() << f;
    }
};

TEST_F(calls, done_inside_submit_completes) {
    submit([](call c) {
        EXPECT_EQ(c.method(), "method");
        EXPECT_EQ(c.request(), "request");
        c.chunk("1");
        c.done("2");
        EXPECT_TRUE(c.finished());
        c.chunk("too late");
        c.done("too late");
    });
    ASSERT_TRUE(p_.finished());
    EXPECT_TRUE(p_.outcome().ok());
    EXPECT_EQ(p_.result(), "2");
    EXPECT_EQ(p_.chunks(), std::vector<std::string>{"1"});
    EXPECT_EQ(p_.completions(), 1);
}

TEST_F(calls, dropped_inside_submit_fails_with_internal) {
    submit([](call) {});
    ASSERT_TRUE(p_.finished());
    EXPECT_EQ(p_.outcome().code, HF_E_INTERNAL);
    EXPECT_EQ(p_.completions(), 1);
}

TEST_F(calls, an_exception_inside_submit_is_the_answer) {
    submit([](call) { throw std::runtime_error("the reason"); });
    ASSERT_TRUE(p_.finished());
    EXPECT_EQ(p_.outcome().code, HF_E_INTERNAL);
    EXPECT_EQ(p_.outcome().message, "the reason");
    EXPECT_EQ(p_.completions(), 0) << "refused by submit itself";
}

TEST_F(calls, a_plugin_error_keeps_its_code) {
    submit([](call) { throw plugin_error({HF_E_RATE_LIMITED, "later", true, 429, std::chrono::milliseconds(1500)}); });
    const auto o = p_.outcome();
    EXPECT_EQ(o.code, HF_E_RATE_LIMITED);
    EXPECT_EQ(o.peer_status, 429);
    EXPECT_EQ(o.retry_after.count(), 1500);
    EXPECT_TRUE(o.retryable);
}

TEST_F(calls, done_and_then_an_exception_is_done) {
    submit([](call c) {
        c.done("{}");
        throw std::runtime_error("after the fact");
    });
    EXPECT_TRUE(p_.outcome().ok());
    EXPECT_EQ(p_.completions(), 1);
}

TEST_F(calls, kept_and_dropped_later_fails_with_internal) {
    call kept;
    submit([&kept](call c) { kept = std::move(c); });
    EXPECT_FALSE(p_.finished());
    kept = call();
    ASSERT_TRUE(p_.finished());
    EXPECT_EQ(p_.outcome().code, HF_E_INTERNAL);
}

TEST_F(calls, kept_and_an_exception_stays_with_its_keeper) {
    call kept;
    submit([&kept](call c) {
        kept = std::move(c);
        throw std::runtime_error("x");
    });
    EXPECT_FALSE(p_.finished());
    kept.done("{}");
    EXPECT_TRUE(p_.outcome().ok());
    EXPECT_EQ(p_.completions(), 1);
}

TEST_F(calls, completed_on_another_thread_during_submit) {
    submit([](call c) { std::thread([c = std::move(c)]() mutable { c.done("{}"); }).join(); });
    EXPECT_TRUE(p_.outcome().ok());
    EXPECT_EQ(p_.completions(), 1);
}

TEST_F(calls, cancel_reaches_the_keeper_and_only_it) {
    call kept;
    submit([&kept](call c) { kept = std::move(c); });
    EXPECT_FALSE(s_.table.cancel(p_.id() + 1));
    EXPECT_FALSE(kept.cancelled());
    EXPECT_TRUE(s_.table.cancel(p_.id()));
    EXPECT_TRUE(kept.cancelled());
    kept.fail(HF_E_CANCELLED, "cancelled");
    EXPECT_EQ(p_.outcome().code, HF_E_CANCELLED);
    EXPECT_FALSE(s_.table.cancel(p_.id())) << "finished calls are unknown";
}

TEST(call, races_between_submit_and_keeper_complete_once) {
    for (int i = 0; i < 2000; ++i) {
        service s;
        std::thread other;
        s.body = [&other, i](call c) {
            other = std::thread([c = std::move(c), i]() mutable {
                if (i % 2) c.done("{}");
            });
        };
        call_probe p;
        p.submit(&service::submit, &s, "m", "r");
        other.join();
        ASSERT_TRUE(p.finished());
        ASSERT_EQ(p.completions(), 1);
        ASSERT_EQ(p.outcome().code, i % 2 ? HF_OK : HF_E_INTERNAL);
    }
}

TEST(call, a_failure_cannot_be_a_success) {
    service s;
    s.body = [](call c) { c.fail(HF_OK, "?"); };
    call_probe p;
    p.submit(&service::submit, &s, "m", "r");
    EXPECT_EQ(p.outcome().code, HF_E_INTERNAL);
}

TEST(call_table, forgets_finished_calls) {
    service s;
    s.body = [](call c) { c.done("{}"); };
    for (int i = 0; i < 10'000; ++i) {
        call_probe p;
        p.submit(&service::submit, &s, "m", "r");
    }
    EXPECT_LE(s.table.size(), 128u);
}

TEST(status, long_messages_are_cut_at_a_character) {
    hf_error e = empty_error();
    std::string text(HF_ERROR_MESSAGE_SIZE - 2, 'a');
    fill(&e, HF_E_IO, text + "ü");
    EXPECT_EQ(from_error(&e).message, text);
    EXPECT_EQ(fill(nullptr, HF_E_IO, "no room for an error is no crash"), HF_E_IO);
    hf_error small{};
    small.size = 8;
    fill(&small, HF_E_IO, "x");
    EXPECT_EQ(small.code, 0) << "a struct too small is left alone";
}

}  // namespace
