#pragma once
// What a subscriber sees as text: events as published, notices as objects of the same shape (ext/events.h).
#include <string>

#include "kernel/core/json.hpp"
#include "kernel/events/bus.hpp"

namespace holdfast::api {

/// {"type":"gap"|"epoch"|"closed", "topic", …}
json notice_json(const events::notice& n);

/// The subscription options of a client: {"topic","from"?,"epoch"?,"types"?,"policy"?}. Errors: invalid_argument naming the member.
result<events::subscribe_options> subscribe_options_from(const json& options);

}  // namespace holdfast::api
