// One attempt and one connection of a server: transport in, client_machine between, status out.
#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {
constexpr seconds leaving_slack{2};      // a transport that does not report the end in time is not waited for
constexpr milliseconds machine_slop{1};
}  // namespace

void server_actor::connect(std::uint32_t number) {
    if (!status_.state.attempting || stopping_ || (link_ && link_->wire)) return;  // decided otherwise meanwhile
    if (!leaving_.empty() && !spec_->http && !next_) {
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
    if (next_) {  // it was on its way when the first was lost
        adopt_next();
    } else {
        auto transport = resolve_transport(*spec_);
        if (!transport) return attempt_failed(transport.error());
        if (++record_->starts > 1) count(&server_figures::restarted);
        auto opened = open_link(std::move(*transport), spec_);
        if (!opened) return attempt_failed(opened.error());
        link_ = std::move(*opened);
    }
    connect_timer_ = tell_after(spec_->connect_timeout, [this] {
        if (status_.state.attempting && link_ && link_->wire) attempt_failed(not_ready(*link_));
    });
}

result<plugins::bound<hf_transport>> server_actor::resolve_transport(const server_spec& spec) const {
    const auto& resolve = context_->options.transport;
    if (!resolve) return fail(errc::unavailable, "the host has no transports");
    auto transport = resolve(spec.transport);
    if (!transport)
        return fail(errc::unavailable, "the transport plugin '" + spec.transport + "' is not available: " + transport.error().message);
    return transport;
}

result<std::shared_ptr<link>> server_actor::open_link(plugins::bound<hf_transport> transport, shared_spec spec, role r) {
    const auto& o = context_->options;
    mcp::client_options options;
    options.http = spec->http;
    options.known = record_->known_era;
    options.client_info = o.client_info;
    options.roots = roots(*spec);
    // One for calls alone follows no wish and hears of no change, so it may not answer from memory.
    if (r == role::whole) options.watched = record_->watched();
    else options.limits.max_cached_reads = 0;
    options.log_level = context_->notices.log_level();
    options.limits.probe_timeout = spec->probe_timeout;
    options.limits.idle_timeout = spec->idle_timeout;
    auto l = std::make_shared<link>(std::move(options), spec);
    l->table = transport.table;
    l->instance = transport.self;
    // Reports may come before open() returns; they queue behind this turn.
    auto self = supervise::ref<server_actor>::share(this);
    auto opened = connection::open(std::move(transport), spec->connection, spec->stop_grace,
                                   [self](std::uint64_t conn, transport_report report) {
                                       (void)self.tell_always([conn, r = std::move(report)](server_actor& a) mutable { a.on_report(conn, std::move(r)); });
                                   });
    if (!opened) return tl::unexpected(opened.error());
    l->wire = std::move(*opened);
    l->id = l->wire->id();
    return l;
}

void server_actor::attempt_failed(error why) {
    connect_timer_.cancel();
    if (attempt_permit_ && breaker_) breaker_->report(*attempt_permit_, HF_OUTCOME_FAILURE, now() - attempt_began_, now());
    attempt_permit_.reset();
    if (mcp::era::legacy == record_->known_era) record_->known_era = mcp::era::unknown;  // the assumption may be what failed
    count(&server_figures::failed);
    server_log(true, "connection attempt failed: " + why.message);
    feed_status(ev::attempt_failed{std::string(to_string(why.code)) + ": " + why.message});
}

error server_actor::not_ready(const link& l) const {
    const std::string where = l.greeting != 0 ? "health.init_message is not answered" : l.welcome ? "its tools could not be read again" : std::string(l.machine.phase());
    std::string why = "not ready within " + std::to_string(spec_->connect_timeout.count()) + " ms (" + where + ")";
    if (l.machine.counters().garbage > 0) why += "; it printed something that is no JSON-RPC: see its log";
    return {errc::timeout, std::move(why)};
}

void server_actor::close_connection(const error& why) {
    connect_timer_.cancel();
    health_timer_.cancel();
    probe_ = 0;
    connect_waits_ = false;
    if (attempt_permit_ && breaker_) breaker_->report(*attempt_permit_, HF_OUTCOME_DROPPED, nanoseconds(0), now());
    attempt_permit_.reset();
    part_.reset();
    end_pool(why);
    refuse_held(why);  // first: the end of the last call must not look like the moment to restart
    if (link_) close_link(link_, why);
}

void server_actor::close_link(std::shared_ptr<link> l, const error& why) {
    l->pid.reset();
    if (!l->machine.is_over()) feed(l, mcp::in::closed{why});  // pending calls fail now, not at their own timeout
    if (!l->wire) return;
    l->wire.reset();
    leaving_.insert_or_assign(l->id, tell_after(spec_->stop_grace + leaving_slack, [this, conn = l->id] { left(conn); }));
}

void server_actor::left(std::uint64_t conn) {
    if (leaving_.erase(conn) == 0 || !leaving_.empty()) return;
    auto waiting = std::move(ending_);
    ending_.clear();
    for (auto& w : waiting) w(row());
    if (stopping_) return exit({supervise::exit_kind::shutdown, 0, {}});
    if (holding_ && !link_ && !next_) return open_next();
    if (connect_waits_) connect(status_.state.failures + 1);
}

std::shared_ptr<link> server_actor::find_link(std::uint64_t conn) const {
    if (link_ && link_->id == conn) return link_;
    if (next_ && next_->id == conn) return next_;
    for (const auto& l : draining_)
        if (l->id == conn) return l;
    for (const auto& [number, l] : pooled_)
        if (l->id == conn) return l;
    return nullptr;
}

void server_actor::on_report(std::uint64_t conn, transport_report r) {
    if (auto* l = std::get_if<heard::log>(&r)) return record_->add_log(std::move(l->line));  // last words count too
    if (leaving_.contains(conn)) {
        if (std::get_if<heard::closed>(&r)) left(conn);
        return;
    }
    const auto l = find_link(conn);
    if (!l || !l->wire || stopping_) return;  // of a connection before
    if (auto* m = std::get_if<heard::message>(&r)) {
        l->wire->consumed(m->text.size());
        feed(l, mcp::in::message{std::move(m->text)});
    } else if (auto* o = std::get_if<heard::opened>(&r)) {
        if (const auto pid = int_or(o->info, "pid", 0); pid > 0) l->pid = pid;
        publish();
        feed(l, mcp::in::opened{});
    } else if (auto* f = std::get_if<heard::request_failed>(&r)) {
        feed(l, mcp::in::request_failed{std::move(f->id), std::move(f->why), f->peer_status});
    } else if (std::get_if<heard::flooded>(&r)) {
        link_lost(*l, {errc::protocol_error, "it sends faster than its messages can be read"});
    } else {
        auto& c = std::get<heard::closed>(r);
        // The transport is done with it: there is nothing left to close and nothing to wait for.
        l->wire.reset();
        // A transport says HF_E_PEER when the other side ended in order. For calls under way it is a loss all the same.
        l->ended_normally = !c.by_us && c.why.code == errc::server_error;
        if (l->ended_normally) c.why.code = errc::transport_lost;
        link_lost(*l, c.by_us ? error{errc::transport_lost, "the transport closed the connection"} : c.why);
    }
}

void server_actor::link_lost(link& l, const error& why) {
    if (&l == link_.get()) return lost(why);
    if (&l == next_.get()) return move_failed(why);
    if (!pool_link_lost(l, why)) drained(l, why);
}

void server_actor::lost(const error& why, std::optional<loss> how) {
    if (status_.state.attempting) return attempt_failed(why);
    count(&server_figures::failed);
    server_log(true, "lost: " + why.message);
    if (!how) how = link_ && link_->ended_normally ? loss::exit : why.code == errc::timeout ? loss::hang : loss::crash;
    feed_status(ev::lost{std::string(to_string(why.code)) + ": " + why.message, *how});
}

std::optional<error> server_actor::doubt(const mcp::out::ready& r) const {
    if (!r.lists->tools.empty() || record_->last_tools == 0) return {};
    return error{errc::protocol_error, "it came back with 0 tools where there were " + std::to_string(record_->last_tools) +
                                           "; restart it by hand if that is intended"};
}

/// The protocol is ready; whether the server is, the answer to its init message says.
void server_actor::greet(link& l, mcp::out::ready r) {
    l.welcome = std::move(r);
    l.greeting = next_probe_++;
    feed(find_link(l.id), mcp::in::probe{l.greeting, l.spec->connect_timeout, l.spec->init.request});
}

void server_actor::on_greeted(link& l, const mcp::out::probed& p) {
    if (l.machine.is_over()) return;  // that is told by itself
    l.greeting = 0;
    auto ok = p.outcome ? p.outcome->is_null() ? result<void>(fail(errc::protocol_error, "the server does not know the method")) : l.spec->init.judge(*p.outcome)
                        : result<void>(tl::unexpected(p.outcome.error()));
    if (!ok) return link_lost(l, {ok.error().code, "health.init_message: " + ok.error().message});
    l.greeted = true;  // the turn ends with settle()
}

/// What a greeted connection offers is judged when it is known: its tools may have come with the greeting.
void server_actor::settle(link& l) {
    if (!l.greeted || !l.welcome || !l.wire || l.machine.is_over()) return;
    if (!pool_number(l) && doubt(*l.welcome)) {
        if (!std::exchange(l.looked_again, true)) return feed(find_link(l.id), mcp::in::refresh{});  // leads back here
        if (l.machine.is_reading_tools()) return;
    }
    mcp::out::ready r = std::move(*l.welcome);
    l.welcome.reset();
    on_ready(l, std::move(r));
}

void server_actor::on_ready(link& l, mcp::out::ready r) {
    if (l.spec->init && !l.greeted) return greet(l, std::move(r));
    if (&l == next_.get()) return on_next_ready(std::move(r));
    if (pool_link_ready(l)) return;
    if (&l != link_.get() || !status_.state.attempting) return;
    if (auto wrong = doubt(r)) return attempt_failed(*wrong);
    connect_timer_.cancel();
    move_failures_ = 0;
    if (attempt_permit_) breaker_->report(*attempt_permit_, HF_OUTCOME_SUCCESS, now() - attempt_began_, now());
    attempt_permit_.reset();
    accept(r, now() - attempt_began_);
    feed_status(ev::attempt_ok{});
    if (status_.state.now != status::healthy) return;
    record_->set_part(part_);
    context_->catalogue_changed();
    publish();
    follow_verdict();
    consider_move();  // an attempt that began before its transport was replaced has ended on the old generation
}

/// What the connection offers is what the server offers from now on.
void server_actor::accept(const mcp::out::ready& r, nanoseconds took) {
    const std::size_t tools = r.lists->tools.size();
    if (record_->last_tools != 0 && tools != record_->last_tools)
        server_log(false, "it came back with " + std::to_string(tools) + " tools, before: " + std::to_string(record_->last_tools));
    record_->last_tools = tools;
    record_->known_era = r.who.detected;
    health_->reset(now());
    observe(true, true, HF_FAULT_NONE, took);
    last_check_ = rt().clock().wall();
    part_ = make_part(record_->name, *r.lists);
}

/// The machine's actions may lead back here (a failed send); those events wait until the actions before them are done.
void server_actor::feed(std::shared_ptr<link> l, mcp::client_event e) {
    if (!l) return;
    std::vector<mcp::client_action> actions;
    l->machine.on(std::move(e), now(), actions);
    for (auto& a : actions) perform(*l, a);
    settle(*l);
    arm_machine(*l);
    if (l->machine.pending_calls() > 0) return;
    if (l->draining) drained(*l, {errc::cancelled, "the server was moved"});
    else if (holding_ && l == link_) vacate();
}

void server_actor::perform(link& l, mcp::client_action& action) {
    if (auto* s = std::get_if<mcp::out::send>(&action)) {
        if (!l.wire) return;
        auto sent = l.wire->send(s->text);
        if (sent || s->request_id.empty()) return;
        auto self = supervise::ref<server_actor>::share(this);
        (void)self.tell_always([conn = l.id, id = s->request_id, why = sent.error()](server_actor& a) {
            if (auto still = a.find_link(conn); still && still->wire) a.feed(std::move(still), mcp::in::send_failed{id, why});
        });
    } else if (auto* ab = std::get_if<mcp::out::abandon>(&action)) {
        if (l.wire) l.wire->abandon(ab->request_id);
    } else if (auto* r = std::get_if<mcp::out::ready>(&action)) {
        on_ready(l, std::move(*r));
    } else if (auto* c = std::get_if<mcp::out::lists_changed>(&action)) {
        if (l.welcome) l.welcome->lists = c->lists;  // it is being greeted
        if (&l != link_.get() || status_.state.now != status::healthy) return;
        part_ = make_part(record_->name, *c->lists);
        record_->last_tools = c->lists->tools.size();
        record_->set_part(part_);
        context_->catalogue_changed();
        publish();
    } else if (auto* f = std::get_if<mcp::out::failed>(&action)) {
        if (l.wire) link_lost(l, f->why);  // else an action before this one has closed it
    } else if (auto* d = std::get_if<mcp::out::done>(&action)) {
        on_done(l, std::move(*d));
    } else if (auto* p = std::get_if<mcp::out::progress>(&action)) {
        auto it = calls_.find(p->id);
        if (it != calls_.end() && it->second->events.progress) it->second->events.progress(std::move(p->value));
    } else if (auto* i = std::get_if<mcp::out::input>(&action)) {
        on_input(std::move(*i));
    } else if (auto* w = std::get_if<mcp::out::input_withdrawn>(&action)) {
        auto it = calls_.find(w->id);
        if (it != calls_.end() && it->second->events.withdrawn) it->second->events.withdrawn(std::move(w->key));
    } else if (auto* pr = std::get_if<mcp::out::probed>(&action)) {
        on_probed(l, *pr);
    } else if (auto* m = std::get_if<mcp::out::message>(&action)) {
        on_log_message(std::move(*m));
    } else if (auto* n = std::get_if<mcp::out::notice>(&action)) {
        // What ends a visit to a URL belongs to a call, on whatever connection that is.
        if (&l == link_.get() || n->method == "notifications/elicitation/complete") context_->notices.say(record_->name, n->method, n->params);
    } else if (auto* g = std::get_if<mcp::out::log>(&action)) {
        server_log(g->warning, g->line);
    }
}

void server_actor::arm_machine(link& l) {
    const auto at = l.machine.next_deadline();
    if (!at) return;
    if (l.armed && *l.armed <= *at && l.timer.pending()) return;  // fires early, looks, and is armed again
    l.armed = *at;
    l.timer = tell_after(std::max(*at - now(), nanoseconds(machine_slop)), [this, conn = l.id] {
        auto still = find_link(conn);
        if (!still) return;
        still->armed.reset();
        feed(std::move(still), mcp::in::tick{});
    });
}

void server_actor::server_log(bool warning, const std::string& line) {
    record_->add_log("[host] " + line);
    context_->report.log(warning ? log_level::warn : log_level::debug, record_->name, line);
}

}  // namespace holdfast::servers
