#pragma once
// All sessions of this host: found by id, started or woken once however many ask (A1), hibernated when idle (A2), restarted
// from the journal after a crash, listed without waking anyone.
//
//   auto dir = session_directory::create(services, options);
//   dir->start([](result<void>) { … });                        // reads the list; wakes unfinished turns
//   dir->invoke("session.send", {.user = "local", .via = "web"}, json{{"session_id", "s1"}, {"content", "hi"}}, done);
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/events/bus.hpp"
#include "kernel/plugins/ports.hpp"
#include "kernel/supervise/actor.hpp"
#include "kernel/supervise/supervisor.hpp"
#include "servers/tool_port.hpp"
#include "sessions/llm_router.hpp"
#include "sessions/session_options.hpp"

namespace holdfast::sessions {

using reply = unique_function<void(result<json>)>;

/// Makes the actor of one session; called by whoever starts children, once per start.
using actor_factory = std::function<result<supervise::actor_ref>(supervise::runtime&)>;
/// Starts one child and forgets it when it ends (a temporary child). `failed` is called instead of the actor's first turn.
using child_starter = std::function<void(std::string id, actor_factory make, unique_function<void(error)> failed)>;
/// Children of a supervisor with rules.dynamic. `sup` is asked for at every start, so that it may be replaced.
child_starter children_of(std::function<supervise::ref<supervise::supervisor>()> sup);
/// Children that nobody supervises: tests.
child_starter unsupervised(supervise::runtime& rt);

/// What sessions are built on. Everything outlives the directory; shared ones have the composition root as first owner.
struct session_services {
    supervise::runtime* rt = nullptr;
    events::bus* bus = nullptr;
    std::shared_ptr<plugins::call_port> store;      ///< hf.store/1
    std::shared_ptr<servers::tool_port> tools;      ///< null: no tools
    std::shared_ptr<llm_router> llm;
    child_starter start_child;
};

/// On whose behalf: shown to the others.
struct caller {
    std::string user = "local";
    std::string via;
};

/// [any thread] Replies come exactly once, on any thread, perhaps inside the call.
class session_directory {
  public:
    static std::shared_ptr<session_directory> create(session_services services, session_options options);
    virtual ~session_directory() = default;

    /// Reads what the store knows (retrying while it is unavailable) and wakes sessions with an unfinished turn or a
    /// pending permission. Calls made before it is done wait for nothing: unknown ids are looked up in the store.
    virtual void start(unique_function<void(result<void>)> done) = 0;
    /// A3: refuses new calls, saves and ends every session with bounded parallelism; turns under way are left to be
    /// restored. done when nothing lives any more or the deadline has passed.
    virtual void stop(milliseconds deadline, unique_function<void()> done) = 0;

    /// A method of host/doc/api.md: session.*, alias.*, history.*, events.read. `params` have the shape the method table
    /// checks. Errors: session_not_found, invalid_argument, already_exists, read_only (nothing was changed), overloaded,
    /// unavailable (quarantined: the message names the command), not_found (request_id).
    virtual void invoke(std::string_view method, const caller& who, json params, reply done) = 0;
    virtual bool has(std::string_view method) const = 0;

    struct figures {
        std::size_t known = 0, live = 0, quarantined = 0;
        std::uint64_t restarts = 0, hibernated = 0, woken = 0;
    };
    virtual figures stats() const = 0;
};

}  // namespace holdfast::sessions
