#pragma once
// spdlog behind a few functions: one event, one line, ids as fields. Text for people, JSON lines for machines.
#include <string>
#include <string_view>

#include "kernel/core/json.hpp"

namespace holdfast::app {

enum class level { trace, debug, info, warn, error, critical, off };

struct log_options {
    std::string level = "info";
    std::string format = "text";
    std::string file;    ///< also here, rotated; "" = stderr only
};

/// [once, before threads] Errors: io_error (the file). Lines go to stderr.
result<void> open_log(const log_options& options);
/// While a user interface owns the terminal: lines go to `file` (rotated) instead of stderr, which is where "" sends them again.
/// [one thread at a time] Errors: io_error; then nothing changes.
result<void> divert_log(const std::string& file);
void set_log_level(const std::string& name);
int log_level_number();  ///< HF_LOG_…: what plugins read
/// [any thread] `who`: the part that speaks ("host", a plugin's id, a server's name).
void write_log(level l, std::string_view who, std::string_view message, const json& fields = {});

}  // namespace holdfast::app
