// What an incarnation tells the plugin it is one of.
#include "kernel/plugins/detail/set_entry.hpp"

namespace holdfast::plugins {

inline constexpr std::size_t max_warnings = 20;

void set_entry::verified(std::uint64_t from, const verified_plugin& v) {
    std::lock_guard lock(mutex);
    if (from != serial) {
        if (from == next.serial) next.file = v;
        return;
    }
    show(v);
}

void set_entry::show(const verified_plugin& v) {
    info.path = v.path;
    info.kind = v.about.kind;
    info.version = v.about.version;
    info.description = v.about.description;
    info.interfaces = v.about.interfaces;
    info.sha256 = v.sha256;
}

void set_entry::moved(std::uint64_t from, instance_phase to, const std::string& reason) {
    bool replaces = false, restores = false;
    {
        std::lock_guard lock(mutex);
        if (from != serial) return;
        replaces = to == instance_phase::active && from == next.serial && reload.under_way();
        restores = reload.phase() == reload_phase::restoring;
    }
    if (to == instance_phase::active) sockets->settle(from);
    move_to(to, reason);
    if (to == instance_phase::active) answer(snapshot());
    if (replaces && restores) reload_on(from, reload_event::restored{});
    else if (replaces) reload_on(from, reload_event::new_active{});
}

void set_entry::move_to(instance_phase to, const std::string& reason) {
    auto s = set.lock();
    {
        std::lock_guard lock(mutex);
        if (info.phase == to && info.reason == reason) return;
        const auto before = std::exchange(info.phase, to);
        info.reason = reason;
        if (to != instance_phase::quarantined) info.lift.clear(), info.quarantined_until.reset();
        info.active_since.reset();
        if (to == instance_phase::active && s) info.active_since = s->options.rt->clock().wall();
        changes.push_back({info, before});
        if (telling) return;
        telling = true;
    }
    tell();
}

/// One change at a time and in order, without a lock held.
void set_entry::tell() {
    auto s = set.lock();
    for (;;) {
        std::unique_lock lock(mutex);
        if (changes.empty()) {
            telling = false;
            return;
        }
        auto change = std::move(changes.front());
        changes.pop_front();
        lock.unlock();
        if (!s) continue;
        try {
            const bool bad = change.now.phase == instance_phase::failed || change.now.phase == instance_phase::quarantined;
            const bool note = bad || change.now.phase == instance_phase::active || change.now.phase == instance_phase::stopped;
            if (note)
                s->context->write_log(bad ? HF_LOG_ERROR : HF_LOG_INFO, change.now.id, "plugin " + std::string(to_string(change.now.phase)) + (change.now.reason.empty() ? "" : ": " + change.now.reason));
            if (auto* m = s->options.metrics) {
                m->set("holdfast_plugin_active", {{"plugin", change.now.id}}, change.now.phase == instance_phase::active ? 1 : 0);
                if (change.now.phase == instance_phase::failed) m->add("holdfast_plugin_failures_total", {{"plugin", change.now.id}});
            }
            if (s->options.on_change) s->options.on_change(change);
        } catch (...) {  // whoever listens must not stop the plugins
        }
    }
}

void set_entry::answer(result<plugin_info> r) {
    std::vector<plugin_set::done> all;
    {
        std::lock_guard lock(mutex);
        all.swap(waiting);
    }
    for (auto& f : all)
        if (f) f(r);
}

void set_entry::published(std::uint64_t from, const std::shared_ptr<detail::live_instance>& i) {
    auto s = set.lock();
    if (!s) return;
    auto l = i->lease();
    std::shared_ptr<detail::live_instance> before;  // released outside the lock, and after the new one can be found
    {
        std::lock_guard lock(mutex);
        if (from == next.serial && reload.under_way()) adopt(from);
        before = std::exchange(inc, i);
        lease.swap(l);
        info.pid = i->apart ? i->apart->pid() : 0;
        info.sandbox = i->apart ? i->apart->sandbox_level() : json();
    }
    for (const auto& b : i->interfaces) s->gate(info.id, b->ext)->current.store(&b->at, std::memory_order_release);
}

void set_entry::held(std::uint64_t from) { reload_on(from, reload_event::held{}); }

void set_entry::withdrawn(detail::live_instance& i) {
    std::shared_ptr<detail::live_instance> gone;  // both released outside the lock
    std::shared_ptr<const void> last;
    if (auto s = set.lock())
        for (const auto& b : i.interfaces) {
            const binding* mine = &b->at;
            s->gate(i.id(), b->ext)->current.compare_exchange_strong(mine, nullptr);
        }
    std::lock_guard lock(mutex);
    if (inc.get() != &i) return;
    gone = std::move(inc);
    last = std::move(lease);
    info.pid = 0;
}

void set_entry::ended(std::uint64_t from, const instance_action::finished& how, bool refused, std::function<void()> leave) {
    if (!ended_while_replacing(from, how, leave)) ended_by_itself(from, how, refused);
    if (leave) leave();
}

void set_entry::ended_by_itself(std::uint64_t from, const instance_action::finished& how, bool refused) {
    bool again = false;
    {
        std::lock_guard lock(mutex);
        if (from != serial) return;
        who = {};
        again = spec.supervision.restart != supervise::restart_type::temporary && wanted && !removed;
    }
    if (how.asked) return answer(fail(errc::cancelled, "it was stopped before it was active"));
    if (how.hang) {
        quarantine_now(how.why);
        return answer(fail(errc::timeout, how.why));
    }
    if (again && !refused) move_to(instance_phase::backoff, how.why);
    else sockets->close();  // nobody comes to accept
    answer(fail(refused ? errc::plugin_refused : errc::plugin_failed, how.why));
}

void set_entry::warning(const std::string& text) {
    {
        std::lock_guard lock(mutex);
        info.warnings.push_back(text);
        if (info.warnings.size() > max_warnings) info.warnings.erase(info.warnings.begin());
    }
    if (auto s = set.lock()) s->context->write_log(HF_LOG_WARN, snapshot().id, text);
}

void set_entry::quarantine_now(const std::string& why, bool for_crashes) {
    auto s = set.lock();
    if (!s) return;
    const auto after = for_crashes ? milliseconds(0) : s->options.quarantine_for;
    {
        std::lock_guard lock(mutex);
        if (removed) return;
        info.lift = for_crashes ? s->options.release_command : s->options.lift_command;
        if (const auto at = info.lift.find('%'); at != std::string::npos) info.lift.replace(at, 1, info.id);
        info.quarantined_until.reset();
        if (after.count() > 0) {
            info.quarantined_until = s->options.rt->clock().wall() + after;
            quarantine = s->options.rt->after(after, [weak = weak_from_this()] {
                auto me = weak.lock();
                auto set_now = me ? me->set.lock() : nullptr;
                if (!set_now || me->snapshot().phase != instance_phase::quarantined) return;
                {
                    std::lock_guard lock(me->mutex);
                    if (!me->wanted) return;
                }
                set_now->begin(me, {});
            });
        }
    }
    sockets->close();
    move_to(instance_phase::quarantined, why);
}

}  // namespace holdfast::plugins
