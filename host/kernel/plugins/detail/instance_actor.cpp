#include "kernel/plugins/detail/instance_actor.hpp"

namespace holdfast::plugins::detail {
namespace {

constexpr auto revoke_patience = milliseconds(20'000);   // workers may take their shutdown time, 5 s by default
constexpr auto revoke_margin = milliseconds(2'000);
constexpr auto lease_patience = milliseconds(1'000);
constexpr auto quiesce_margin = milliseconds(500);       // a plugin that uses its whole deadline is not hanging yet
constexpr auto destroy_patience = milliseconds(8'000);
constexpr milliseconds retired_quiesce{5'000};  // at most: clients who keep a connection may use it once more
constexpr auto isolation_margin = milliseconds(3'000);

std::atomic<std::uint64_t> last_serial{0};

}  // namespace

milliseconds way_out(const plugin_spec& spec) {
    return spec.drain_timeout + std::max(spec.quiesce_timeout, retired_quiesce) + quiesce_margin + spec.stop_timeout + 2 * isolation_margin + revoke_patience + revoke_margin + lease_patience + destroy_patience;
}

instance_actor::instance_actor(supervise::runtime& rt, plugin_spec spec, instance_deps deps, std::shared_ptr<instance_child> place)
    : actor(rt), spec_(std::move(spec)), deps_(std::move(deps)), place_(std::move(place)), serial_(++last_serial) {
    const std::string prefix = "hf" + std::to_string(serial_) + ":";
    lane_ = std::make_shared<control_lane>(rt, prefix + spec_.id);
    inc_ = std::make_shared<live_instance>(spec_.id, deps_.marks);
    crash_ = std::make_shared<crash_port>(supervise::ref<instance_actor>::share(this));
    auto crash = [port = crash_](std::string why) { port->tell(std::move(why)); };
    inc_->crash = crash;
    inc_->host = services_ = std::make_shared<services>(deps_.context, spec_.id, prefix, inc_->key(), spec_.settings,
                                                        supervise::restart_type::permanent, crash);
    services_->set_listeners(deps_.sockets, serial_);
    if (spec_.isolation != isolation_mode::process) return;
    isolation::proxy_options o;
    o.processes = deps_.context->processes;
    o.runner = deps_.context->runner;
    o.id = spec_.id;
    o.thread_prefix = prefix;
    o.data_dir = deps_.context->data_dir;
    o.level = __atomic_load_n(&deps_.context->log_level, __ATOMIC_RELAXED);
    o.sandbox = isolation::sandbox_wish::from_json(spec_.sandbox);
    // Its own directory, made here because it cannot make it any more; a store's is the host's.
    if (auto own = services_->data_dir()) o.sandbox.write.push_back(std::move(*own));
    o.limits = spec_.limits;
    o.init_timeout = spec_.init_timeout;
    o.start_timeout = spec_.start_timeout;
    o.quiesce_timeout = spec_.quiesce_timeout;
    o.stop_timeout = spec_.stop_timeout;
    o.log = [context = deps_.context, id = spec_.id](int level, std::string message, json fields) { context->write_log(level, id, std::move(message), std::move(fields)); };
    o.crashed = crash;
    o.report = deps_.context->crash_reported;
    inc_->apart = apart_ = isolation::proxy::create(std::move(o));
}

crash_port::crash_port(supervise::ref<instance_actor> who) : who_(std::move(who)) {}
void crash_port::tell(std::string why) {
    supervise::ref<instance_actor> who;
    {
        std::lock_guard lock(mutex_);
        who = who_;
    }
    if (who) who->crashed(std::move(why));
}
void crash_port::close() {
    supervise::ref<instance_actor> last;  // released outside the lock
    std::lock_guard lock(mutex_);
    last = std::exchange(who_, {});
}

void instance_actor::crashed(std::string why) {
    (void)push_always([this, why = std::move(why)] { on_event(instance_event::crashed{why}); });
}

void instance_actor::go() {
    (void)push_always([this] { on_event(instance_event::go{}); });
}

void instance_actor::retire(std::function<void(live_instance&)> last_words) {
    (void)push_always([this, last_words = std::move(last_words)]() mutable {
        retired_ = true;
        last_words_ = std::move(last_words);
        on_event(instance_event::retired{});
    });
}

void instance_actor::on_stop() {
    retired_ = false;  // no more time for work under way
    on_event(instance_event::stop_asked{});
}

void instance_actor::on_event(any_instance_event e) {
    std::vector<any_instance_action> actions;
    machine_.on(e, actions);
    for (auto& a : actions) std::visit([this](auto& x) { perform(x); }, a);
}

milliseconds instance_actor::quiesce_time() const {
    return retired_ ? std::max(spec_.quiesce_timeout, std::min(spec_.drain_timeout, retired_quiesce)) : spec_.quiesce_timeout;
}

nanoseconds instance_actor::deadline_of(instance_step s) const {
    // A process that does not answer by the deadline is ended, and the step comes back: no thread is lost.
    const auto margin = spec_.isolation == isolation_mode::process ? isolation_margin : milliseconds(0);
    switch (s) {
        case instance_step::start: return spec_.start_timeout + margin;
        case instance_step::quiesce: return quiesce_time() + quiesce_margin + margin;
        case instance_step::stop: return spec_.stop_timeout + margin;
        case instance_step::revoke: return revoke_patience + revoke_margin;
        case instance_step::destroy: return destroy_patience;
        default: return spec_.init_timeout + margin;
    }
}

step_result instance_actor::verify_step(live_instance& inc) const {
    if (deps_.proven) {
        inc.verified = *deps_.proven;
        return {};
    }
    auto path = deps_.finder->find(spec_.use, spec_.base);
    if (!path) return {step_outcome::failed, "plugin '" + spec_.id + "': check 'file' failed: " + path.error().message, true};
    verify_request q;
    q.name = spec_.id;
    q.path = std::move(*path);
    q.sha256 = spec_.sha256;
    if (!deps_.instead_of.empty()) q.expected_id = deps_.instead_of;
    else if (spec_.use.find('/') == std::string::npos) q.expected_id = spec_.use;
    q.settings = &spec_.settings;
    q.validate = deps_.validate;
    auto v = verify(q);
    if (!v) return {step_outcome::failed, v.error().message, true};
    inc.verified = std::move(*v);
    return {};
}

control_lane::body instance_actor::body_of(instance_step s) {
    switch (s) {
        case instance_step::verify:
            // The actor outlives the step: `finished` is the last thing it hears. A lost step keeps it by the reference.
            return [inc = inc_, self = supervise::actor_ref::share(this), this] { return verify_step(*inc); };
        case instance_step::load: return [inc = inc_, files = deps_.files] { return inc->load(*files); };
        case instance_step::create: return [inc = inc_, text = dump(spec_.settings)] { return inc->create(text); };
        case instance_step::init: return [inc = inc_] { return inc->init(); };
        case instance_step::start:
            return [inc = inc_, hook = std::exchange(deps_.before_start, {})]() -> step_result {
                if (hook.run) {
                    const auto* b = inc->find(hook.ext);
                    if (b == nullptr) return {step_outcome::failed, "it does not offer " + hook.ext};
                    call_mark mark(inc->key());
                    if (auto ok = hook.run(b->at.table, b->at.self); !ok) return {step_outcome::failed, ok.error().message};
                }
                return inc->start();
            };
        case instance_step::quiesce: return [inc = inc_, time = quiesce_time()] { return inc->quiesce(time); };
        case instance_step::stop:
            return [inc = inc_, last_words = std::exchange(last_words_, {})] {
                if (last_words) last_words(*inc);
                return inc->stop();
            };
        case instance_step::revoke: return [inc = inc_] { return inc->revoke(revoke_patience); };
        case instance_step::destroy: return [inc = inc_] { return inc->destroy(); };
    }
    return [] { return step_result{}; };
}

void instance_actor::perform(instance_action::run& a) {
    auto lane = lane_;
    if (a.step == instance_step::create) start_workers();
    if (a.step == instance_step::revoke) {
        // The host's own part: it must also work when the plugin still sits in lane_.
        spare_lane_ = std::make_shared<control_lane>(rt(), "hf-revoke");
        lane = spare_lane_;
    }
    lane->run(body_of(a.step), deadline_of(a.step), [self = supervise::ref<instance_actor>::share(this), step = a.step](step_result r) {
        (void)self.tell_always([step, r = std::move(r)](instance_actor& me) {
            if (r.refused) me.refused_ = true;
            if (step == instance_step::verify && r.outcome == step_outcome::ok) me.deps_.owner->verified(me.serial_, me.inc_->verified);
            if (me.inc_ && step == (me.inc_->apart ? instance_step::destroy : instance_step::revoke))
                for (const auto& t : me.inc_->leaked_threads)
                    me.deps_.owner->warning("plugin '" + me.spec_.id + "' started a thread of its own that still runs: " + t +
                                            (me.inc_->apart ? "; it ended with its process" : "; the instance stays in memory"));
            me.on_event(instance_event::step_done{step, r.outcome, r.why});
        });
    });
}

void instance_actor::start_workers() {
    supervise::supervisor_options o;
    o.rules.how = spec_.supervision.how;
    o.rules.intensity = spec_.supervision.limit;
    o.rules.backoff = spec_.supervision.backoff;
    o.reports = [weak = supervise::ref<instance_actor>::share(this), reports = deps_.reports](const supervise::supervision_report& r) {
        if (reports) reports(r);
        // Its own end without our asking is an escalation; while we are on the way out the machine ignores it.
        if (r.kind == supervise::report_kind::shutdown && r.id.empty()) weak->crashed("its workers failed too often: " + r.reason.text());
    };
    auto started = supervise::supervisor::start(rt(), deps_.path, std::move(o), {});
    {
        std::lock_guard lock(mutex_);
        workers_ = started;
    }
    services_->set_workers(std::move(started));
}

void instance_actor::perform(instance_action::publish&) { deps_.owner->published(serial_, inc_); }
void instance_actor::perform(instance_action::withdraw&) { deps_.owner->withdrawn(*inc_); }
void instance_actor::perform(instance_action::end_calls& a) { inc_->end_calls(a.why); }

void instance_actor::perform(instance_action::await_leases& a) {
    auto self = supervise::ref<instance_actor>::share(this);
    inc_->on_leases_gone([self] { (void)self.tell_always([](instance_actor& me) { me.on_event(instance_event::leases_gone{}); }); });
    lease_deadline_ = tell_after(a.draining ? spec_.drain_timeout : lease_patience, [this] { on_event(instance_event::leases_late{}); });
}

void instance_actor::perform(instance_action::defer_destroy&) {
    deps_.owner->warning("plugin '" + spec_.id + "' has stopped, but the host still holds an interface of it; it is destroyed when that is released");
    inc_->on_leases_gone([inc = inc_, lane = lane_] {
        lane->run([inc] { return inc->destroy(); }, destroy_patience, [inc](step_result r) {
            if (r.outcome != step_outcome::ok) live_instance::bury(inc);
        });
    });
}

void instance_actor::perform(instance_action::abandon&) { live_instance::bury(inc_); }

void instance_actor::perform(instance_action::moved& a) {
    {
        std::lock_guard lock(mutex_);
        phase_ = a.to;
    }
    deps_.owner->moved(serial_, a.to, a.reason);
}

void instance_actor::perform(instance_action::finished& a) {
    using supervise::exit_kind;
    if (spec_.unload && !a.hang && inc_->gen) {
        auto g = inc_->gen;
        forget();
        lane_->run([g, files = deps_.files, owner = deps_.owner]() -> step_result {
            if (auto gone = files->unload(g); !gone) owner->warning("not unloaded: " + gone.error().message);
            return {};
        }, destroy_patience, [](step_result) {});
    }
    supervise::exit_reason reason{exit_kind::error, 0, a.why};
    if (a.asked) reason = {exit_kind::shutdown, 0, {}};
    else if (a.hang) reason = {exit_kind::hang, 0, a.why};
    else if (!a.was_ready) reason = {exit_kind::start_failure, refused_ ? code_refused : 0, a.why};
    reported_ = true;
    deps_.owner->ended(serial_, a, refused_, [place = place_, serial = serial_, reason] { place->left(serial, reason); });
    exit(reason.kind == exit_kind::shutdown ? reason : supervise::exit_reason{exit_kind::normal, 0, {}});
}

void instance_actor::on_exit(const supervise::exit_reason& why) noexcept {
    try {
        if (!reported_) {  // a defect of the host: an exception in a turn. The incarnation may be in any state: never touch it again.
            live_instance::bury(inc_);
            deps_.owner->withdrawn(*inc_);
            inc_->end_calls(why.text());
            deps_.owner->ended(serial_, {true, false, false, why.text()}, false,
                               [place = place_, serial = serial_, text = why.text()] { place->left(serial, {supervise::exit_kind::error, 0, text}); });
        }
    } catch (...) {  // out of memory on the last metres
    }
    forget();
}

/// Lets go of everything that knows this actor.
void instance_actor::forget() noexcept {
    crash_->close();
    inc_.reset();
    lease_deadline_.cancel();
    std::shared_ptr<services> host;  // all destroyed outside the lock
    std::shared_ptr<isolation::proxy> apart;
    supervise::ref<supervise::supervisor> workers;
    std::lock_guard lock(mutex_);
    host = std::move(services_);
    apart = std::move(apart_);
    workers = std::exchange(workers_, {});
}

// ---- what the supervisor sees

bool instance_child::enter(supervise::ref<instance_actor> who, bool serving) {
    std::lock_guard lock(mutex_);
    if (stopping_ || ended_) return false;
    if (serving) serving_ = who->serial();
    all_.push_back(std::move(who));
    return true;
}

void instance_child::serve(std::uint64_t serial) {
    std::lock_guard lock(mutex_);
    serving_ = serial;
}

void instance_child::left(std::uint64_t serial, supervise::exit_reason why) {
    std::vector<supervise::ref<instance_actor>> rest;  // told, and released, outside the lock
    bool last = false;
    {
        std::lock_guard lock(mutex_);
        auto it = std::find_if(all_.begin(), all_.end(), [&](const auto& who) { return who->serial() == serial; });
        if (it == all_.end()) return;
        rest.push_back(std::move(*it));
        all_.erase(it);
        if (serial == serving_) ended_ = why;
        if (ended_) rest.insert(rest.end(), all_.begin(), all_.end());
        if (ended_) why = *ended_;
        last = all_.empty();
    }
    for (std::size_t i = 1; i < rest.size(); ++i) rest[i]->request_stop();
    if (last) ctx_.exited(why);
}

std::size_t instance_child::others() const {
    std::lock_guard lock(mutex_);
    return all_.empty() ? 0 : all_.size() - 1;
}

std::vector<supervise::ref<instance_actor>> instance_child::all() const {
    std::lock_guard lock(mutex_);
    return all_;
}

void instance_child::stop() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    for (const auto& who : all()) who->request_stop();
}

void instance_child::kill() {
    for (const auto& who : all()) (void)who.tell_always([](instance_actor& a) { a.on_event(instance_event::kill{}); });
}

void instance_child::describe(json& node) const {
    std::uint64_t serving = 0;
    {
        std::lock_guard lock(mutex_);
        serving = serving_;
    }
    json others = json::array();
    for (const auto& who : all()) {
        if (who->serial() == serving) {
            who->describe(node);
        } else {
            json other{{"id", ctx_.id() + "#" + std::to_string(who->serial())}, {"kind", "generation"}};
            who->describe(other);
            other["state"] = other["phase"];
            others.push_back(std::move(other));
        }
    }
    for (json& other : others) node["children"].push_back(std::move(other));
}

void instance_actor::describe(json& node) const {
    supervise::ref<supervise::supervisor> workers;
    std::shared_ptr<services> host;
    std::shared_ptr<isolation::proxy> apart;
    {
        std::lock_guard lock(mutex_);
        node["phase"] = std::string(to_string(phase_));
        workers = workers_;
        host = services_;
        apart = apart_;
    }
    node["use"] = spec_.use;
    node["strategy"] = std::string(supervise::to_string(spec_.supervision.how));
    node["children"] = workers ? workers->tree()["children"] : json::array();
    if (apart) node["process"] = apart->describe();
    if (!host) return;
    node["holds"] = host->describe();
    for (json& process : host->process_nodes()) node["children"].push_back(std::move(process));
}

}  // namespace holdfast::plugins::detail
