#pragma once
// The timers of a runtime, ordered by deadline. Private to runtime.cpp, pool_runtime.cpp, manual_runtime.cpp.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "kernel/supervise/runtime.hpp"

namespace holdfast::supervise::detail {

/// Whoever moves `phase` away from pending owns the callback: the pool thread that fires it, or the one that cancels.
struct timer_state final : runnable {
    enum phase_value : int { pending, fired, cancelled };
    std::atomic<int> phase{pending};
    task callback;
    steady_time at{};
    std::uint64_t order = 0;            // same deadline: first armed, first fired
    std::shared_ptr<timer_state> self;  // set while it is in the run queue

    void run_turn() override {
        const auto keep = std::move(self);
        int expected = pending;
        if (!phase.compare_exchange_strong(expected, fired)) return;
        task f = std::move(callback);
        f();  // the pool catches and counts what escapes
    }
    void drop() noexcept override {
        const auto keep = std::move(self);
        cancel();
    }
    void cancel() noexcept {
        int expected = pending;
        if (phase.compare_exchange_strong(expected, cancelled)) callback.reset();
    }
};

/// Owner: its runtime, under the runtime's timer mutex.
class timer_heap {
  public:
    /// true: it is now the earliest.
    bool push(std::shared_ptr<timer_state> t) {
        t->order = ++order_;
        if (heap_.size() >= sweep_at_) sweep();
        heap_.push_back(std::move(t));
        std::push_heap(heap_.begin(), heap_.end(), later);
        return heap_.front()->order == order_;
    }
    bool empty() const { return heap_.empty(); }
    steady_time earliest() const { return heap_.front()->at; }
    /// The earliest timer due at `now`; null when none is. Cancelled ones are skipped.
    std::shared_ptr<timer_state> pop_due(steady_time now) {
        drop_cancelled_front();
        if (heap_.empty() || heap_.front()->at > now) return nullptr;
        return pop();
    }
    void drop_cancelled_front() {
        while (!heap_.empty() && heap_.front()->phase.load() == timer_state::cancelled) pop();
    }
    std::vector<std::shared_ptr<timer_state>> take_all() { return std::exchange(heap_, {}); }
    std::size_t pending() const {
        return static_cast<std::size_t>(std::count_if(heap_.begin(), heap_.end(), [](const auto& t) {
            return t->phase.load(std::memory_order_relaxed) == timer_state::pending;
        }));
    }

  private:
    static bool later(const std::shared_ptr<timer_state>& a, const std::shared_ptr<timer_state>& b) {
        return a->at != b->at ? a->at > b->at : a->order > b->order;
    }
    std::shared_ptr<timer_state> pop() {
        std::pop_heap(heap_.begin(), heap_.end(), later);
        auto t = std::move(heap_.back());
        heap_.pop_back();
        return t;
    }
    void sweep() {  // cancelled timers may be most of the heap: amortised constant cost per push
        std::erase_if(heap_, [](const auto& t) { return t->phase.load() != timer_state::pending; });
        std::make_heap(heap_.begin(), heap_.end(), later);
        sweep_at_ = std::max<std::size_t>(64, heap_.size() * 2);
    }
    std::vector<std::shared_ptr<timer_state>> heap_;
    std::uint64_t order_ = 0;
    std::size_t sweep_at_ = 64;
};

struct posted_task final : runnable {
    explicit posted_task(task f) : callback(std::move(f)) {}
    task callback;
    void run_turn() override {
        const std::unique_ptr<posted_task> self(this);
        callback();
    }
    void drop() noexcept override { delete this; }
};

/// One watched descriptor. Its runtime's poller sets `ready`; the callback runs once per arm and never beside itself.
struct watch_state final : runnable, std::enable_shared_from_this<watch_state> {
    /// How the state talks to its runtime. Implemented by both runtimes' impl.
    struct poller {
        virtual ~poller() = default;
        virtual bool arm(watch_state& w, std::uint32_t interest) = 0;  // with w.mutex held
        virtual void remove(watch_state& w) = 0;                       // with w.mutex held
        virtual bool enqueue_watch(runnable* item, dispatch where) = 0;
    };
    std::mutex mutex;
    std::weak_ptr<poller> owner;
    int fd = -1;
    std::uint64_t id = 0;
    std::uint32_t interest = 0;  // armed for; 0 while disarmed
    std::uint32_t ready = 0;     // seen and not delivered yet
    bool active = false;         // queued or running
    bool cancelled = false;
    dispatch where = dispatch::pool;
    unique_function<void(std::uint32_t)> callback;
    std::shared_ptr<watch_state> self;  // set while it is in the run queue

    void on_ready(std::uint32_t events);  // [poller's thread]
    void run_turn() override;
    void drop() noexcept override;
    void cancel() noexcept;
    bool rearm(std::uint32_t wanted) noexcept;
};

}  // namespace holdfast::supervise::detail
