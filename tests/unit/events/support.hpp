#pragma once
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "kernel/events/bus.hpp"

namespace holdfast::events::testing {

using kind = notice::kind;
using reason = notice::reason;

/// A small integer as payload: what most tests publish.
struct number {
    int value;
    void append_fields(std::string& out) const { out += "\"value\":" + std::to_string(value); }
    std::size_t bytes() const { return 0; }
};

inline void publish_numbers(bus& b, std::string_view topic, int from, int to) {
    for (int i = from; i <= to; ++i) b.publish(topic, "number", number{i});
}

inline std::string describe(const item& i) {
    if (i.ev) return std::to_string(i.ev->seq());
    std::string s = std::string(to_string(i.note->what)) + "(" + std::string(to_string(i.note->why));
    s += " " + std::to_string(i.note->from);
    if (i.note->what == kind::gap) s += "-" + std::to_string(i.note->to);
    return s + ")";
}

/// "1 2 gap(overrun 3-5) 6"
inline std::string drain(subscription& s, std::size_t max = 100'000) {
    std::string out;
    for (const item& i : s.poll(max)) out += (out.empty() ? "" : " ") + describe(i);
    return out;
}

/// An executor whose closures run when the test says so.
class manual_executor {
  public:
    executor_post post() {
        return [this](unique_function<void()> f) {
            const std::lock_guard lock(m_);
            queue_.push_back(std::move(f));
        };
    }
    std::size_t run_all() {
        std::size_t n = 0;
        for (;; ++n) {
            unique_function<void()> f;
            {
                const std::lock_guard lock(m_);
                if (queue_.empty()) return n;
                f = std::move(queue_.front());
                queue_.pop_front();
            }
            f();
        }
    }

  private:
    std::mutex m_;
    std::deque<unique_function<void()>> queue_;
};

/// One thread that runs closures in order.
class thread_executor {
  public:
    thread_executor() : thread_([this] { work(); }) {}
    ~thread_executor() {
        {
            const std::lock_guard lock(m_);
            stop_ = true;
        }
        cv_.notify_all();
        thread_.join();
    }
    executor_post post() {
        return [this](unique_function<void()> f) {
            const std::lock_guard lock(m_);
            queue_.push_back(std::move(f));
            cv_.notify_one();
        };
    }

  private:
    void work() {
        for (;;) {
            unique_function<void()> f;
            {
                std::unique_lock lock(m_);
                cv_.wait(lock, [this] { return stop_ || !queue_.empty(); });
                if (queue_.empty()) return;
                f = std::move(queue_.front());
                queue_.pop_front();
            }
            f();
        }
    }
    std::mutex m_;
    std::condition_variable cv_;
    std::deque<unique_function<void()>> queue_;
    bool stop_ = false;
    std::thread thread_;
};

/// A flag to wait for, with a deadline.
class wait_flag {
  public:
    void set() {
        const std::lock_guard lock(m_);
        ++count_;
        cv_.notify_all();
    }
    bool wait(int count = 1, seconds deadline = seconds(60)) {
        std::unique_lock lock(m_);
        return cv_.wait_for(lock, deadline, [&] { return count_ >= count; });
    }
    int count() {
        const std::lock_guard lock(m_);
        return count_;
    }

  private:
    std::mutex m_;
    std::condition_variable cv_;
    int count_ = 0;
};

}  // namespace holdfast::events::testing
