#pragma once
// The turn of a session as a pure machine: state and input go in; the events to make durable, what to do after they are, and
// the answer to whoever asked come out. No I/O, no clock, no randomness of its own (ledger: security-and-durability,
// "Durability"; a tool call leaves only as an effect, and effects are performed only after the events are durable).
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "servers/tool_port.hpp"
#include "sessions/sampling.hpp"
#include "sessions/session_options.hpp"
#include "sessions/session_state.hpp"
#include "sessions/tool_names.hpp"

namespace holdfast::sessions {

namespace input {
struct create { std::string user; session_config config; };
struct user_message { std::string content, idem_key, via; };
struct model_done { std::string message_id; json result; std::int64_t duration_ms = 0; };
struct model_failed { std::string message_id; error why; std::string partial; };
struct answer { std::string request_id, decision, pattern, by; json content; };  ///< to anything that is pending
struct expire {};                                                               ///< some deadline may have passed
struct tool_done { std::string call_id; result<json> outcome; bool sent = true; std::int64_t duration_ms = 0; };
struct tool_ready { std::string call_id; bool last = false; };  ///< look again; last: it has been waited for long enough
struct tool_asks { std::string call_id; servers::input_request question; };
struct tool_withdraws { std::string call_id, key; };  ///< the question: nobody waits for the answer any more
/// What came of effect::sample: the result of the chat.
struct sampled { std::string call_id, key; std::shared_ptr<const sampling_request> request; result<json> outcome; std::int64_t duration_ms = 0; };
struct cancel { std::string by; std::string partial; };
struct restored { std::string partial; };  ///< text saved of the message that was streaming
struct configure { std::optional<std::string> title, llm; std::optional<std::vector<std::string>> servers, allow; };
struct end { std::string reason; };
}  // namespace input

using session_input = std::variant<input::create, input::user_message, input::model_done, input::model_failed, input::answer, input::expire,
                                   input::tool_done, input::tool_ready, input::tool_asks, input::tool_withdraws, input::sampled, input::cancel, input::restored, input::configure, input::end>;

namespace effect {
struct call_model { std::string message_id; };
struct cancel_model {};
struct run_tool { std::string call_id, server, tool; json arguments; };
/// Approved, but its server is not there now: bring input::tool_ready when it is, or when the wait is over.
struct await_tool { std::string call_id, server; };
struct cancel_tool { std::string call_id; };
struct answer_tool { std::string call_id, key; json response; };
/// Ask the model on behalf of a tool's server, and bring input::sampled. Second owner of the request: whoever asks meanwhile.
struct sample { std::string call_id, key; std::shared_ptr<const sampling_request> request; };
struct cancel_sample { std::string call_id, key; };
}  // namespace effect

using session_effect = std::variant<effect::call_model, effect::cancel_model, effect::run_tool, effect::await_tool, effect::cancel_tool, effect::answer_tool,
                                    effect::sample, effect::cancel_sample>;

/// What a decision may look at besides the state.
struct turn_context {
    std::int64_t wall_ms = 0;
    std::uint64_t next_seq = 1;                            ///< number of the first event emitted
    const session_options* options = nullptr;
    std::function<std::string(std::string_view prefix)> new_id;
    std::shared_ptr<const servers::catalogue> tools;       ///< null: none
    const tool_names* offered = nullptr;                   ///< what the model was offered; null: decode by the catalogue
};

struct turn_outcome {
    session_state next;                    ///< the state once the events are durable
    std::vector<session_event> events;     ///< numbered next_seq, next_seq + 1, …
    std::vector<session_effect> effects;   ///< only after the events are durable, in order
    result<json> reply = json::object();
    bool deduplicated = false;             ///< the reply repeats an earlier one; nothing happens
};

turn_outcome decide(const session_state& state, const session_input& in, const turn_context& context);

/// Does a pattern of an allow-list ("server/tool" or "server/*") cover a tool?
bool allows(const std::vector<std::string>& patterns, std::string_view server, std::string_view tool);
/// Errors: invalid_argument.
result<void> check_pattern(std::string_view pattern);

}  // namespace holdfast::sessions
