#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {
constexpr milliseconds load_timeout{5'000};
constexpr milliseconds persist_timeout{10'000};
constexpr seconds persist_retry{30};
constexpr seconds close_slack{2};   // beyond the transport's own grace
constexpr std::size_t max_waiting = 64;
}  // namespace

server_actor::server_actor(supervise::runtime& rt, std::shared_ptr<server_record> record, std::shared_ptr<server_context> context)
    : actor(rt, 16'384),
      record_(std::move(record)),
      context_(std::move(context)),
      spec_(record_->spec()),
      random_(context_->options.random_seed ? context_->options.random_seed + record_->ordinal : supervise::random_seed()),
      status_(spec_->rules, random_) {}

server_actor::~server_actor() = default;

void server_actor::on_start() {
    if (record_->loaded) {
        // A replacement after a crash of this actor: the status goes on from where it was.
        status_.state = record_->state;
        const bool was_healthy = status_.state.now == status::healthy;
        if (status_.state.begun) {
            begun_ = true;
            if (status_.state.attempting) feed_status(ev::attempt_failed{"the server's actor was restarted"});
            else if (was_healthy) feed_status(ev::lost{"the server's actor was restarted"});
            else arm_status();
            publish();
            return;
        }
    }
    load();
}

void server_actor::load() {
    const auto& store = context_->options.store;
    if (!store || record_->loaded) return begin();
    publish();
    auto self = supervise::ref<server_actor>::share(this);
    store->submit("get", {{"table", "mcp_servers"}, {"key", record_->name}}, load_timeout, {}, [self](result<json> r) {
        (void)self.tell_always([r = std::move(r)](server_actor& a) {
            if (r) {
                restore(a.status_.state, member(*r, "value"));
            } else {
                a.context_->report.log(log_level::error, a.record_->name, "its stored status cannot be read: " + r.error().message);
                a.context_->report.notify_admins("warning", "the status of " + a.record_->name + " before the restart is unknown: " + r.error().message,
                                                 {{"mcp_name", a.record_->name}});
            }
            a.begin();
        });
    });
}

void server_actor::begin() {
    if (begun_ || stopping_) return;
    begun_ = true;
    record_->loaded = true;
    if (!spec_->enabled && status_.state.disabled == disabled_by::nobody) {
        status_.state.disabled = disabled_by::person;
        status_.state.reason = "disabled in the configuration";
    }
    feed_status(ev::begin{});
}

void server_actor::feed_status(const status_event& e) {
    std::vector<status_action> actions;
    status_.on(e, now(), actions);
    record_->state = status_.state;
    for (const auto& a : actions) perform(a);
    arm_status();
    publish();
    answer_waiting();
}

void server_actor::perform(const status_action& action) {
    auto& report = context_->report;
    const std::string& name = record_->name;
    if (auto* c = std::get_if<act::connect>(&action)) {
        // As a message of its own: an attempt that fails at once must not recurse into the machine that asked for it.
        auto self = supervise::ref<server_actor>::share(this);
        (void)self.tell_always([n = c->number](server_actor& a) { a.connect(n); });
    } else if (std::get_if<act::close>(&action)) {
        close_connection({errc::transport_lost, status_.state.reason});
    } else if (auto* ch = std::get_if<act::changed>(&action)) {
        report.status_changed(name, ch->from, ch->to, ch->reason, ch->eta);
        if (ch->to == status::healthy) count(&server_figures::started);
        if (ch->to == status::disabled && status_.state.disabled != disabled_by::automatic) count(&server_figures::stopped);
        if (ch->to == status::disabled) end_move({errc::transport_lost, status_.state.reason});
        if (ch->to != status::healthy) {
            if (record_->set_part(nullptr)) context_->catalogue_changed();
            health_timer_.cancel();
        }
        // The evidence was about a connection that is gone; the recovery schedule decides from here. And a probe that took longer than
        // the breaker stays half open found it open again, where its success is not heard: healthy means that calls pass.
        const bool fresh = ch->from == status::healthy || ch->from == status::disabled || ch->to == status::healthy;
        if (breaker_ && fresh) breaker_->force_closed(now());
    } else if (auto* h = std::get_if<act::health>(&action)) {
        report.health(name, h->event, h->detail, status_.state.now);
    } else if (auto* p = std::get_if<act::progress>(&action)) {
        report.progress(name, p->attempt, p->max, p->next_in, status_.state.now);
    } else if (auto* o = std::get_if<act::opened>(&action)) {
        report.circuit_opened(name, o->reason, o->eta);
    } else if (auto* d = std::get_if<act::auto_disabled>(&action)) {
        report.critical(d->reason, {name});
        report.notify_admins("critical", name + " was disabled: " + d->reason, {{"mcp_name", name}, {"next_step", "server.enable"}});
    } else {
        persist();
    }
}

void server_actor::arm_status() {
    const auto at = status_.next_deadline();
    if (!at || stopping_) return status_timer_.cancel();
    status_timer_ = tell_after(std::max(*at - now(), nanoseconds(0)), [this] { feed_status(ev::tick{}); });
}

/// One write at a time, the newest row wins: order in the store is the order of the statuses.
void server_actor::persist() {
    const auto& store = context_->options.store;
    if (!store) return;
    persist_timer_.cancel();
    if (persisting_) {
        persist_again_ = true;
        return;
    }
    persisting_ = true;
    auto self = supervise::ref<server_actor>::share(this);
    json value = to_row(status_.state, now(), rt().clock().wall());
    value["era"] = mcp::to_string(record_->known_era);
    store->submit("put", {{"table", "mcp_servers"}, {"key", record_->name}, {"value", std::move(value)}}, persist_timeout, {},
                  [self](result<json> r) {
                      (void)self.tell_always([failed = !r, why = r ? std::string() : r.error().message](server_actor& a) {
                          a.persisting_ = false;
                          const bool again = std::exchange(a.persist_again_, false);
                          if (failed && !std::exchange(a.unstored_, true))
                              a.context_->report.log(log_level::error, a.record_->name, "its status is not stored, it is written again until it is: " + why);
                          if (failed) {
                              a.persist_timer_ = a.tell_after(persist_retry, [&a] { a.persist(); });
                              return;
                          }
                          a.unstored_ = false;
                          if (again) a.persist();
                      });
                  });
}

void server_actor::publish() {
    auto s = std::make_shared<server_snapshot>();
    s->name = record_->name;
    s->transport = spec_->transport;
    if (link_ && link_->machine.is_ready()) {
        const auto& who = link_->machine.identity();
        s->era = mcp::to_string(who.detected);
        s->protocol_version = who.version;
        s->server_info = who.info;
    } else {
        s->era = mcp::to_string(record_->known_era);
    }
    if (link_) {
        s->pid = link_->pid;
        const auto& c = link_->machine.counters();
        s->protocol = {{"received", c.received}, {"sent", c.sent}, {"garbage", c.garbage}, {"foreign", c.foreign},
                       {"repeated", c.repeated}, {"late", c.late}, {"misplaced", c.misplaced}, {"excluded_tools", c.excluded_tools}};
    }
    s->state = status_.state;
    if (part_ && status_.state.now == status::healthy) {
        s->tools = part_->tools.size();
        s->prompts = part_->prompts.size();
        s->resources = part_->resources.size();
    }
    const auto wall = rt().clock().wall();
    s->since = wall - std::chrono::duration_cast<wall_time::duration>(
                          status_.state.since == steady_time{} ? nanoseconds(0) : now() - status_.state.since);
    s->last_check = last_check_;
    s->breaker = {{"use", spec_->breaker_use}};
    if (breaker_)
        if (auto b = breaker_->state(now())) {
            s->breaker["state"] = breaker_name(b->state);
            s->breaker["consecutive_failures"] = b->consecutive_failures;
            s->breaker["open_count"] = b->open_count;
            s->breaker["calls"] = b->calls;
            s->breaker["failures"] = b->failures;
            s->breaker["rejected"] = b->rejected;
        }
    s->health = {{"use", spec_->health_use}, {"state", health_name(verdict_.state)}, {"score", verdict_.score}, {"reason", verdict_.reason}};
    s->starts = record_->starts;
    record_->publish(std::move(s));
}

result<json> server_actor::row() const {
    const auto s = record_->snapshot();
    if (!s) return fail(errc::unavailable, "the server has not started yet");
    return record_row(*record_, rt());
}

/// start, restart and enable reply once the attempt has ended one way or the other.
void server_actor::answer_waiting() {
    if (status_.state.attempting || starting_.empty()) return;
    auto waiting = std::move(starting_);
    starting_.clear();
    for (auto& w : waiting) w(row());
}

void server_actor::obey(command c, supervise::reply<json> done) {
    if (stopping_) return done(fail(errc::unavailable, "the server is being stopped with the host"));
    status_event e = ev::start{};
    switch (c) {
        case command::start: e = ev::start{}; break;
        case command::stop: e = ev::stop{}; break;
        case command::restart: e = ev::restart{"restarted by a person"}; break;
        case command::enable: e = ev::enable{}; break;
        case command::disable: e = ev::disable{}; break;
    }
    const auto& s = status_.state;
    if ((c == command::start || c == command::restart) && s.begun && s.now == status::disabled && s.disabled != disabled_by::stopped)
        return done(fail(errc::unavailable, "'" + record_->name + "' is disabled (" + s.reason + "); enable it first"));
    if (starting_.size() >= max_waiting) return done(fail(errc::overloaded, "too many are waiting for this server to start"));
    if (c != command::stop && c != command::disable) record_->last_tools = 0;  // a person decided: no comparison with before
    if (c == command::restart) end_move({errc::transport_lost, "restarted by a person"});
    feed_status(e);
    if (c == command::disable) persist();
    if (status_.state.attempting)
        starting_.push_back(std::move(done));
    else if ((c == command::stop || c == command::disable) && !leaving_.empty() && ending_.size() < max_waiting)
        ending_.push_back(std::move(done));
    else
        done(row());
}

void server_actor::on_stop() {
    if (std::exchange(stopping_, true)) return;
    if (status_.state.now == status::healthy) count(&server_figures::stopped);
    status_timer_.cancel();
    health_timer_.cancel();
    if (record_->set_part(nullptr)) context_->catalogue_changed();
    end_move({errc::cancelled, "the host stops this server"});
    close_connection({errc::cancelled, "the host stops this server"});
    if (leaving_.empty()) return exit({supervise::exit_kind::shutdown, 0, {}});
    stop_timer_ = tell_after(spec_->stop_grace + close_slack, [this] { exit({supervise::exit_kind::shutdown, 0, {}}); });
}

void server_actor::on_exit(const supervise::exit_reason&) noexcept {
    record_->state = status_.state;
    for (auto* t : {&status_timer_, &health_timer_, &connect_timer_, &move_timer_, &pool_timer_, &stop_timer_, &persist_timer_}) t->cancel();
    link_.reset();
    next_.reset();
    draining_.clear();
    pool_.reset();
    pooled_.clear();
    pool_waiting_.clear();
    move_permit_.reset();
    leaving_.clear();
    held_.clear();
    calls_.clear();  // each job tells its caller
    starting_.clear();
    ending_.clear();
    note_load();
    record_->set_pool({});
    if (record_->set_part(nullptr)) context_->catalogue_changed();
    if (auto a = record_->actor(); a.get() == this) record_->set_actor({});
}

}  // namespace holdfast::servers
