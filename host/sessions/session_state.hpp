#pragma once
// What a session is: a fold over its durable events. Memory holds the newest messages; the journal holds all.
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::sessions {

struct sampling_request;

enum class phase : std::uint8_t { idle, thinking, awaiting_permission, running_tool };
enum class call_status : std::uint8_t { proposed, asked, approved, running, result, error, denied, outcome_unknown };
enum class message_status : std::uint8_t { complete, streaming, interrupted, failed };
enum class speaker : std::uint8_t { user, assistant };

std::string_view to_string(phase p) noexcept;
std::string_view to_string(call_status s) noexcept;
std::string_view to_string(message_status s) noexcept;
std::string_view to_string(speaker s) noexcept;
call_status call_status_from(std::string_view s) noexcept;        ///< error for anything unknown
message_status message_status_from(std::string_view s) noexcept;  ///< complete for anything unknown
inline bool open(call_status s) noexcept { return s <= call_status::running; }

struct tool_use {
    std::string id, server, tool, name;  ///< name: as the model says it
    json arguments = json::object();
    call_status status = call_status::proposed;
    json result;                         ///< CallToolResult, null until there is one
    std::string approved_hash;           ///< definition a person approved; empty until then
    json to_json() const;
};

/// Fields in the order of their size: there are as many of these in memory as the live sessions remember.
struct message {
    std::string id, text;
    std::int64_t at_ms = 0;          ///< wall clock, since 1970
    std::uint64_t seq = 0;           ///< of its MessageAdded
    speaker role = speaker::user;
    message_status status = message_status::complete;
    std::vector<tool_use> calls;
    json parts;                      ///< the model's own parts when some of them are opaque, else null
    std::string adapter;             ///< who wrote it
    json to_json() const;
};

/// Something a person is asked: may this tool run, what a tool wants to know, or may it have an answer of the model.
struct pending_request {
    std::string request_id, kind, call_id;  ///< kind: permission | input | sampling
    std::string key;                        ///< input, sampling: the server's name of the question
    std::string server, tool, prompt, url, hash;
    json options = json::array(), arguments, schema;
    std::int64_t expires_ms = 0;            ///< wall clock, since 1970
    std::int64_t timeout_ms = 0;
    /// Sampling: the whole of it, in memory only, for no call outlives the host. Second owner: the state before a commit.
    std::shared_ptr<const sampling_request> sampling;
    json to_json() const;
};

/// A running call whose server was refused an answer of the model: servers of the newer protocol cannot be told, their call ends.
struct refused_call {
    std::string call_id, why;
};

struct resolution {
    std::string request_id, decision, by;
};

/// What came of a message sent with an idempotency key.
struct sent_key {
    std::string key, message_id;
    std::uint64_t seq = 0;
};

struct session_config {
    std::string title, llm;
    std::vector<std::string> servers;  ///< empty: all
    std::vector<std::string> allow;    ///< "server/tool" or "server/*"
};

struct session_stats {
    std::uint64_t messages = 0, tool_calls = 0, input_tokens = 0, output_tokens = 0, cached_tokens = 0, turns = 0, thinking_ms = 0;
    json to_json() const;
};

struct session_state {
    std::string id, user, created_at, updated_at;
    session_config config;
    session_stats stats;
    std::vector<std::shared_ptr<const message>> recent;  // second owner: the state before a commit
    std::string streaming;        ///< id of the message being written, or empty
    unsigned rounds = 0;          ///< model calls since the newest user message
    unsigned unanswered = 0;      ///< user messages since the newest model call
    unsigned samplings = 0;       ///< times a tool asked for an answer of the model since the newest user message
    std::vector<pending_request> pending;
    std::vector<resolution> resolved;                     ///< the newest, for those who answer late
    std::map<std::string, std::string> pins;              ///< "server/tool" → hash it last ran with
    std::vector<sent_key> keys;                           ///< newest last
    std::vector<refused_call> refused;                    ///< in memory only
    std::uint64_t last_durable = 0;
    std::size_t keep = 50;        ///< messages in `recent`
    bool ended = false;

    phase now() const noexcept;
    bool unfinished() const noexcept { return now() != phase::idle; }
    const message* find(std::string_view message_id) const noexcept;
    const tool_use* find_call(std::string_view call_id) const noexcept;
    const pending_request* find_pending(std::string_view request_id) const noexcept;
    bool has_open_calls() const noexcept;

    /// `recent` as bytes, leaving it empty, and back: a session at rest needs a third less that way. Only while idle.
    std::vector<std::uint8_t> pack();
    void unpack(const std::vector<std::uint8_t>& packed);

    json to_json() const;                               ///< everything: for the table "snapshots"
    static result<session_state> from_json(const json& j);  ///< Errors: corrupt
};

/// One event of a session's topic.
struct session_event {
    std::string type;
    json data;
    bool durable = true;
    std::string idem_key;
};

/// The fold. Unknown types and ids change nothing but the number: a newer host may have written them.
void apply(session_state& s, std::string_view type, const json& data, std::uint64_t seq, std::string_view at,
           std::string_view idem_key = {});

/// "2026-11-21T12:00:00.123Z" of milliseconds since 1970.
std::string time_text(std::int64_t wall_ms);

}  // namespace holdfast::sessions
