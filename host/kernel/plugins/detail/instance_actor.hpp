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
    virtual void verified(const verified_plugin& v) = 0;
    virtual void moved(std::uint64_t serial, instance_phase to, const std::string& reason) = 0;
    virtual void published(const std::shared_ptr<live_instance>& inc) = 0;
    virtual void withdrawn(live_instance& inc) = 0;
    virtual void ended(std::uint64_t serial, const instance_action::finished& how, bool refused) = 0;
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
};

class instance_actor final : public supervise::actor {
  public:
    instance_actor(supervise::runtime& rt, plugin_spec spec, instance_deps deps, supervise::child_context ctx);

    std::uint64_t serial() const noexcept { return serial_; }
    /// [any thread]
    void describe(json& node) const;
    const std::shared_ptr<control_lane>& lane() const noexcept { return lane_; }
    void crashed(std::string why);  ///< [any thread]
    void on_event(any_instance_event e);  ///< [its turn]

  protected:
    void on_start() override { on_event(instance_event::begin{}); }
    void on_stop() override { on_event(instance_event::stop_asked{}); }
    void on_exit(const supervise::exit_reason& why) noexcept override;

  private:
    void perform(instance_action::run& a);
    void perform(instance_action::publish&);
    void perform(instance_action::withdraw&);
    void perform(instance_action::end_calls& a);
    void perform(instance_action::await_leases&);
    void perform(instance_action::ready&) {}
    void perform(instance_action::defer_destroy&);
    void perform(instance_action::abandon&);
    void perform(instance_action::moved& a);
    void perform(instance_action::finished& a);
    control_lane::body body_of(instance_step s);
    nanoseconds deadline_of(instance_step s) const;
    step_result verify_step(live_instance& inc) const;
    void start_workers();
    void forget() noexcept;

    const plugin_spec spec_;
    instance_deps deps_;
    const supervise::child_context ctx_;
    const std::uint64_t serial_;
    instance_machine machine_;                       // Owner: this actor
    std::shared_ptr<live_instance> inc_;               // second owners: see live_instance
    std::shared_ptr<control_lane> lane_;             // second owner: its thread
    std::shared_ptr<control_lane> spare_lane_;       // for the host's part of the way out when lane_ is lost
    supervise::timer_handle lease_deadline_;
    std::shared_ptr<crash_port> crash_;              // second owners: the incarnation's services
    bool refused_ = false, reported_ = false;
    mutable std::mutex mutex_;                       // guards workers_ and phase_ for describe()
    supervise::ref<supervise::supervisor> workers_;
    instance_phase phase_ = instance_phase::discovered;
    std::shared_ptr<services> services_;
    std::shared_ptr<isolation::proxy> apart_;        // second owner: the incarnation
};

/// What the supervisor sees.
class instance_child final : public supervise::child {
  public:
    explicit instance_child(supervise::ref<instance_actor> who) : who_(std::move(who)) {}
    void stop() override { who_->request_stop(); }
    void kill() override {
        (void)who_.tell_always([](instance_actor& a) { a.on_event(instance_event::kill{}); });
    }
    void describe(json& node) const override { who_->describe(node); }

  private:
    supervise::ref<instance_actor> who_;
};

/// How long the whole way out may take, for the supervisor's shutdown deadline.
milliseconds way_out(const plugin_spec& spec);

}  // namespace holdfast::plugins::detail
