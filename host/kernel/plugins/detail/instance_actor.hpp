#pragma once
// The shell around instance_machine: performs its actions on the instance's control thread, tells its owner, reports to the supervisor.
#include <memory>
#include <string>

#include "kernel/plugins/detail/live_instance.hpp"
#include "kernel/plugins/detail/lane.hpp"
#include "kernel/plugins/discovery.hpp"
#include "kernel/plugins/plugin_set.hpp"
#include "kernel/supervise/supervisor.hpp"

namespace holdfast::plugins::detail {

/// exit_reason.code of a start failure that trying again does not change.
inline constexpr int code_refused = 1;

/// Where exceptions from the plugin are told. Outlives the actor; knows it only while it lives.
class crash_port {
  public:
    explicit crash_port(supervise::ref<class instance_actor> who);
    void tell(std::string why);
    void close();

  private:
    std::mutex mutex_;
    supervise::ref<class instance_actor> who_;
};

/// What the set wants to know of an incarnation. Called in the actor's turn; must not block.
class instance_owner {
  public:
    virtual ~instance_owner() = default;
    virtual void verified(std::uint64_t serial, const verified_plugin& v) = 0;
    virtual void held(std::uint64_t serial) = 0;  ///< initialised, waits for go()
    virtual void moved(std::uint64_t serial, instance_phase to, const std::string& reason) = 0;
    virtual void published(std::uint64_t serial, const std::shared_ptr<live_instance>& inc) = 0;
    virtual void withdrawn(live_instance& inc) = 0;
    /// leave: takes it out of its place; called once, when all that follows from the end has been begun. Perhaps by another thread.
    virtual void ended(std::uint64_t serial, const instance_action::finished& how, bool refused, std::function<void()> leave) = 0;
    virtual void warning(const std::string& text) = 0;
};

struct instance_deps {
    std::shared_ptr<service_context> context;
    std::shared_ptr<loader> files;
    std::shared_ptr<crash_marks> marks;
    std::shared_ptr<const discovery> finder;
    settings_validator validate;
    supervise::report_sink reports;
    std::shared_ptr<instance_owner> owner;  // all of these: second owner is the set
    std::string path;                       ///< in the tree: "root/plugins/claude"
    start_hook before_start;
    std::shared_ptr<listeners> sockets;     ///< of the plugin; second owner: the set
    std::optional<verified_plugin> proven;  ///< run exactly this file, whatever lies at its path by now
    std::string instead_of;                 ///< it replaces an incarnation of the plugin of that name: it must be the same plugin
    bool hold = false;                      ///< waits for go() after init
};

class instance_actor;

/// What the supervisor sees of a plugin from its start to its end: one incarnation, or while it is being replaced several.
class instance_child final : public supervise::child {
  public:
    explicit instance_child(supervise::child_context ctx) : ctx_(std::move(ctx)) {}
    /// Before it is started. false: all are being stopped, and so is this one.
    bool enter(supervise::ref<instance_actor> who, bool serving);
    void serve(std::uint64_t serial);  ///< from now on this one's end is the child's
    /// The serving one takes the others along; the last one to leave tells the supervisor.
    void left(std::uint64_t serial, supervise::exit_reason why);
    std::size_t others() const;        ///< besides the serving one
    void stop() override;
    void kill() override;
    void describe(json& node) const override;

  private:
    std::vector<supervise::ref<instance_actor>> all() const;
    const supervise::child_context ctx_;
    mutable std::mutex mutex_;  // guards the rest; leaf
    std::vector<supervise::ref<instance_actor>> all_;
    std::uint64_t serving_ = 0;
    std::optional<supervise::exit_reason> ended_;
    bool stopping_ = false;
};

class instance_actor final : public supervise::actor {
  public:
    instance_actor(supervise::runtime& rt, plugin_spec spec, instance_deps deps, std::shared_ptr<instance_child> place);

    std::uint64_t serial() const noexcept { return serial_; }
    /// [any thread]
    void describe(json& node) const;
    const std::shared_ptr<control_lane>& lane() const noexcept { return lane_; }
    void crashed(std::string why);  ///< [any thread]
    void go();                      ///< [any thread] a held one starts
    /// [any thread] Another one serves in its place, or waits for its end: it finishes what is under way and stops. last_words runs on its
    /// control thread before it stops.
    void retire(std::function<void(live_instance&)> last_words);
    void on_event(any_instance_event e);  ///< [its turn]

  protected:
    void on_start() override { on_event(instance_event::begin{deps_.hold}); }
    void on_stop() override;
    void on_exit(const supervise::exit_reason& why) noexcept override;

  private:
    void perform(instance_action::run& a);
    void perform(instance_action::publish&);
    void perform(instance_action::withdraw&);
    void perform(instance_action::end_calls& a);
    void perform(instance_action::await_leases& a);
    void perform(instance_action::held&) { deps_.owner->held(serial_); }
    void perform(instance_action::defer_destroy&);
    void perform(instance_action::abandon&);
    void perform(instance_action::moved& a);
    void perform(instance_action::finished& a);
    control_lane::body body_of(instance_step s);
    milliseconds quiesce_time() const;
    nanoseconds deadline_of(instance_step s) const;
    step_result verify_step(live_instance& inc) const;
    void start_workers();
    void forget() noexcept;

    const plugin_spec spec_;
    instance_deps deps_;
    const std::shared_ptr<instance_child> place_;    // second owner: the supervisor
    const std::uint64_t serial_;
    instance_machine machine_;                       // Owner: this actor
    std::shared_ptr<live_instance> inc_;               // second owners: see live_instance
    std::shared_ptr<control_lane> lane_;             // second owner: its thread
    std::shared_ptr<control_lane> spare_lane_;       // for the host's part of the way out when lane_ is lost
    supervise::timer_handle lease_deadline_;
    std::shared_ptr<crash_port> crash_;              // second owners: the incarnation's services
    bool refused_ = false, reported_ = false, retired_ = false;
    std::function<void(live_instance&)> last_words_;
    mutable std::mutex mutex_;                       // guards workers_ and phase_ for describe()
    supervise::ref<supervise::supervisor> workers_;
    instance_phase phase_ = instance_phase::discovered;
    std::shared_ptr<services> services_;
    std::shared_ptr<isolation::proxy> apart_;        // second owner: the incarnation
};

/// How long the whole way out may take, for the supervisor's shutdown deadline.
milliseconds way_out(const plugin_spec& spec);

}  // namespace holdfast::plugins::detail
