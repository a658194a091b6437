#pragma once
// The calls under way, so that cancel(id) reaches them.
#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "holdfast/call.hpp"

namespace holdfast::sdk::detail {

/// Holds weak references only: a call leaves by itself when it is finished. [any]
class call_table {
  public:
    template <class F>
    std::int32_t submit(const hf_call* raw, hf_error* err, F&& f) noexcept {
        std::shared_ptr<call_state> state;
        const std::int32_t made = guard(err, [&] {
            state = std::make_shared<call_state>(read_struct(raw));
            std::lock_guard lock(mutex_);
            if (calls_.size() >= sweep_at_) sweep();
            calls_[raw->id] = state;
        });
        return made < 0 ? made : detail::submit(state, err, std::forward<F>(f));
    }
    /// False for ids that are unknown or finished.
    bool cancel(std::uint64_t id) noexcept {
        std::shared_ptr<call_state> state;
        {
            std::lock_guard lock(mutex_);
            const auto it = calls_.find(id);
            if (it == calls_.end()) return false;
            state = it->second.lock();
        }
        if (!state || state->is_finished()) return false;
        state->cancelled.store(true, std::memory_order_release);
        return true;
    }

    /// How many calls are remembered, some of them perhaps finished.
    std::size_t size() const {
        std::lock_guard lock(mutex_);
        return calls_.size();
    }

  private:
    // Removes the finished ones. The next sweep waits until the table doubled: constant cost per call.
    void sweep() {
        std::erase_if(calls_, [](const auto& c) { return c.second.expired(); });
        sweep_at_ = std::max<std::size_t>(minimum_sweep, calls_.size() * 2);
    }
    static constexpr std::size_t minimum_sweep = 64;
    mutable std::mutex mutex_;
    std::size_t sweep_at_ = minimum_sweep;
    std::unordered_map<std::uint64_t, std::weak_ptr<call_state>> calls_;
};

}  // namespace holdfast::sdk::detail
