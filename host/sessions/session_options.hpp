#pragma once
// Limits and times of sessions: the "sessions" object of the configuration. Every bound has a name here.
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::sessions {

struct session_options {
    milliseconds permission_timeout{30'000};  ///< unanswered: denied; an unanswered input request: cancelled
    milliseconds stream_idle{120'000};        ///< silence of the model after which a stream counts as failed
    milliseconds tool_timeout{60'000};        ///< maximum of one tool call, whatever progress says
    milliseconds keep_events{60'000};         ///< of a session at rest, for who attaches again; later the snapshot has to do
    milliseconds hibernate_after{15 * 60'000};///< 0: never
    milliseconds partial_interval{250};       ///< how often the text of a running stream is saved
    milliseconds server_wait{10'000};         ///< a model is not asked before servers that were configured more recently have come up or failed
    milliseconds store_retry{1'000};          ///< between attempts of what must be written while the store refuses
    milliseconds store_timeout{10'000};
    milliseconds delete_after{0};             ///< idle sessions older than this are destroyed; 0: never
    unsigned max_rounds = 16;                 ///< model calls in one turn
    std::size_t recent_messages = 50;         ///< kept in memory, shown in a snapshot, sent to the model
    std::uint64_t snapshot_every = 500;       ///< events
    std::size_t max_live = 10'000;            ///< actors at a time; beyond it idle ones hibernate first
    std::size_t max_message_bytes = 1u << 20;
    std::size_t max_result_bytes = 1u << 20;  ///< of a tool's result as stored; longer ones are cut and say so
    std::size_t max_model_result_bytes = 64u << 10;  ///< of a tool's result as the model sees it
    std::string system_prompt;                ///< "": a short one of ours
    std::int64_t max_tokens = 0;              ///< 0: the adapter's default
};

inline constexpr unsigned max_restore_attempts = 3;        ///< A2: then quarantined
inline constexpr unsigned max_crashes = 5;                 ///< of one session within crash_window, then quarantined
inline constexpr seconds crash_window{60};
inline constexpr milliseconds chunk_interval{5};           ///< a stream is published at most so often
inline constexpr std::size_t max_stashed_inputs = 1024;    ///< per session, while a commit is under way
inline constexpr std::size_t max_waiting_for_start = 1024; ///< per session, while it is being restored
inline constexpr std::size_t max_remembered_keys = 256;    ///< idempotency keys in memory; older ones are looked up in the store
inline constexpr std::size_t max_parallel_calls = 32;      ///< tool calls in one answer of the model; further ones are refused
inline constexpr unsigned max_samplings = 64;              ///< answers of the model that tools ask for in one turn
inline constexpr std::size_t max_told_sampling = 4'000;    ///< bytes of such an answer that its event shows
inline constexpr milliseconds tool_wait{10'000};           ///< for the server of an approved call to be back
inline constexpr milliseconds store_look{50};              ///< between attempts to read a session while the store is not there yet
inline constexpr milliseconds tool_look{25};               ///< how often the catalogue is looked at meanwhile
inline constexpr std::size_t max_input_history = 1000;     ///< lines

/// {"permission_timeout_s","stream_idle_s","server_wait_s","tool_timeout_s","keep_events_s","hibernate_after_s","delete_after_s","max_rounds","recent_messages",
///  "snapshot_every","max_live","max_message_bytes","system_prompt","max_tokens"}; absent ones keep their default.
/// Errors: config_invalid naming the field.
result<session_options> session_options_from(const json& settings);

}  // namespace holdfast::sessions
