#include "kernel/supervise/pool_machine.hpp"

#include <algorithm>

namespace holdfast::supervise {

std::uint32_t pool_machine::count(phase p) const {
    return static_cast<std::uint32_t>(std::count_if(all_.begin(), all_.end(), [p](const auto& s) { return s.second.at == p; }));
}

pool_machine::figures pool_machine::now() const {
    figures f = so_far_;
    f.creating = count(phase::creating);
    f.idle = count(phase::idle) + count(phase::checking);
    f.in_use = count(phase::offered) + count(phase::used);
    f.waiting = waiting_.size();
    return f;
}

json pool_machine::row(const pool_rules& r, const figures& f) {
    return {{"size", r.size}, {"max_overflow", r.max_overflow}, {"in_use", f.in_use}, {"idle", f.idle}, {"creating", f.creating},
            {"waiting", f.waiting}, {"made", f.made}, {"failed", f.failed}, {"replaced", f.replaced}, {"refused", f.refused}, {"most", f.most}};
}

result<pool_rules> pool_rules_from(const json& given) {
    constexpr double longest_s = 7 * 24 * 3600.0, most = 1'000;
    if (!given.is_object()) return fail(errc::config_invalid, "must be an object");
    std::string problem;
    const auto number = [&](const char* key, double fallback, double low, double high) {
        const json& v = member(given, key);
        if (v.is_null()) return fallback;
        if (v.is_number() && v.get<double>() >= low && v.get<double>() <= high) return v.get<double>();
        if (problem.empty()) problem = std::string(key) + " must be a number from " + dump(json(low)) + " to " + dump(json(high));
        return fallback;
    };
    const auto duration = [&](const char* key, nanoseconds fallback, double low_s) {
        return nanoseconds(static_cast<std::int64_t>(number(key, std::chrono::duration<double>(fallback).count(), low_s, longest_s) * 1e9));
    };
    pool_rules r;
    r.size = static_cast<std::uint32_t>(number("size", r.size, 1, most));
    r.max_overflow = static_cast<std::uint32_t>(number("max_overflow", r.max_overflow, 0, most));
    r.wait = duration("wait_s", r.wait, 0);
    r.linger = duration("linger_s", r.linger, 0);
    r.lifetime = duration("lifetime_s", r.lifetime, 1);
    r.check_after = duration("check_after_s", r.check_after, 0);
    if (!problem.empty()) return fail(errc::config_invalid, problem);
    return r;
}

void pool_machine::on(const pool_event& event, steady_time now, actions& out) {
    const auto find = [this](std::uint64_t conn) { return all_.find(conn); };
    if (auto* a = std::get_if<pool_ev::acquire>(&event)) {
        if (waiting_.size() >= rules_.max_waiting)
            return refuse(a->waiter, errc::max_overflow_reached, std::to_string(waiting_.size()) + " are waiting for one already; try again later, or raise pool.size and pool.max_overflow", out);
        waiting_.push_back({a->waiter, now + rules_.wait});
    } else if (auto* c = std::get_if<pool_ev::cancel>(&event)) {
        std::erase_if(waiting_, [&](const waiting& w) { return w.who == c->waiter; });
        for (auto& [conn, s] : all_)
            if (s.at == phase::offered && s.waiter == c->waiter) {  // it never was the waiter's: nothing of it is unfinished
                s.at = phase::idle;
                s.since = now;
            }
    } else if (auto* t = std::get_if<pool_ev::accept>(&event)) {
        if (auto s = find(t->conn); s != all_.end() && s->second.at == phase::offered && s->second.waiter == t->waiter) {
            s->second.at = phase::used;
            s->second.since = now;
            s->second.told_leak = false;
        }
    } else if (auto* r = std::get_if<pool_ev::release>(&event)) {
        if (auto s = find(r->conn); s != all_.end() && s->second.at == phase::used) {
            if (r->reusable) settle(s, now, out);
            else end(s, "unfinished", out);
        }
    } else if (auto* m = std::get_if<pool_ev::created>(&event)) {
        if (auto s = find(m->conn); s != all_.end() && s->second.at == phase::creating) {
            ++so_far_.made;
            settle(s, now, out);
        }
    } else if (auto* f = std::get_if<pool_ev::create_failed>(&event)) {
        if (auto s = find(f->conn); s != all_.end() && s->second.at == phase::creating) {
            all_.erase(s);
            ++so_far_.failed;
            last_failure_ = f->why.message;
            // Nobody else can serve them: what is wrong with one is wrong with the next, and waiting would only hide it.
            if (all_.empty())
                while (!waiting_.empty()) {
                    const auto who = waiting_.front().who;
                    waiting_.pop_front();
                    refuse(who, f->why.code, f->why.message, out);
                }
        }
    } else if (auto* h = std::get_if<pool_ev::checked>(&event)) {
        if (auto s = find(h->conn); s != all_.end() && s->second.at == phase::checking) {
            if (h->healthy) {
                s->second.at = phase::idle;
                s->second.since = now;
            } else {
                ++so_far_.replaced;
                end(s, "unhealthy", out);
            }
        }
    } else if (auto* l = std::get_if<pool_ev::lost>(&event)) {
        if (auto s = find(l->conn); s != all_.end()) {
            if (s->second.at == phase::offered) waiting_.push_front({s->second.waiter, now + rules_.wait});  // its turn was before the others'
            ++so_far_.replaced;
            all_.erase(s);
        }
    } else {
        tick(now, out);
    }
    serve(now, out);
    so_far_.most = std::max(so_far_.most, static_cast<std::uint32_t>(all_.size()));
}

/// Free again: kept, or ended when its time is over.
void pool_machine::settle(slots::iterator s, steady_time now, actions& out) {
    if (now >= s->second.ends) {
        ++so_far_.replaced;
        end(s, "its lifetime is over", out);
        return;
    }
    s->second.at = phase::idle;
    s->second.since = now;
    s->second.waiter = 0;
}

pool_machine::slots::iterator pool_machine::end(slots::iterator s, const char* why, actions& out) {
    out.push_back(pool_act::destroy{s->first, why});
    return all_.erase(s);
}

void pool_machine::refuse(std::uint64_t waiter, errc code, const std::string& why, actions& out) {
    ++so_far_.refused;
    out.push_back(pool_act::refuse{waiter, {code, why}});
}

/// Offers what is idle to whoever waits longest, and makes as many as are missing.
void pool_machine::serve(steady_time now, actions& out) {
    for (auto s = all_.begin(); s != all_.end() && !waiting_.empty(); ++s) {
        if (s->second.at != phase::idle) continue;
        if (now - s->second.since >= rules_.check_after) {
            s->second.at = phase::checking;
            s->second.since = now;
            out.push_back(pool_act::check{s->first});
            continue;
        }
        s->second.at = phase::offered;
        s->second.since = now;
        s->second.waiter = waiting_.front().who;
        waiting_.pop_front();
        out.push_back(pool_act::offer{s->second.waiter, s->first});
    }
    const std::uint32_t coming = count(phase::creating) + count(phase::checking);
    if (waiting_.size() > coming)
        for (auto missing = waiting_.size() - coming; missing > 0; --missing) make(now, out);
}

void pool_machine::make(steady_time now, actions& out) {
    if (all_.size() >= std::uint64_t{rules_.size} + rules_.max_overflow || count(phase::creating) >= rules_.max_creating) return;
    const double spread = 1 + rules_.lifetime_jitter * (2 * random_->uniform() - 1);
    const auto life = nanoseconds(static_cast<std::int64_t>(static_cast<double>(rules_.lifetime.count()) * spread));
    all_.emplace(next_, slot{phase::creating, now, now + life});
    out.push_back(pool_act::create{next_++});
}

void pool_machine::tick(steady_time now, actions& out) {
    while (!waiting_.empty() && now >= waiting_.front().until) {
        const auto who = waiting_.front().who;
        waiting_.pop_front();
        const bool full = all_.size() >= std::uint64_t{rules_.size} + rules_.max_overflow;
        refuse(who, full ? errc::max_overflow_reached : errc::timeout,
               full ? "all " + std::to_string(all_.size()) + " connections are in use; try again, or raise pool.size and pool.max_overflow"
                    : "no connection came up in time" + (last_failure_.empty() ? std::string() : ": " + last_failure_) + "; try again, or raise pool.wait_s",
               out);
    }
    for (auto s = all_.begin(); s != all_.end();) {
        slot& c = s->second;
        const nanoseconds so_long = now - c.since;
        if (c.at == phase::creating && so_long >= rules_.create) {
            ++so_far_.failed;
            last_failure_ = "it was not ready in time";
            s = end(s, "not ready in time", out);
        } else if (c.at == phase::checking && so_long >= rules_.check) {
            ++so_far_.replaced;
            s = end(s, "did not answer a check", out);
        } else if (c.at == phase::idle && now >= c.ends) {
            ++so_far_.replaced;
            s = end(s, "its lifetime is over", out);
        } else if (c.at == phase::idle && all_.size() > rules_.size && so_long >= rules_.linger) {
            s = end(s, "not needed any more", out);
        } else {
            if (c.at == phase::used && !c.told_leak && so_long >= rules_.leak_after) {
                c.told_leak = true;
                out.push_back(pool_act::leak{s->first, so_long});
            }
            ++s;
        }
    }
}

std::optional<steady_time> pool_machine::next_deadline() const {
    std::optional<steady_time> at;
    const auto sooner = [&](steady_time t) { at = at ? std::min(*at, t) : t; };
    if (!waiting_.empty()) sooner(waiting_.front().until);
    for (const auto& [conn, s] : all_) {
        if (s.at == phase::creating) sooner(s.since + rules_.create);
        if (s.at == phase::checking) sooner(s.since + rules_.check);
        if (s.at == phase::idle) sooner(s.ends);
        if (s.at == phase::idle && all_.size() > rules_.size) sooner(s.since + rules_.linger);
        if (s.at == phase::used && !s.told_leak) sooner(s.since + rules_.leak_after);
    }
    return at;
}

}  // namespace holdfast::supervise
