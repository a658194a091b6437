#pragma once
// What a proxy keeps for one worker, child process or subscription of its plugin. Private to the proxy.
#include <sys/eventfd.h>
#include <unistd.h>

#include "kernel/plugins/isolation/proxy.hpp"

namespace holdfast::plugins::isolation {

/// A worker: a thread here that stands for the one in the runner.
struct proxy::worker {
    proxy* who = nullptr;
    std::uint64_t number = 0;
    std::string name;
    std::uint32_t heartbeat_ms = 0, shutdown_ms = 0;
    const unique_fd ended_fd{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};  ///< readable: the incarnation is over
    std::atomic<std::int64_t> last_beat{0};                           ///< steady clock, nanoseconds

    std::mutex mutex;
    std::uint32_t incarnation = 0;  // under mutex, as the rest
    bool ended = true;
    bool lost = false;              ///< ended with its process
    std::int32_t rc = HF_OK;
    hf_error err{};

    void over(std::int32_t how, const hf_error& why, bool with_process = false) {
        std::lock_guard lock(mutex);
        lost |= with_process;
        if (std::exchange(ended, true)) return;
        rc = how;
        err = why;
        const std::uint64_t one = 1;
        (void)!write(ended_fd.get(), &one, sizeof one);
    }
};

struct proxy::process_sink {
    proxy* who = nullptr;
    std::uint64_t number = 0;  ///< the runner's
    std::uint64_t host_number = 0;
};

struct proxy::event_sink {
    proxy* who = nullptr;
    std::uint64_t number = 0;
    std::uint64_t host_number = 0;
};

}  // namespace holdfast::plugins::isolation
