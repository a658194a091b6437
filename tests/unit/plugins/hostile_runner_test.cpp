// A runner that breaks the rules on purpose: what the fuzz target runner has found, one test each.
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

#include <future>

#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/llm.h"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/isolation/proxy.hpp"

using namespace holdfast;
using namespace holdfast::plugins;
using namespace holdfast::plugins::isolation;

namespace {

constexpr auto patience = seconds(20);
constexpr auto moment = milliseconds(50);  ///< for what must not happen

std::string reply(std::int32_t rc, std::uint64_t told = 0) {
    frame_writer f(kind::reply);
    f.put(told).put(rc);
    if (rc < 0) f.fault(empty_hf_error());
    return f.bytes();
}

class hostile_runner : public testing::Test {
  protected:
    void SetUp() override {
        proxy_options o;
        o.id = "hostile";
        o.log = [](int, std::string, json) {};
        o.crashed = [](std::string) {};
        proxy::lines ours;
        const std::pair<unique_fd*, unique_fd*> all[] = {{&ours.control, &control}, {&ours.calls, &calls}, {&ours.tells, &tells}, {&ours.services, &services}};
        for (auto [host, mine] : all) {
            auto made = socket_pair();
            ASSERT_TRUE(made);
            *host = std::move(made->first);
            *mine = std::move(made->second);
        }
        apart = proxy::create(std::move(o));
        apart->attach(std::move(ours));
        say(control, shape());
        hf_error err = empty_hf_error();
        ASSERT_EQ(apart->make(&host, as_bytes("{}"), &instance, &err), HF_OK);
    }
    void TearDown() override {
        for (auto* l : {&control, &calls, &tells, &services}) l->reset();
        apart->end();
    }
    static void say(const unique_fd& line, const std::string& frame) { ASSERT_EQ(send_frame(line.get(), frame, 0), sent::yes); }
    static void say(const unique_fd& line, const frame_writer& f) { say(line, f.bytes()); }
    static void hear(const unique_fd& line) {
        frame f;
        ASSERT_EQ(receive(line.get(), f, 0), received::one);
    }
    static frame_writer shape() {
        frame_writer f(kind::reply);
        f.put(std::uint64_t(0)).put(std::int32_t(HF_OK)).shape({sizeof(hf_instance), ~std::uint64_t(0)});
        return f;
    }
    template <class Table>
    const Table& table(const char* id) {
        say(control, shape());
        return *static_cast<const Table*>(instance->get_ext(instance->self, {id, std::strlen(id)}));
    }
    /// The host has taken what was said.
    static void taken(const unique_fd& line) {
        int unread = 1;
        while (ioctl(line.get(), SIOCOUTQ, &unread) == 0 && unread > 0) std::this_thread::yield();
    }

    unique_fd control, calls, tells, services;
    std::shared_ptr<proxy> apart;
    const hf_instance* instance = nullptr;
    const hf_host host{sizeof(hf_host), HF_ABI_VERSION, nullptr, nullptr, {"", 0}, [](void*, hf_str) -> const void* { return nullptr; }};
};

struct heard {
    std::promise<void> entered, may_leave;
    std::atomic<bool> returned{false}, returned_too_early{false};
    std::atomic<int> messages{0}, ends{0};
};

hf_transport_sink sink_of(heard& h) {
    return {sizeof(hf_transport_sink), 0, &h, nullptr, [](void* c, hf_bytes) { ++static_cast<heard*>(c)->messages; }, nullptr, nullptr,
            [](void* c, const hf_error*) { ++static_cast<heard*>(c)->ends; }};
}

}  // namespace

TEST_F(hostile_runner, a_connection_opened_with_an_odd_result_is_not_open) {
    const auto& t = table<hf_transport>(HF_EXT_TRANSPORT);
    heard h;
    const auto sink = sink_of(h);
    hf_error err = empty_hf_error();
    say(calls, reply(1));
    EXPECT_EQ(t.open(instance->self, 5, as_bytes("{}"), &sink, &err), 1);  // for the host a failure: nothing may follow
    say(tells, frame_writer(kind::conn_message).put(std::uint64_t(5)).text(std::string_view("{}")));
    tells.reset();
    instance->destroy(instance->self);
    EXPECT_EQ(h.messages, 0);
    EXPECT_EQ(h.ends, 0);
}

TEST_F(hostile_runner, nothing_is_said_of_a_connection_any_more_once_opening_it_has_failed) {
    const auto& t = table<hf_transport>(HF_EXT_TRANSPORT);
    heard h;
    auto sink = sink_of(h);
    sink.on_message = [](void* c, hf_bytes) {
        auto& me = *static_cast<heard*>(c);
        me.entered.set_value();
        me.may_leave.get_future().wait();
        const auto until = std::chrono::steady_clock::now() + moment;
        while (!me.returned && std::chrono::steady_clock::now() < until) std::this_thread::yield();
        me.returned_too_early = me.returned.load();
    };
    std::thread runner([&] {
        hear(calls);
        say(tells, frame_writer(kind::conn_message).put(std::uint64_t(5)).text(std::string_view("{}")));
        EXPECT_EQ(h.entered.get_future().wait_for(patience), std::future_status::ready);
        say(calls, reply(HF_E_IO));  // "nothing was told before this"
        taken(calls);
        h.may_leave.set_value();
    });
    hf_error err = empty_hf_error();
    EXPECT_EQ(t.open(instance->self, 5, as_bytes("{}"), &sink, &err), HF_E_IO);
    h.returned = true;
    runner.join();
    tells.reset();
    instance->destroy(instance->self);
    EXPECT_FALSE(h.returned_too_early) << "a callback ran on";
    EXPECT_EQ(h.ends, 0);
}

TEST_F(hostile_runner, a_call_that_was_completed_is_not_failed_by_an_exception_as_well) {
    const auto& t = table<hf_llm>(HF_EXT_LLM);
    heard h;
    hf_call c{sizeof(hf_call), 0, 7, 0, {"chat", 4}, as_bytes("{}"), &h, nullptr, [](void* ctx, std::uint64_t, const hf_error*, hf_bytes) {
                  ++static_cast<heard*>(ctx)->ends;
                  static_cast<heard*>(ctx)->entered.set_value();
              }};
    std::thread runner([&] {
        hear(calls);
        say(tells, frame_writer(kind::call_done).put(std::uint64_t(7)).put(std::uint8_t(0)).text(std::string_view("{}")));
        EXPECT_EQ(h.entered.get_future().wait_for(patience), std::future_status::ready);
        say(calls, frame_writer(kind::threw).put(std::uint64_t(0)).text(std::string_view("and yet")));
    });
    hf_error err = empty_hf_error();
    EXPECT_NO_THROW(EXPECT_EQ(t.submit(instance->self, &c, &err), HF_PENDING));
    runner.join();
    EXPECT_EQ(h.ends, 1);
}

TEST_F(hostile_runner, times_are_near_enough_to_calculate_with) {
    constexpr std::int64_t now = 5'000'000'000;
    say(calls, frame_writer(kind::reply).put(std::uint64_t(0)).put(std::int32_t(HF_OK)).put(std::int32_t(0)).put(std::uint64_t(1)).put(INT64_MAX));
    hf_permit permit{};
    permit.size = sizeof permit;
    table<hf_breaker>(HF_EXT_BREAKER).permit(instance->self, nullptr, now, &permit);
    EXPECT_EQ(permit.retry_after_ns, longest_ns);
    hear(calls);

    const auto verdict_of = [&](std::int64_t next, std::int64_t timeout) {
        say(calls, frame_writer(kind::reply).put(std::uint64_t(0)).put(std::int32_t(HF_OK)).put(std::int32_t(HF_HEALTH_UP)).put(0.5).put(next).put(timeout).text(std::string_view("fine")));
        hf_health_verdict v{};
        v.size = sizeof v;
        table<hf_health>(HF_EXT_HEALTH).verdict(instance->self, nullptr, now, &v);
        return v;
    };
    EXPECT_EQ(verdict_of(INT64_MAX, INT64_MAX).next_check_ns, now + longest_ns);
    EXPECT_EQ(verdict_of(INT64_MAX, INT64_MAX).probe_timeout_ns, longest_ns);
    EXPECT_EQ(verdict_of(INT64_MIN, INT64_MIN).next_check_ns, now);
    EXPECT_EQ(verdict_of(INT64_MIN, INT64_MIN).probe_timeout_ns, 1'000'000);
    EXPECT_EQ(verdict_of(now + 7, 2'000'000).next_check_ns, now + 7);
}

TEST(caller, does_not_wait_longer_than_its_deadline_for_a_peer_that_answers_without_reading) {
    auto pair = socket_pair();
    ASSERT_TRUE(pair);
    caller c(std::move(pair->first));
    frame_writer question(kind::submit);
    question.text(std::string(30'000, 'q'));
    const auto answer = reply(HF_OK);
    for (int n = 0; n < 10'000; ++n) {
        ASSERT_EQ(send_frame(pair->second.get(), answer, MSG_DONTWAIT), sent::yes);
        const auto r = c.ask(question, std::chrono::steady_clock::now() + moment);
        if (r) continue;
        EXPECT_EQ(r.error().code, errc::timeout);
        return;
    }
    FAIL() << "the socket takes everything";
}

TEST(frame_reader, a_text_that_is_not_there_is_empty_and_can_be_copied) {
    frame_reader in(std::string_view("\x01\x00", 2));
    for (int i = 0; i < 2; ++i) {
        const auto text = in.text();
        EXPECT_NE(text.data(), nullptr);
        EXPECT_TRUE(text.empty());
    }
    EXPECT_FALSE(in.ok());
    EXPECT_EQ(in.fault().message[0], '\0');
}
