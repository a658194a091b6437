#pragma once
// sampling/createMessage answered with a model of ours: what the server asks is checked and shortened for the person who decides,
// becomes a chat of ext/llm.h, and what the model said becomes a CreateMessageResult. Pure. Tools in sampling are not declared.
// Spec: MCP 2025-11-25 and 2026-07-28, client/sampling.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::sessions {

struct sampling_request {
    json body;                       ///< chat request of ext/llm.h
    json shown;                      ///< {"system_prompt"?, "messages": [{"role", "text"}…], "max_tokens", "model_hints"?}: in short, for people
    std::vector<std::string> hints;  ///< names of models the server would like, best first
    std::vector<std::string> stops;  ///< what ends the answer
};

/// `most_tokens`: of the session's own answers; 0: as many as the server asks for.
/// Errors: invalid_argument.
result<sampling_request> read_sampling(const json& params, std::int64_t most_tokens);

/// {"role", "content", "model", "stopReason"?} of the result of a chat. Errors: server_error (the model refused, or said nothing).
result<json> sampling_result(const sampling_request& request, const json& chat_result);

/// At most `max_bytes` of a text and how much is missing.
std::string shortened(std::string_view text, std::size_t max_bytes);

}  // namespace holdfast::sessions
