// The replacement of what runs by a new version: the shell of reload_machine.
#include "kernel/plugins/detail/set_entry.hpp"
#include "kernel/plugins/handover.hpp"

namespace holdfast::plugins {

using detail::instance_actor;

void set_entry::reload_on(any_reload_event e) {
    {
        std::lock_guard lock(mutex);
        reload_events.push_back(std::move(e));
    }
    think();
}

void set_entry::reload_on(std::uint64_t new_serial, any_reload_event e) {
    {
        std::lock_guard lock(mutex);
        if (new_serial != next.serial) return;
        reload_events.push_back(std::move(e));
    }
    think();
}

void set_entry::think() {
    {
        std::lock_guard lock(mutex);
        if (thinking) return;
        thinking = true;
    }
    for (;;) {
        std::vector<any_reload_action> todo;
        std::vector<std::function<void()>> gone;
        {
            std::lock_guard lock(mutex);
            if (!reload_events.empty()) {
                auto e = std::move(reload_events.front());
                reload_events.pop_front();
                reload.on(e, todo);
                info.reload = reload.phase() == reload_phase::idle ? "" : std::string(to_string(reload.phase()));
            } else if (!leaving.empty()) {
                gone.swap(leaving);
            } else {
                thinking = false;
                return;
            }
        }
        for (auto& leave : gone) leave();
        for (auto& a : todo) std::visit([this](auto& x) { perform(x); }, a);
    }
}

void set_entry::perform(reload_action::make_new&) {
    auto s = set.lock();
    if (!s) return reload_on(reload_event::new_ended{"the host is stopping"});
    auto deps = s->deps_for(shared_from_this());
    deps.hold = true;
    plugin_spec how;
    std::shared_ptr<detail::instance_child> at;
    {
        std::lock_guard lock(mutex);
        how = next.spec;
        at = place;
        deps.instead_of = next.before->about.id;
    }
    deps.before_start = import_of_state();
    auto made = supervise::make_actor<instance_actor>(*s->options.rt, std::move(how), std::move(deps), at);
    {
        std::lock_guard lock(mutex);
        next.who = made;
        next.serial = made->serial();
    }
    const bool may = at->enter(made, false);
    made->start(nullptr);
    if (!may) made->request_stop();
}

void set_entry::perform(reload_action::start_new&) {
    supervise::ref<instance_actor> who_now, old;
    std::shared_ptr<detail::live_instance> old_inc;
    milliseconds limit{};
    {
        std::lock_guard lock(mutex);
        if (reload.switching()) {
            adopt(next.serial);
        } else {
            old = next.old;
            old_inc = inc;
            limit = spec.stop_timeout;
        }
        who_now = next.who;
    }
    if (!old_inc || old_inc->find(HF_EXT_UI) == nullptr) return who_now->go();
    // Both will serve for a moment: what the old one knows is asked for while it goes on.
    old->lane()->run(
        [me = shared_from_this(), old_inc]() -> detail::step_result {
            me->note_state_of(*old_inc);
            return {};
        },
        limit,
        [who_now, old, lease = old_inc->lease()](detail::step_result r) mutable {
            lease.reset();
            if (r.outcome == step_outcome::timed_out || r.outcome == step_outcome::threw) old->crashed("export_state " + std::string(r.outcome == step_outcome::threw ? "threw: " + r.why : "did not return in time"));
            who_now->go();
        });
}

/// [control of the old one]
void set_entry::note_state_of(detail::live_instance& old) {
    const auto* b = old.find(HF_EXT_UI);
    if (b == nullptr) return;
    call_mark mark(old.key());
    auto state = export_state(*static_cast<const hf_ui*>(b->at.table), b->at.self);
    if (!state) return warning("its state was not handed over: " + state.error().message);
    std::lock_guard lock(mutex);
    next.state = std::move(*state);
}

start_hook set_entry::import_of_state() {
    {
        std::lock_guard lock(mutex);
        const auto& offered = next.before->about.interfaces;
        if (std::find(offered.begin(), offered.end(), HF_EXT_UI) == offered.end()) return {};
    }
    return {HF_EXT_UI, [me = shared_from_this()](const void* table, void* self) -> result<void> {
                std::optional<std::string> state;
                {
                    std::lock_guard lock(me->mutex);
                    state = me->next.state;
                }
                return state ? import_state(*static_cast<const hf_ui*>(table), self, *state) : result<void>();
            }};
}

void set_entry::perform(reload_action::retire_old&) {
    supervise::ref<instance_actor> old;
    std::function<void(detail::live_instance&)> last_words;
    {
        std::lock_guard lock(mutex);
        old = next.old;
        if (reload.switching()) {
            place->serve(next.serial);
            last_words = [me = shared_from_this()](detail::live_instance& inc_of_old) { me->note_state_of(inc_of_old); };
        }
    }
    old->retire(std::move(last_words));
}

void set_entry::perform(reload_action::stop_new&) {
    supervise::ref<instance_actor> candidate;
    {
        std::lock_guard lock(mutex);
        candidate = next.who;
    }
    if (candidate) candidate->request_stop();
}

void set_entry::adopt(std::uint64_t from) {
    serial = from;
    who = next.who;
    place->serve(from);
    if (reload.phase() == reload_phase::restoring) return;
    spec.use = next.spec.use;
    info.use = spec.use;
    kept.reset();
    if (next.file) show(*next.file);
}

void set_entry::perform(reload_action::watch&) {
    auto s = set.lock();
    if (!s) return;
    std::lock_guard lock(mutex);
    next.probation = s->options.rt->after(spec.probation, [weak = weak_from_this(), of = next.serial] {
        if (auto me = weak.lock()) me->reload_on(of, reload_event::probation_over{});
    });
}

void set_entry::perform(reload_action::forget&) {
    std::optional<verified_plugin> gone;  // closed outside the lock
    supervise::ref<instance_actor> a, b;
    std::lock_guard lock(mutex);
    gone = std::exchange(next.before, std::nullopt);
    next.probation.cancel();
    next.state.reset();
    a = std::exchange(next.who, {});
    b = std::exchange(next.old, {});
}

void set_entry::perform(reload_action::restore& a) {
    auto s = set.lock();
    if (!s) return reload_on(reload_event::restore_failed{"the host is stopping"});
    auto deps = s->deps_for(shared_from_this());
    deps.before_start = import_of_state();
    plugin_spec how;
    std::shared_ptr<detail::instance_child> at;
    {
        std::lock_guard lock(mutex);
        next.probation.cancel();
        info.rolled_back = "version " + (next.file ? next.file->about.version : std::string("?")) + " failed: " + a.why;
        spec.use = info.use = next.use_before;
        how = spec;
        how.isolation = info.isolation;
        deps.proven = kept = next.before;
        at = place;
    }
    auto made = supervise::make_actor<instance_actor>(*s->options.rt, std::move(how), std::move(deps), at);
    {
        std::lock_guard lock(mutex);
        next.who = made;
        serial = next.serial = made->serial();
        who = made;
        show(*next.before);
    }
    const bool may = at->enter(made, true);
    made->start(nullptr);
    if (!may) made->request_stop();
}

bool set_entry::ended_while_replacing(std::uint64_t from, const instance_action::finished& how, std::function<void()>& leave) {
    const std::string why = how.why.empty() ? "it was stopped" : how.why;
    bool done_with = true;  // supervision has nothing to do about it
    {
        std::lock_guard lock(mutex);  // held until the end is noted: the next replacement would take it for one of its own
        const auto phase = reload.phase();
        if (phase == reload_phase::idle) return from != serial;
        if (from == next.old_serial) {
            done_with = from != serial || reload.switching();
            if (phase == reload_phase::probation && from != serial) return true;  // retired, and gone
            reload_events.push_back(reload_event::old_ended{why});
        } else if (from == next.serial) {
            // In service and stopped on request: nothing has failed.
            if (phase == reload_phase::probation && how.asked) return false;
            if (phase == reload_phase::restoring) {
                done_with = false;
                reload_events.push_back(reload_event::restore_failed{why});
            } else {
                reload_events.push_back(reload_event::new_ended{why});
            }
        }
        if (done_with) leaving.push_back(std::exchange(leave, nullptr));
    }
    think();
    return done_with;
}

void set_entry::conclude(reload_news::outcome what, const std::string& why) {
    using outcome = reload_news::outcome;
    auto s = set.lock();
    reload_news news;
    plugin_set::done told;
    {
        std::lock_guard lock(mutex);
        news.what = what;
        news.why = why;
        if (next.before) news.from = next.before->about.version;
        if (next.file) news.to = next.file->about.version;
        if (what == outcome::replaced) {
            ++info.replaced;
            ++info.incarnation;
            info.rolled_back.clear();
            if (s) info.active_since = s->options.rt->clock().wall();
        }
        news.now = info;
        told = std::exchange(next.finished, {});
    }
    if (s) {
        static constexpr const char* words[] = {"replaced", "not replaced", "rolled back", "lost"};
        std::string text = std::string("plugin ") + words[static_cast<std::size_t>(what)] + (why.empty() ? "" : ": " + why);
        s->context->write_log(what == outcome::replaced ? HF_LOG_INFO : HF_LOG_ERROR, id, std::move(text), {{"from", news.from}, {"to", news.to}});
        if (s->options.metrics) s->options.metrics->add("holdfast_plugin_reloads_total", {{"plugin", id}, {"outcome", std::string(to_string(what))}});
        try {
            if (s->options.on_reload) s->options.on_reload(news);
        } catch (...) {  // whoever listens must not stop the plugins
        }
    }
    if (what != outcome::replaced) {
        reload_action::forget all;
        perform(all);
    }
    if (!told) return;
    if (what == outcome::replaced) return told(news.now);
    const char* after = what == outcome::refused ? "; the old one goes on" : what == outcome::rolled_back ? "; the version before serves again" : "";
    told(fail(what == outcome::refused ? errc::plugin_refused : errc::plugin_failed, why + after));
}

}  // namespace holdfast::plugins
