// One attempt and one connection of a server: transport in, client_machine between, status out.
#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {
constexpr seconds leaving_slack{2};      // a transport that does not report the end in time is not waited for
constexpr milliseconds machine_slop{1};
}  // namespace

void server_actor::connect(std::uint32_t number) {
    if (!status_.state.attempting || stopping_ || connection_) return;  // decided otherwise meanwhile
    if (leaving_ != 0 && !spec_->http) {
        connect_waits_ = true;  // the old process may still hold files and ports
        return;
    }
    connect_waits_ = false;
    attempt_began_ = now();
    if (auto ok = prepare_policies(); !ok) return attempt_failed(ok.error());
    auto p = breaker_->ask(now());
    if (!p) return attempt_failed(p.error());
    if (!p->granted) {
        server_log(false, "attempt " + std::to_string(number) + " is put off: the breaker is open");
        return feed_status(ev::refused{p->retry_after});
    }
    attempt_permit_ = p->generation;
    open_transport();
}

result<void> server_actor::prepare_policies() {
    const auto& o = context_->options;
    const std::uint64_t seed = o.random_seed ? o.random_seed + record_->ordinal : supervise::random_seed();
    if (!breaker_) breaker_ = std::make_unique<breaker_policy>(o.breaker, spec_->breaker_use, spec_->breaker, seed);
    if (!health_) health_ = std::make_unique<health_policy>(o.health, spec_->health_use, spec_->health, seed);
    if (auto ok = breaker_->ensure(now()); !ok) return ok;
    return health_->ensure(now());
}

void server_actor::open_transport() {
    const auto& o = context_->options;
    auto transport = o.transport ? o.transport(spec_->transport)
                                 : result<plugins::bound<hf_transport>>(fail(errc::unavailable, "the host has no transports"));
    if (!transport)
        return attempt_failed({errc::unavailable, "the transport plugin '" + spec_->transport + "' is not available: " + transport.error().message});
    mcp::client_options options;
    options.http = spec_->http;
    options.known = record_->known_era;
    options.client_info = o.client_info;
    options.roots = spec_->roots.is_array() ? spec_->roots : o.roots;
    options.limits.probe_timeout = spec_->probe_timeout;
    options.limits.idle_timeout = spec_->idle_timeout;
    machine_.emplace(std::move(options));
    machine_armed_.reset();
    pid_.reset();
    ++record_->starts;
    // Reports may come before open() returns; they queue behind this turn.
    auto self = supervise::ref<server_actor>::share(this);
    auto opened = connection::open(std::move(*transport), spec_->connection, spec_->stop_grace,
                                   [self](std::uint64_t conn, transport_report r) {
                                       (void)self.tell_always([conn, r = std::move(r)](server_actor& a) mutable { a.on_report(conn, std::move(r)); });
                                   });
    if (!opened) return attempt_failed(opened.error());
    connection_ = std::move(*opened);
    connect_timer_ = tell_after(spec_->connect_timeout, [this] {
        if (!status_.state.attempting || !connection_) return;
        std::string why = "not ready within " + std::to_string(spec_->connect_timeout.count()) + " ms (" + std::string(machine_ ? machine_->phase() : "opening") + ")";
        if (machine_ && machine_->counters().garbage > 0) why += "; it printed something that is no JSON-RPC: see its log";
        attempt_failed({errc::timeout, std::move(why)});
    });
}

void server_actor::attempt_failed(error why) {
    connect_timer_.cancel();
    if (attempt_permit_ && breaker_) breaker_->report(*attempt_permit_, HF_OUTCOME_FAILURE, now() - attempt_began_, now());
    attempt_permit_.reset();
    if (mcp::era::legacy == record_->known_era) record_->known_era = mcp::era::unknown;  // the assumption may be what failed
    server_log(true, "connection attempt failed: " + why.message);
    feed_status(ev::attempt_failed{std::string(to_string(why.code)) + ": " + why.message});
}

void server_actor::close_connection(const error& why) {
    connect_timer_.cancel();
    health_timer_.cancel();
    probe_ = 0;
    connect_waits_ = false;
    if (attempt_permit_ && breaker_) breaker_->report(*attempt_permit_, HF_OUTCOME_DROPPED, nanoseconds(0), now());
    attempt_permit_.reset();
    pid_.reset();
    part_.reset();
    if (machine_ && !machine_->is_over()) feed(mcp::in::closed{why});  // pending calls fail now, not at their own timeout
    if (!connection_) return;
    leaving_ = connection_->id();
    connection_.reset();
    leaving_timer_ = tell_after(spec_->stop_grace + leaving_slack, [this] { left(); });
}

void server_actor::left() {
    leaving_ = 0;
    leaving_timer_.cancel();
    auto waiting = std::move(ending_);
    ending_.clear();
    for (auto& w : waiting) w(row());
    if (stopping_) return exit({supervise::exit_kind::shutdown, 0, {}});
    if (connect_waits_) connect(status_.state.failures + 1);
}

void server_actor::on_report(std::uint64_t conn, transport_report r) {
    if (auto* l = std::get_if<heard::log>(&r)) return record_->add_log(std::move(l->line));  // last words count too
    if (conn == leaving_) {
        if (!std::get_if<heard::closed>(&r)) return;
        return left();
    }
    if (!connection_ || conn != connection_->id() || stopping_) return;  // of a connection before
    if (auto* m = std::get_if<heard::message>(&r)) {
        connection_->consumed(m->text.size());
        feed(mcp::in::message{std::move(m->text)});
    } else if (auto* o = std::get_if<heard::opened>(&r)) {
        if (const auto pid = int_or(o->info, "pid", 0); pid > 0) pid_ = pid;
        publish();
        feed(mcp::in::opened{});
    } else if (auto* f = std::get_if<heard::request_failed>(&r)) {
        feed(mcp::in::request_failed{std::move(f->id), std::move(f->why), f->peer_status});
    } else if (std::get_if<heard::flooded>(&r)) {
        lost({errc::protocol_error, "it sends faster than its messages can be read"});
    } else {
        auto& c = std::get<heard::closed>(r);
        // The transport is done with it: there is nothing left to close and nothing to wait for.
        connection_.reset();
        lost(c.by_us ? error{errc::transport_lost, "the transport closed the connection"} : c.why);
    }
}

void server_actor::lost(const error& why) {
    if (status_.state.attempting) return attempt_failed(why);
    server_log(true, "lost: " + why.message);
    feed_status(ev::lost{std::string(to_string(why.code)) + ": " + why.message});
}

void server_actor::on_ready(mcp::out::ready r) {
    if (!status_.state.attempting) return;
    const std::size_t tools = r.lists->tools.size();
    // H3: it answers, but is it the server it was?
    if (tools == 0 && record_->last_tools > 0)
        return attempt_failed({errc::protocol_error, "it came back with 0 tools where there were " + std::to_string(record_->last_tools) +
                                                         "; restart it by hand if that is intended"});
    connect_timer_.cancel();
    if (record_->last_tools != 0 && tools != record_->last_tools)
        server_log(false, "it came back with " + std::to_string(tools) + " tools, before: " + std::to_string(record_->last_tools));
    record_->last_tools = tools;
    record_->known_era = r.who.detected;
    if (attempt_permit_) breaker_->report(*attempt_permit_, HF_OUTCOME_SUCCESS, now() - attempt_began_, now());
    attempt_permit_.reset();
    health_->reset(now());
    observe(true, true, HF_FAULT_NONE, now() - attempt_began_);
    last_check_ = rt().clock().wall();
    part_ = make_part(record_->name, *r.lists);
    feed_status(ev::attempt_ok{});
    if (status_.state.now != status::healthy) return;
    record_->set_part(part_);
    context_->catalogue_changed();
    publish();
    follow_verdict();
}

/// The machine's actions may lead back here (a failed send); those events wait until the actions before them are done.
void server_actor::feed(mcp::client_event e) {
    if (!machine_) return;
    std::vector<mcp::client_action> actions;
    machine_->on(std::move(e), now(), actions);
    for (auto& a : actions) perform(a);
    arm_machine();
}

void server_actor::perform(mcp::client_action& action) {
    if (auto* s = std::get_if<mcp::out::send>(&action)) {
        if (!connection_) return;
        auto sent = connection_->send(s->text);
        if (sent || s->request_id.empty()) return;
        auto self = supervise::ref<server_actor>::share(this);
        (void)self.tell_always([conn = connection_->id(), id = s->request_id, why = sent.error()](server_actor& a) {
            if (a.connection_ && a.connection_->id() == conn) a.feed(mcp::in::send_failed{id, why});
        });
    } else if (auto* ab = std::get_if<mcp::out::abandon>(&action)) {
        if (connection_) connection_->abandon(ab->request_id);
    } else if (auto* r = std::get_if<mcp::out::ready>(&action)) {
        on_ready(std::move(*r));
    } else if (auto* c = std::get_if<mcp::out::lists_changed>(&action)) {
        if (status_.state.now != status::healthy) return;
        part_ = make_part(record_->name, *c->lists);
        record_->last_tools = c->lists->tools.size();
        record_->set_part(part_);
        context_->catalogue_changed();
        publish();
    } else if (auto* f = std::get_if<mcp::out::failed>(&action)) {
        lost(f->why);
    } else if (auto* d = std::get_if<mcp::out::done>(&action)) {
        on_done(std::move(*d));
    } else if (auto* p = std::get_if<mcp::out::progress>(&action)) {
        auto it = calls_.find(p->id);
        if (it != calls_.end() && it->second->events.progress) it->second->events.progress(std::move(p->value));
    } else if (auto* i = std::get_if<mcp::out::input>(&action)) {
        on_input(std::move(*i));
    } else if (auto* pr = std::get_if<mcp::out::probed>(&action)) {
        on_probed(*pr);
    } else if (auto* l = std::get_if<mcp::out::log>(&action)) {
        server_log(l->warning, l->line);
    }
}

void server_actor::arm_machine() {
    if (!machine_) return;
    const auto at = machine_->next_deadline();
    if (!at) return;
    if (machine_armed_ && *machine_armed_ <= *at && machine_timer_.pending()) return;  // fires early, looks, and is armed again
    machine_armed_ = *at;
    machine_timer_ = tell_after(std::max(*at - now(), nanoseconds(machine_slop)), [this] {
        machine_armed_.reset();
        feed(mcp::in::tick{});
    });
}

void server_actor::server_log(bool warning, const std::string& line) {
    record_->add_log("[host] " + line);
    context_->report.log(warning ? log_level::warn : log_level::debug, record_->name, line);
}

}  // namespace holdfast::servers
