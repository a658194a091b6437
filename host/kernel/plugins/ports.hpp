#pragma once
// How the rest of the host reaches an interface of a plugin: through a port that is resolved anew for every use, so that a
// restarted or replaced plugin is simply the next answer. No pointer into a plugin is ever stored beyond a use.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"

namespace holdfast::plugins {

/// A plugin interface in use. Owner: whoever resolved it, for the duration of one use (or one connection).
template <class Table>
struct bound {
    const Table* table = nullptr;
    void* self = nullptr;
    std::shared_ptr<const void> lease;  ///< second owner: keeps this generation of the plugin loaded and un-destroyed
};

/// Answers which generation serves now. Errors: unavailable (not active, restarting, quarantined), not_found. [any thread]
template <class Table>
using resolver = std::function<result<bound<Table>>()>;

/// An asynchronous interface of the hf_call shape (hf.llm/1, hf.store/1) as the host sees it. [any thread]
class call_port {
  public:
    using on_chunk = std::function<void(const json& chunk)>;
    using on_done = unique_function<void(result<json>)>;

    virtual ~call_port() = default;
    /// Exactly one on_done, on any thread, perhaps before submit returns; chunks before it, one at a time. A crash or stop of
    /// the plugin completes it with plugin_failed, the deadline with timeout; later answers are dropped.
    /// timeout 0 = none. Returns an id for cancel().
    virtual std::uint64_t submit(std::string method, json request, milliseconds timeout, on_chunk chunk, on_done done) = 0;
    virtual void cancel(std::uint64_t id) = 0;
};

}  // namespace holdfast::plugins
