// Calls over a pool of connections (SRV-7), for network servers that serve one connection's calls one after the other, or that
// limit what one connection may do. The first connection stays the server's: lists, notices, health. The pool carries its calls.
#include "servers/server_actor.hpp"

namespace holdfast::servers {

void server_actor::pool_call(std::shared_ptr<call_job> job) {
    if (!pool_) pool_.emplace(*spec_->pool, random_);
    const auto id = job->id;
    auto timer = tell_after(time_for(*job), [this, id] {
        feed_pool(supervise::pool_ev::cancel{id});
        drop_pool_waiting(id, {errc::timeout, "'" + record_->name + "' had no connection free in time; the call was not sent"});
    });
    pool_waiting_.emplace(id, held_call{std::move(job), now(), std::move(timer)});
    feed_pool(supervise::pool_ev::acquire{id});
}

/// Actions may lead to events; each is fed when the actions before it are done.
void server_actor::feed_pool(supervise::pool_event e) {
    if (!pool_) return;
    pool_events_.push_back(std::move(e));
    if (std::exchange(feeding_pool_, true)) return;
    while (pool_ && !pool_events_.empty()) {
        auto event = std::move(pool_events_.front());
        pool_events_.pop_front();
        std::vector<supervise::pool_action> actions;
        pool_->on(event, now(), actions);
        for (auto& a : actions) perform(a);
    }
    feeding_pool_ = false;
    pool_events_.clear();
    record_->set_pool(pool_ ? pool_->now() : supervise::pool_machine::figures{});
    note_load();
    const auto at = pool_ ? pool_->next_deadline() : std::nullopt;
    if (!at) return pool_timer_.cancel();
    pool_timer_ = tell_after(std::max(*at - now(), nanoseconds(0)), [this] { feed_pool(supervise::pool_ev::tick{}); });
}

void server_actor::perform(supervise::pool_action& action) {
    namespace act = supervise::pool_act;
    if (auto* c = std::get_if<act::create>(&action)) {
        const auto spec = link_ ? link_->spec : spec_;  // what the configuration says now is proven by the server's first connection
        auto transport = resolve_transport(*spec);
        auto opened = transport ? open_link(std::move(*transport), spec, role::calls_only) : result<std::shared_ptr<link>>(tl::unexpected(transport.error()));
        if (!opened) return feed_pool(supervise::pool_ev::create_failed{c->conn, opened.error()});
        pooled_[c->conn] = std::move(*opened);
    } else if (auto* d = std::get_if<act::destroy>(&action)) {
        if (auto l = pooled_.extract(d->conn)) close_link(std::move(l.mapped()), {errc::transport_lost, std::string("its pooled connection was closed: ") + d->why});
    } else if (auto* k = std::get_if<act::check>(&action)) {
        auto it = pooled_.find(k->conn);
        if (it == pooled_.end()) return feed_pool(supervise::pool_ev::lost{k->conn});
        const auto id = next_probe_++;
        pool_probes_[id] = k->conn;
        feed(it->second, mcp::in::probe{id, std::chrono::duration_cast<milliseconds>(pool_->rules().check), nullptr});
    } else if (auto* o = std::get_if<act::offer>(&action)) {
        auto waiting = pool_waiting_.extract(o->waiter);
        auto it = pooled_.find(o->conn);
        if (waiting.empty() || it == pooled_.end()) return feed_pool(supervise::pool_ev::cancel{o->waiter});
        feed_pool(supervise::pool_ev::accept{o->waiter, o->conn});
        auto& [job, since, timer] = waiting.mapped();
        job->timeout = std::max(milliseconds(1), time_for(*job) - std::chrono::duration_cast<milliseconds>(now() - since));
        job->pooled = o->conn;
        if (!send_call(it->second, std::move(job))) feed_pool(supervise::pool_ev::release{o->conn, true});
    } else if (auto* r = std::get_if<act::refuse>(&action)) {
        drop_pool_waiting(r->waiter, {r->why.code, "'" + record_->name + "': " + r->why.message});
    } else if (auto* l = std::get_if<act::leak>(&action)) {
        server_log(true, "a call has had a pooled connection for " + std::to_string(std::chrono::duration_cast<seconds>(l->held).count()) + " s");
    }
}

void server_actor::drop_pool_waiting(std::uint64_t id, error why) {
    auto job = pool_waiting_.extract(id);
    if (job.empty()) return;
    note_load();
    count_refused();
    job.mapped().job->finish(tl::unexpected(std::move(why)));
}

std::optional<std::uint64_t> server_actor::pool_number(const link& l) const {
    for (const auto& [number, p] : pooled_)
        if (p.get() == &l) return number;
    return {};
}

/// true: it was a connection of the pool, and has been dealt with.
bool server_actor::pool_link_ready(const link& l) {
    const auto number = pool_number(l);
    if (number) feed_pool(supervise::pool_ev::created{*number});
    return number.has_value();
}

bool server_actor::pool_link_lost(link& l, const error& why) {
    const auto number = pool_number(l);
    if (!number) return false;
    const bool was_ready = l.machine.is_ready() && (l.greeted || !l.spec->init);
    close_link(pooled_.extract(*number).mapped(), why);  // its calls fail here
    // Which of the two it is depends on how far it had come; the other one finds nothing.
    if (!was_ready) feed_pool(supervise::pool_ev::create_failed{*number, why});
    feed_pool(supervise::pool_ev::lost{*number});
    return true;
}

bool server_actor::pool_probed(const mcp::out::probed& p) {
    const auto it = pool_probes_.find(p.id);
    if (it == pool_probes_.end()) return false;
    const auto number = it->second;
    pool_probes_.erase(it);
    feed_pool(supervise::pool_ev::checked{number, p.outcome.has_value()});
    return true;
}

/// Its connections end with their calls; the next ones are made through the generation and from the configuration of now.
void server_actor::renew_pool() {
    pool_timer_.cancel();
    pool_.reset();
    pool_probes_.clear();
    record_->set_pool({});
    auto waiting = std::exchange(pool_waiting_, {});
    for (auto& [number, l] : std::exchange(pooled_, {})) drain(l);
    for (auto& [id, held] : waiting) {
        held.job->timeout = std::max(milliseconds(1), held.job->timeout - std::chrono::duration_cast<milliseconds>(now() - held.since));
        if (spec_->pool) pool_call(std::move(held.job));
        else (void)send_call(link_, std::move(held.job));
    }
    note_load();
}

/// All connections are of a server that is gone.
void server_actor::end_pool(const error& why) {
    pool_timer_.cancel();
    pool_.reset();
    pool_events_.clear();
    pool_probes_.clear();
    while (!pool_waiting_.empty()) drop_pool_waiting(pool_waiting_.begin()->first, {errc::unavailable, "'" + record_->name + "': " + why.message});
    for (auto& [number, l] : std::exchange(pooled_, {})) close_link(l, why);
    record_->set_pool({});
}

}  // namespace holdfast::servers
