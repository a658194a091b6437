#pragma once
// The supervisor's shell: an actor that performs what supervisor_decision decides, over children of any kind.
//
//   supervisor_options o;                     // strategy, intensity, backoff, names, reports
//   auto top = supervisor::start(rt, "root", std::move(o), std::move(children), [](result<void> up) { … });
//   top->start_child(actor_child<session>("s-1", "session", [](child_context& c) { return make_actor<session>(c.rt(), …); }),
//                    [](result<child_ref> r) { … });
//
// Stop it (stop_and_wait) before its runtime ends. Every method may be called from any thread. A `done` callback runs in the supervisor's turn: keep it short, tell an actor.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/supervise/actor.hpp"
#include "kernel/supervise/names.hpp"
#include "kernel/supervise/supervisor_decision.hpp"

namespace holdfast::supervise {

/// A running child of any kind: actor, thread, process, supervisor. Shared by the supervisor and a tree snapshot under way.
class child {
  public:
    virtual ~child() = default;
    /// Ask it to end; its exit is reported through the context it was started with. [supervisor's turn] Must not block.
    virtual void stop() = 0;
    /// Force it to end. [supervisor's turn] Must not block.
    virtual void kill() = 0;
    /// Adds what it knows about itself: pid, cpu_ms, memory_bytes, mailbox, quarantined, children … [any thread] Must not block.
    virtual void describe(json&) const {}
    /// The actor, for children that are one.
    virtual actor_ref as_actor() const { return {}; }
};

class supervisor;

/// What a start function gets. Copyable: keep it to report later, from any thread. Exactly one of started/failed, and after
/// started exactly one exited. What comes from an incarnation that is over by then is ignored (a late child is killed).
class child_context {
  public:
    const std::string& id() const;
    std::uint32_t incarnation() const noexcept { return incarnation_; }  ///< 1 for the first start
    runtime& rt() const;
    name_registry* names() const;      ///< the supervisor's, or null
    /// Optional, before started(): what to stop or kill when the start is given up half way.
    void attach(std::shared_ptr<child> c) const;
    void started(std::shared_ptr<child> c) const;
    void failed(error why) const;      ///< nothing is left running of this incarnation
    void exited(exit_reason reason) const;

    /// Starts a nested supervisor as this child; used by supervisor_child(). `announce` gets it before its children start.
    void start_supervisor(struct supervisor_options options, std::vector<struct child_spec> children,
                          const std::function<void(ref<supervisor>)>& announce) const;

  private:
    friend class supervisor;
    ref<supervisor> owner_;
    std::shared_ptr<const std::string> id_;  // shared with the supervisor's entry
    child_key key_ = 0;
    std::uint32_t incarnation_ = 0;
};

/// Begins one start and returns at once; finishes through the context (S10). Called again, with the same captures, for every
/// restart. An exception is a failed start. [supervisor's turn]
using start_function = unique_function<void(child_context)>;

struct child_spec : child_rules {
    start_function start;
};

/// A child seen by whoever asked for it.
struct child_ref {
    std::string id;
    std::uint32_t incarnation = 0;
    actor_ref who;  ///< null for children that are not actors
};

struct supervision_report {
    report_kind kind;
    std::string supervisor;     ///< path: "root/plugins/web"
    std::string id;             ///< the child; empty when it is about the supervisor itself
    std::string child_kind;
    std::uint32_t incarnation = 0;
    exit_reason reason;
    restart_type restart = restart_type::permanent;
    bool significant = false;
    json to_json() const;       ///< S9: {report, supervisor, id, kind, incarnation, reason{kind, code, text}, spec{restart, significant}}
};
/// Called in the supervisor's turn: hand it on, do not block.
using report_sink = std::function<void(const supervision_report&)>;

struct supervisor_options {
    supervisor_rules rules;
    name_registry* names = nullptr;      ///< actor children are registered here by id; outlives the supervisor
    report_sink reports;                 ///< inherited by nested supervisors that have none
    std::uint64_t random_seed = 0;       ///< 0: from the kernel
};

class supervisor final : public actor {
  public:
    using done_child = unique_function<void(result<child_ref>)>;
    using done_void = unique_function<void(result<void>)>;

    /// Errors (through `up`): whatever check_rules refuses; the error of the first child that did not start (S1), after those
    /// started before it have been stopped. The supervisor exists at once; children start in order, asynchronously.
    static ref<supervisor> start(runtime& rt, std::string id, supervisor_options options, std::vector<child_spec> children,
                                 done_void up = {});

    /// done once it runs or did not start. Errors: already_started, already_present, restarting, max_children,
    /// config_invalid, cancelled (the supervisor is stopping), stale (it ended); the start's own error.
    void start_child(child_spec spec, done_child done = {});
    /// As start_child, but an id that is there already is success once it runs: single-flight get-or-start (A1).
    void ensure_child(child_spec spec, done_child done);
    /// done when its exit is confirmed. The spec stays (temporary and dynamic ones go). Errors: not_found.
    void terminate_child(std::string id, done_void done = {});
    /// Starts a stopped child again. Errors: not_found, running, restarting.
    void restart_child(std::string id, done_child done = {});
    /// Forgets a stopped child. Errors: not_found, running, restarting.
    void delete_child(std::string id, done_void done = {});
    /// Stops everything in reverse order (dynamic: in parallel, one deadline); done when nothing is left.
    void stop_all(done_void done = {});
    /// The same, blocking. [not on a pool thread] false: not finished by the deadline.
    bool stop_and_wait(nanoseconds deadline);

    /// [any thread] Immutable copies; never waits for a child.
    std::vector<child_view> which_children() const;
    /// {id, kind: "supervisor", state, strategy, restarts, incarnation, last_exit, uptime_ms, children: [...]}; every child has
    /// id, kind, state, restarts, incarnation, last_exit (object or null), uptime_ms, and what describe() adds. max: children listed
    /// per supervisor; the rest is counted in `omitted`.
    json tree(std::size_t max_children = 1000) const;
    std::size_t child_count() const;
    const std::string& id() const;
    const std::string& path() const;

    struct impl;

  private:
    friend class child_context;
    explicit supervisor(runtime& rt, std::unique_ptr<impl> impl);
    ~supervisor() override;
    void on_start() override;
    void on_stop() override;
    void on_exit(const exit_reason&) noexcept override;
    std::unique_ptr<impl> impl_;
    friend struct impl;
};

/// Makes an actor without starting it: what an actor child's factory returns.
template <class A, class... Args>
ref<A> make_actor(Args&&... args) {
    return ref<A>::adopt(new A(std::forward<Args>(args)...));
}

/// A child that is an actor. The factory makes it anew for every incarnation; it counts as started when on_start() has returned
/// (or ready() was called). Registered under `id` before on_start() when the supervisor has a name_registry.
child_spec actor_child(std::string id, std::string kind, unique_function<result<actor_ref>(const child_context&)> factory);

/// A child that is a supervisor of its own. `children` makes its static children anew for every incarnation.
/// Defaults: permanent, shutdown infinity.
child_spec supervisor_child(std::string id, std::function<supervisor_options()> options,
                            std::function<std::vector<child_spec>()> children = {},
                            std::function<void(ref<supervisor>)> announce = {});

/// Runs an asynchronous call and blocks for its result. [not on a pool thread] Errors: timeout, or the call's own.
///   auto r = await<child_ref>(seconds(5), [&](auto done) { sup->start_child(std::move(spec), std::move(done)); });
template <class T>
result<T> await(nanoseconds deadline, unique_function<void(unique_function<void(result<T>)>)> begin);

}  // namespace holdfast::supervise

#include "kernel/supervise/await.ipp"
