// The server's configuration has changed. What it is judged by is exchanged in place; what its connection or its process was made
// from makes it move (server_move.cpp), a server that is not connected tries at once. Nobody else notices anything.
#include "servers/server_actor.hpp"

namespace holdfast::servers {

void server_actor::reconfigure() {
    const auto fresh = record_->spec();
    if (stopping_ || *fresh == *spec_) return;
    const auto before = std::exchange(spec_, fresh);
    const bool same_connection = before->connection_print == spec_->connection_print;
    status_.set_rules(spec_->rules);
    if (!same_connection) {
        record_->last_tools = 0;
        record_->known_era = mcp::era::unknown;
    }
    if (!begun_) return;
    const auto& s = status_.state;
    if (before->enabled && !spec_->enabled) return feed_status(ev::disable{});
    if (!before->enabled && spec_->enabled && s.now == status::disabled) return feed_status(ev::enable{});
    if (s.now != status::healthy && !(s.attempting && same_connection)) {
        end_move({errc::transport_lost, "its configuration changed"});
        return feed_status(ev::restart{"its configuration changed"});
    }
    const auto close_within = [this](const std::shared_ptr<link>& l) {
        if (l && l->wire) l->wire->set_grace(spec_->stop_grace);
    };
    close_within(link_);
    close_within(next_);
    for (const auto& l : draining_) close_within(l);
    for (const auto& [number, l] : pooled_) close_within(l);
    if (breaker_ && health_) exchange_policies();  // else connect() makes them
    if (before->pool != spec_->pool) renew_pool();
    if (!same_connection) abandon_next();
    move_failures_ = 0;
    publish();
    consider_move();
}

/// The breaker and the health policy as the configuration has them; one that did not change stays, with what it has counted.
/// Errors: those of the policy plugin, which is not there or refuses its settings; what is in hand stays in use.
result<void> server_actor::prepare_policies() {
    const auto& o = context_->options;
    const std::uint64_t seed = o.random_seed ? o.random_seed + record_->ordinal : supervise::random_seed();
    if (!breaker_ || !breaker_->is_made_of(spec_->breaker_use, spec_->breaker)) {
        auto fresh = std::make_unique<breaker_policy>(o.breaker, spec_->breaker_use, spec_->breaker, seed);
        if (auto ok = fresh->ensure(now()); !ok) return ok;
        breaker_ = std::move(fresh);
        attempt_permit_.reset();  // of the one before
        last_breaker_state_ = HF_BREAKER_CLOSED;
    }
    if (!health_ || !health_->is_made_of(spec_->health_use, spec_->health)) {
        auto fresh = std::make_unique<health_policy>(o.health, spec_->health_use, spec_->health, seed);
        if (auto ok = fresh->ensure(now()); !ok) return ok;
        health_ = std::move(fresh);
        verdict_ = {};
    }
    policies_stale_ = false;
    if (auto ok = breaker_->ensure(now()); !ok) return ok;
    return health_->ensure(now());
}

void server_actor::exchange_policies() {
    const auto* before = health_.get();
    if (auto ok = prepare_policies(); !ok) {
        if (std::exchange(policies_stale_, true)) return;
        const std::string what = "its new breaker or health settings are not in force, those before go on: " + ok.error().message;
        server_log(true, what);
        context_->report.notify_admins("warning", record_->name + ": " + what, {{"mcp_name", record_->name}});
    }
    if (health_.get() != before) follow_verdict();
}

void server_actor::abandon_next() {
    if (!next_) return;
    move_timer_.cancel();
    close_link(std::exchange(next_, nullptr), {errc::cancelled, "its configuration changed again"});
    if (!holding_) move_permit_.reset();
    else if (leaving_.empty() || spec_->http) open_next();  // else left() does
}

}  // namespace holdfast::servers
