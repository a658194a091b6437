#pragma once
// Internal. Lets callbacks in until closed; closing waits for those inside (rule E4).
#include <atomic>
#include <cstdint>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"  // a pass lies on the stack and unlinks itself
#endif

namespace holdfast::events {

/// [any thread] Whoever enters must keep the gate alive until it has left.
class callback_gate {
  public:
    /// RAII: true when the callback may run.
    class pass {
      public:
        explicit pass(callback_gate& g) noexcept : gate_(g), outer_(top_), admitted_(g.enter()) {
            if (admitted_) top_ = this;  // undone by the destructor
        }
        ~pass() {
            if (!admitted_) return;
            top_ = outer_;
            gate_.leave();
        }
        pass(const pass&) = delete;
        pass& operator=(const pass&) = delete;
        explicit operator bool() const noexcept { return admitted_; }

      private:
        friend class callback_gate;
        callback_gate& gate_;
        pass* outer_;
        bool admitted_;
        static inline thread_local pass* top_ = nullptr;  // the callbacks this thread is inside of, innermost first
    };

    /// Afterwards nobody enters, and nobody is inside but callers of this very thread.
    void close() noexcept {
        std::uint32_t mine = 0;
        for (const pass* p = pass::top_; p; p = p->outer_) mine += &p->gate_ == this;
        std::uint32_t now = state_.fetch_or(closed_bit) | closed_bit;
        while ((now & ~closed_bit) > mine) {
            state_.wait(now);
            now = state_.load();
        }
    }
    bool closed() const noexcept { return (state_.load() & closed_bit) != 0; }

  private:
    static constexpr std::uint32_t closed_bit = 1u << 31;
    bool enter() noexcept {
        if ((state_.fetch_add(1) & closed_bit) == 0) return true;
        leave();
        return false;
    }
    void leave() noexcept {
        if (state_.fetch_sub(1) & closed_bit) state_.notify_all();
    }
    std::atomic<std::uint32_t> state_{0};  // closed bit + number of callbacks inside
};

}  // namespace holdfast::events

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
