#pragma once
// One call on its way through the server's actor. Its `done` is called exactly once, whatever becomes of the actor.
#include <memory>
#include <string>

#include "servers/tool_port.hpp"

namespace holdfast::servers {

struct call_job {
    std::uint64_t id = 0;
    std::string tool;       ///< empty: any other request
    std::string method;
    json params;
    std::string session;
    milliseconds timeout{60'000};
    milliseconds input_wait{600'000};
    json capabilities;      ///< null: the host's own
    std::string log_level;
    bool hosts_own = false; ///< Owner: the actor; it had no capabilities: roots are the server's configured ones
    bool fills_defaults = false;  ///< of forms
    tool_call_events events;
    bool sent = false;      ///< Owner: the actor
    std::uint64_t conn = 0; ///< the connection it was sent on; its answers, input and cancel go there
    std::uint64_t permit = 0;
    bool permitted = false;
    std::uint64_t pooled = 0;  ///< the pool's number of its connection; 0: none
    error if_dropped{errc::unavailable, "the server's actor ended before it could take the call; try again"};

    call_job() = default;
    call_job(const call_job&) = delete;
    call_job& operator=(const call_job&) = delete;
    ~call_job() {
        try {
            if (sent) if_dropped = {errc::transport_lost, "the server's actor ended while the call was under way"};
            finish(tl::unexpected(if_dropped));
        } catch (...) {  // T1: the caller's callback must not break whoever drops the job
        }
    }
    void finish(result<json> outcome) {
        auto done = std::move(events.done);
        events.done = nullptr;
        if (done) done(std::move(outcome), sent);
    }
};

}  // namespace holdfast::servers
