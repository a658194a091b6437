#pragma once
// What the host lends to plugins: sinks and handlers that app provides, and (host_services.cpp) the tables over them.
#include <functional>
#include <string>
#include <string_view>

#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"

namespace holdfast::plugins {

/// A line from a plugin, or from the host about a plugin.
struct log_line {
    int level = 2;         ///< HF_LOG_…
    std::string instance;  ///< plugin id
    std::string message;
    json fields;           ///< object or null
};
/// [any thread] Must not block.
using log_sink = std::function<void(const log_line&)>;

/// The host's one API behind hf.api/1. Empty functions answer HF_E_UNSUPPORTED.
struct api_services {
    /// [any thread] Must not block. instance: the plugin that calls. identity: what it states, or null. reply exactly once, any thread.
    std::function<void(const std::string& instance, const std::string& method, json params, json identity,
                       unique_function<void(result<json>)> reply)>
        submit;
    /// As submit, for a call that takes the answer's pieces: one at a time, none after the reply. Returns what cancels the call
    /// (perhaps empty); it may be called once, at any time, and the reply still comes. Absent: such calls go to submit.
    std::function<std::function<void()>(const std::string& instance, const std::string& method, json params, json identity,
                                        std::function<void(std::string_view)> chunk, unique_function<void(result<json>)> reply)>
        stream;
    std::function<result<json>(const std::string& token)> authenticate;  ///< {"user","role"}
    std::function<result<json>()> describe;
};

}  // namespace holdfast::plugins
