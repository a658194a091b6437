#pragma once
// Bounds how many servers move to a new generation of their transport at once: each of them starts a process. [any thread]
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

#include "kernel/core/unique_function.hpp"

namespace holdfast::servers {

inline constexpr std::size_t max_moves = 32;  ///< at once, in the whole host

class move_gate {
  public:
    struct give_back {
        void operator()(move_gate* g) const noexcept { g->release(); }
    };
    using permit = std::unique_ptr<move_gate, give_back>;  ///< must not outlive the gate
    using granted = unique_function<void(permit)>;

    /// Calls `g` with a permit: before it returns, or in turn, on the thread of whoever gave one back. `g` only hands it on.
    void ask(granted g);

  private:
    void release() noexcept;
    void serve(std::unique_lock<std::mutex> lock) noexcept;

    std::mutex mutex_;  // leaf: everything below
    std::size_t free_ = max_moves;
    bool serving_ = false;  // a permit that comes back at once (its server has ended) must not recurse
    std::deque<granted> waiting_;  // bounded by the number of servers: each asks once
};

}  // namespace holdfast::servers
