#pragma once
// A plugin's worker function and how it is run: the same in the host and in a runner.
#include "holdfast/ext/worker.h"
#include "kernel/supervise/worker_thread.hpp"

namespace holdfast::plugins::detail {

struct worker_body {
    std::uint32_t heartbeat_ms = 0;
    void* arg = nullptr;
    std::int32_t (*run)(void*, const hf_worker_ctl*, hf_error*) = nullptr;
    int wake_fd = -1;  ///< an eventfd, readable: somebody called wake(). Borrowed.
};

/// Runs it on this thread over these signals. What it throws comes through.
std::int32_t run_controlled(const worker_body& w, supervise::worker_signals& signals, std::uint32_t incarnation, hf_error* err);

}  // namespace holdfast::plugins::detail
