// Calls through the breaker, and health: probes, samples, verdicts.
#include <cmath>

#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {
constexpr milliseconds soonest_check{10};
constexpr seconds verdict_retry{30};  // after a policy that gave no verdict
}

void server_actor::call(std::shared_ptr<call_job> job) {
    if (holding_) return hold(std::move(job));
    const auto refuse = [&](errc code, std::string why, nanoseconds retry) {
        error e{code, std::move(why)};
        if (retry > nanoseconds(0)) e.retry_after = std::chrono::ceil<milliseconds>(retry);
        count_refused();
        job->finish(tl::unexpected(std::move(e)));
    };
    ++record_->calls;
    const auto& s = status_.state;
    if (s.now != status::healthy || !link_ || !link_->machine.is_ready() || stopping_) {
        const nanoseconds retry = s.scheduled ? s.next_attempt - now() : nanoseconds(0);
        return refuse(errc::unavailable, "'" + record_->name + "' is " + std::string(to_string(s.now)) + ": " + s.reason, retry);
    }
    if (!job->tool.empty()) {
        const auto& tools = part_->tools;
        const auto it = std::lower_bound(tools.begin(), tools.end(), job->tool, [](const tool_info& t, const std::string& n) { return t.name < n; });
        if (it == tools.end() || it->name != job->tool)
            return refuse(errc::not_found, "'" + record_->name + "' has no tool '" + job->tool + "'", nanoseconds(0));
    }
    if (spec_->pool) return pool_call(std::move(job));
    (void)send_call(link_, std::move(job));
}

void server_actor::count_refused() {
    ++record_->failed_calls;
    count(&server_figures::calls);
    count(&server_figures::failed_calls);
}

bool server_actor::send_call(const std::shared_ptr<link>& l, std::shared_ptr<call_job> job) {
    const auto refuse = [&](std::string why, nanoseconds retry) {
        error e{errc::unavailable, std::move(why)};
        if (retry > nanoseconds(0)) e.retry_after = std::chrono::ceil<milliseconds>(retry);
        count_refused();
        job->finish(tl::unexpected(std::move(e)));
        return false;
    };
    auto p = breaker_->ask(now());
    if (!p) return refuse(p.error().message, nanoseconds(0));
    if (!p->granted) return refuse("the circuit breaker of '" + record_->name + "' is open after failed calls", p->retry_after);
    job->permit = p->generation;
    job->permitted = true;
    mcp::in::call c;
    c.id = job->id;
    c.method = job->method;
    c.params = std::move(job->params);
    c.timeout = time_for(*job);
    c.accepts_input = static_cast<bool>(job->events.input);
    c.wants_progress = static_cast<bool>(job->events.progress);
    c.owner = job->session;
    job->hosts_own = job->capabilities.is_null();
    c.capabilities = std::move(job->capabilities);
    c.log_level = std::move(job->log_level);
    c.fills_defaults = job->fills_defaults;
    c.input_wait = job->input_wait;
    job->sent = true;  // from here bytes may leave; `done` knows better and says so
    job->conn = l->id;
    calls_.emplace(job->id, std::move(job));
    note_load();
    feed(l, std::move(c));
    return true;
}

void server_actor::answer(std::uint64_t id, const std::string& key, json response) {
    if (auto it = calls_.find(id); it != calls_.end()) feed(find_link(it->second->conn), mcp::in::answer{id, key, std::move(response)});
}

void server_actor::cancel(std::uint64_t id) {
    if (pool_waiting_.count(id)) {
        feed_pool(supervise::pool_ev::cancel{id});
        return drop_pool_waiting(id, {errc::cancelled, "the call was cancelled before it was sent"});
    }
    drop_held(id, {errc::cancelled, "the call was cancelled before it was sent"});
    if (auto it = calls_.find(id); it != calls_.end()) feed(find_link(it->second->conn), mcp::in::cancel{id, {}});
}

void server_actor::on_input(mcp::out::input i) {
    auto it = calls_.find(i.id);
    if (it == calls_.end()) return;
    if (i.method == "roots/list" && it->second->hosts_own) {
        // As a message of its own: there may be more to do for what the machine was just fed.
        auto self = supervise::ref<server_actor>::share(this);
        return void(self.tell_always([id = i.id, key = std::move(i.key)](server_actor& a) { a.answer(id, key, {{"roots", a.roots(*a.spec_)}}); }));
    }
    if (it->second->events.input)
        it->second->events.input(input_request{std::move(i.key), std::move(i.method), std::move(i.params), i.more});
}

void server_actor::on_log_message(mcp::out::message m) {
    const auto it = calls_.find(m.call);
    if (it == calls_.end()) return context_->notices.say(record_->name, "notifications/message", m.params);
    if (it->second->events.log) it->second->events.log(std::move(m.params));
}

void server_actor::follow_wishes() {
    for (const auto& l : {link_, next_}) {
        feed(l, mcp::in::watch{record_->watched()});
        feed(l, mcp::in::log_level{context_->notices.log_level()});
    }
}

void server_actor::on_done(link& l, mcp::out::done d) {
    auto it = calls_.find(d.id);
    if (it == calls_.end()) return;
    const auto job = std::move(it->second);
    calls_.erase(it);
    note_load();
    job->sent = d.sent;
    count(&server_figures::calls);
    if (!d.outcome) count(&server_figures::failed_calls);
    record_->figures.latency.add(d.took);
    context_->totals.latency.add(d.took);
    int outcome = HF_OUTCOME_SUCCESS;
    bool sample = true, ok = true;
    const errc fault = d.outcome ? errc::internal : d.outcome.error().code;
    if (d.cached) {  // says nothing about the server as it is now
        sample = false;
        outcome = HF_OUTCOME_IGNORED;
    }
    if (!d.outcome) {
        ++record_->failed_calls;
        // Whoever reads it may have called many servers.
        auto& message = d.outcome.error().message;
        if (message.find(record_->name) == std::string::npos) message = "'" + record_->name + "': " + message;
        if (fault == errc::timeout && d.sent) message += "; allow more time (timeout_ms, call_timeout_s), or see in its log what it was doing";
        switch (d.outcome.error().code) {
            case errc::server_error: break;  // it answered: alive
            case errc::timeout:
            case errc::protocol_error: outcome = HF_OUTCOME_FAILURE; ok = false; break;
            // The loss of the connection is one event however many calls it takes with it; the status machine counts it.
            case errc::transport_lost: outcome = !l.machine.is_over() ? HF_OUTCOME_FAILURE : HF_OUTCOME_DROPPED; ok = false; break;
            case errc::cancelled: outcome = HF_OUTCOME_IGNORED; sample = false; break;
            default: outcome = HF_OUTCOME_IGNORED; sample = d.sent; ok = !d.sent; break;
        }
    }
    if (job->permitted && breaker_) {
        breaker_->report(job->permit, outcome, d.took, now());
        if (auto b = breaker_->state(now()); b && b->state != last_breaker_state_) {
            last_breaker_state_ = b->state;
            if (b->state == HF_BREAKER_OPEN)
                context_->report.notify_admins("warning", "calls of " + record_->name + " fail; its breaker is open", {{"mcp_name", record_->name}});
        }
    }
    if (job->pooled != 0) {
        // What was not answered may still come, or may still be worked on: nobody else gets that connection.
        const bool finished = d.outcome || d.outcome.error().code == errc::server_error;
        // Unless it drains already, or has gone.
        if (const auto it = pooled_.find(job->pooled); it != pooled_.end() && it->second.get() == &l) feed_pool(supervise::pool_ev::release{job->pooled, finished});
    }
    // One that drains says nothing about the connection that serves.
    const bool connected = (&l == link_.get() || job->pooled != 0) && !l.draining && !l.machine.is_over() && status_.state.now == status::healthy;
    if (d.answered && job->events.refused) job->events.refused(d.answered->code, d.answered->message, d.answered->data);
    job->finish(std::move(d.outcome));
    if (!connected || !sample || outcome == HF_OUTCOME_DROPPED) return;
    if (!ok) last_fault_ = fault;
    observe(false, ok, ok ? HF_FAULT_NONE : HF_FAULT_REMOTE, d.took);
    if (!ok) follow_verdict();
}

void server_actor::probe() {
    if (status_.state.now != status::healthy || probe_ != 0 || !link_) return;
    if (policies_stale_) exchange_policies();
    probe_ = next_probe_++;
    feed(link_, mcp::in::probe{probe_, verdict_.probe_timeout, spec_->probe.request});
}

void server_actor::on_probed(link& l, const mcp::out::probed& p) {
    if (l.greeting == p.id) return on_greeted(l, p);
    if (pool_probed(p)) return;
    if (p.id != probe_) return;  // of a connection before
    probe_ = 0;
    last_check_ = rt().clock().wall();
    count(&server_figures::health_checks);
    const auto ok = p.outcome ? spec_->probe.judge(*p.outcome) : result<void>(tl::unexpected(p.outcome.error()));
    if (!ok) count(&server_figures::failed_checks);
    if (!ok && ok.error().code == errc::overloaded) {
        observe(true, false, HF_FAULT_LOCAL, p.took);  // our queue was full: not the server's fault
    } else {
        if (!ok) last_fault_ = ok.error().code;
        observe(true, ok.has_value(), ok ? HF_FAULT_NONE : HF_FAULT_REMOTE, p.took);
        if (!ok) server_log(true, "health check failed: " + ok.error().message);
    }
    follow_verdict();
    publish();
}

void server_actor::observe(bool active, bool ok, int fault, nanoseconds latency) {
    if (!health_) return;
    health_sample s;
    s.active = active;
    s.ok = ok;
    s.fault = fault;
    s.latency = latency;
    s.memory_bytes = s.cpu_percent = std::nan("");
    s.queue_length = static_cast<double>(calls_.size());
    if (active && link_ && link_->pid) {
        // Of the whole tree when somebody looks at it, else of its first process.
        if (const resource_usage use = record_->usage(); use.at != steady_time{} && now() - use.at < 2 * resource_period && use.pid == *link_->pid) {
            s.memory_bytes = static_cast<double>(use.memory_bytes);
            s.cpu_percent = use.cpu_percent;
        } else {
            const auto first = sampler_.sample(*link_->pid, now());
            s.memory_bytes = first.memory_bytes;
            s.cpu_percent = first.cpu_percent;
        }
    }
    health_->observe(s, now());
}

void server_actor::follow_verdict() {
    if (!health_ || status_.state.now != status::healthy) return;
    auto v = health_->verdict(now());
    if (!v) {  // checks go on: the policy is restarted by its own rules
        server_log(true, v.error().message);
        if (probe_ == 0) arm_health(now() + verdict_retry);
        return;
    }
    const int before = verdict_.state;
    verdict_ = std::move(*v);
    if (verdict_.state == HF_HEALTH_DOWN)
        return lost({errc::unavailable, "health check: " + (verdict_.reason.empty() ? std::string("the policy says down") : verdict_.reason)},
                    last_fault_ == errc::timeout ? loss::hang : loss::health);
    if (verdict_.state == HF_HEALTH_DEGRADED && before != HF_HEALTH_DEGRADED)
        context_->report.notify_admins("warning", record_->name + " is degraded: " + verdict_.reason, {{"mcp_name", record_->name}});
    if (probe_ == 0) arm_health(verdict_.next_check);
}

void server_actor::arm_health(steady_time at) {
    health_timer_ = tell_after(std::max(at - now(), nanoseconds(soonest_check)), [this] { probe(); });
}

}  // namespace holdfast::servers
