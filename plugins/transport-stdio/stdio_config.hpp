#pragma once
// Words in, words out: the server's configuration becomes a process, its end becomes a sentence. Pure.
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::transport_stdio {

inline constexpr std::int64_t default_max_line_bytes = 4 << 20;
inline constexpr std::int64_t default_memory_mb = 500;
inline constexpr double default_stop_grace_s = 5;

struct settings {
    std::int64_t max_line_bytes = default_max_line_bytes;
    std::int64_t memory_mb = default_memory_mb;
};
/// Throws sdk::plugin_error (HF_E_INVALID).
settings read_settings(std::string_view json);

struct process_plan {
    std::string spec;                ///< for hf_process.spawn
    std::int64_t max_line_bytes = 0;
    std::string command;
};
/// Throws sdk::plugin_error (HF_E_INVALID), naming what is wrong.
process_plan plan_process(std::string_view server_config, const settings& s);

/// It exited with status 0.
bool ended_in_order(std::string_view status_json);

/// "the server exited with status 3 after 12 ms; its last words: …"
std::string exit_sentence(std::string_view status_json);

}  // namespace holdfast::transport_stdio
