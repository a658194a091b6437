#pragma once
// What the model is sent: the chat request of holdfast/ext/llm.h, made of the recent history and the tools a session sees.
#include "servers/tool_port.hpp"
#include "sessions/session_options.hpp"
#include "sessions/session_state.hpp"
#include "sessions/tool_names.hpp"

namespace holdfast::sessions {

struct chat_request {
    json body;
    tool_names offered;
};

/// Every tool_use is followed by its tool_result. Parts of a provider's own are wrapped as {"type":"opaque","adapter","part"};
/// the router unwraps those of the adapter it picks and drops the others.
chat_request make_chat_request(const session_state& state, const servers::catalogue* tools, const session_options& options);

}  // namespace holdfast::sessions
