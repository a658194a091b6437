#include "kernel/plugins/plugin_set.hpp"

#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/detail/set_entry.hpp"

namespace holdfast::plugins {
namespace {

constexpr std::size_t max_draining = 8;  // older versions of one plugin that still finish their work
constexpr milliseconds node_start_deadline{10'000};

bool valid_id(const std::string& id) {
    if (id.empty() || id.size() > 64 || id.front() == '.') return false;
    return std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

// ---- starting and stopping

supervise::child_spec plugin_set::impl::child_of(const std::shared_ptr<set_entry>& e) {
    supervise::child_spec c;
    std::lock_guard lock(e->mutex);
    const auto& s = e->spec;
    c.id = s.id;
    c.kind = "plugin";
    c.restart = s.supervision.restart;
    c.backoff = s.supervision.backoff;
    c.budget = supervise::child_budget{s.supervision.limit, true};
    c.shutdown = supervise::shutdown_policy::within(detail::way_out(s));
    // Trying again helps neither a file that is refused nor a plugin that hangs: both wait for a person or the quarantine's end.
    c.failures = {{supervise::exit_kind::start_failure, detail::code_refused, supervise::failure_action::stop},
                  {supervise::exit_kind::hang, std::nullopt, supervise::failure_action::stop}};
    // The entry knows its place in the tree, and the tree keeps this.
    c.start = [weak = weak_from_this(), weak_entry = std::weak_ptr<set_entry>(e)](supervise::child_context ctx) {
        auto set = weak.lock();
        auto e = weak_entry.lock();
        if (!set || !e) return ctx.failed({errc::unavailable, "the plugin set is gone"});
        auto place = std::make_shared<detail::instance_child>(ctx);
        auto deps = set->deps_for(e);
        plugin_spec spec;
        {
            std::lock_guard inner(e->mutex);
            spec = e->spec;
            e->info.isolation = spec.isolation;
            e->info.isolated_because.clear();
            if (set->options.history && spec.isolation == isolation_mode::in_process && set->options.history->verdict(spec.id) != crash_verdict::none) {
                spec.isolation = e->info.isolation = isolation_mode::process;
                e->info.isolated_because = "it crashed the host: " + set->options.history->record(spec.id).last + "; '" + set->release_words(spec.id) + "' lets it back";
            }
            deps.proven = e->kept;
            e->place = place;
            deps.before_start = std::exchange(e->hook, {});
            ++e->info.incarnation;
            if (!std::exchange(e->starting_by_hand, false)) ++e->info.restarts;
        }
        auto who = supervise::make_actor<detail::instance_actor>(ctx.rt(), std::move(spec), std::move(deps), place);
        (void)place->enter(who, true);
        {
            std::lock_guard inner(e->mutex);
            e->serial = who->serial();
            e->who = who;
        }
        e->move_to(instance_phase::discovered, {});
        // Running for the supervisor from now on: so that a first start that fails is tried again like any other (a database that
        // is not up yet). The start has deadlines of its own, per step.
        ctx.started(place);
        who->start(nullptr);
    };
    return c;
}

detail::instance_deps plugin_set::impl::deps_for(const std::shared_ptr<set_entry>& e) {
    detail::instance_deps d;
    d.context = context;
    d.files = files;
    d.marks = marks;
    d.finder = finder;
    d.validate = options.validate;
    d.reports = options.reports;
    d.owner = e;
    d.sockets = e->sockets;
    if (auto node = node_ref()) d.path = node->path() + "/" + e->id;
    return d;
}

/// Hands the child to the supervisor: a known one is started again, a new one is added.
void plugin_set::impl::launch(const std::shared_ptr<set_entry>& e) {
    auto node = node_ref();
    if (!node) return;  // started when the node comes up
    const auto id = e->snapshot().id;
    if (options.history && options.history->verdict(id) == crash_verdict::quarantine) {
        const auto r = options.history->record(id);
        const std::string why = "it crashed " + std::to_string(r.crashes) + " times, last: " + r.last;
        e->quarantine_now(why, true);
        return e->answer(fail(errc::plugin_failed, "plugin '" + id + "' is quarantined: " + why + "; '" + release_words(id) + "' lets it start again"));
    }
    auto failed = [e](const error& why) {
        // Launched twice at the same moment, by hand and by the node that came up: the other launch answers.
        if (why.code == errc::running || why.code == errc::restarting || why.code == errc::already_started || why.code == errc::already_exists) return;
        e->answer(tl::unexpected<error>(why));
    };
    node->restart_child(id, [this, self = shared_from_this(), node, e, failed](result<supervise::child_ref> r) {
        if (r) return;
        if (r.error().code != errc::not_found) return failed(r.error());
        node->start_child(child_of(e), [failed](result<supervise::child_ref> s) {
            if (!s) failed(s.error());
        });
    });
}

void plugin_set::impl::begin(const std::shared_ptr<set_entry>& e, plugin_set::done finished) {
    bool fresh = false;
    std::optional<error> no;
    {
        std::lock_guard lock(e->mutex);
        const auto id = e->info.id;
        switch (e->info.phase) {
            case instance_phase::active: no = error{errc::running, "plugin '" + id + "' is active"}; break;
            case instance_phase::discovered:
                if (e->who) no = error{errc::restarting, "plugin '" + id + "' is being started"};
                break;
            case instance_phase::stopped:
            case instance_phase::failed:
            case instance_phase::quarantined: break;
            case instance_phase::retired: no = error{errc::not_found, "plugin '" + id + "' is being removed"}; break;
            default: no = error{errc::restarting, "plugin '" + id + "' is being started or stopped"}; break;
        }
        if (e->who && !no) no = error{errc::restarting, "plugin '" + id + "' is being stopped"};
        if (!no) {
            fresh = e->info.phase == instance_phase::quarantined;  // its budget starts anew, too
            e->wanted = e->starting_by_hand = true;
            e->kept.reset();
            e->quarantine.cancel();
            if (finished) e->waiting.push_back(std::move(finished));
        }
    }
    if (no) {
        if (finished) finished(tl::unexpected<error>(*no));
        return;
    }
    if (fresh) return forget_child(e, [self = shared_from_this(), e] { self->launch(e); });
    launch(e);
}

void plugin_set::impl::forget_child(const std::shared_ptr<set_entry>& e, unique_function<void()> then) {
    auto node = node_ref();
    if (!node) return then();
    node->delete_child(e->snapshot().id, [then = std::move(then)](result<void>) mutable { then(); });
}

void plugin_set::impl::halt(const std::shared_ptr<set_entry>& e, unique_function<void()> then) {
    bool was_quarantined = false;
    {
        std::lock_guard lock(e->mutex);
        e->wanted = false;
        e->quarantine.cancel();
        was_quarantined = e->info.phase == instance_phase::quarantined;
    }
    e->reload_on(reload_event::abort{"the plugin is being stopped"});
    auto finished = [e, was_quarantined, then = std::move(then)]() mutable {
        const auto phase = e->snapshot().phase;
        // Failed and quarantined while it was being stopped (it hung): that is what a person should see.
        const bool tells_more = phase == instance_phase::failed || (phase == instance_phase::quarantined && !was_quarantined);
        if (phase != instance_phase::stopped && !tells_more) e->move_to(instance_phase::stopped, {});
        then();
    };
    auto node = node_ref();
    if (!node) return finished();
    node->terminate_child(e->snapshot().id, [finished = std::move(finished)](result<void>) mutable { finished(); });
}

// ---- the node

void plugin_set::impl::on_node(supervise::ref<supervise::supervisor> s) {
    std::vector<std::shared_ptr<set_entry>> all;
    {
        std::unique_lock lock(mutex);
        sup = std::move(s);
        all = order;
    }
    for (const auto& e : all) {
        bool go = false;
        {
            std::lock_guard lock(e->mutex);
            go = e->wanted && !e->removed;
        }
        if (go) launch(e);
    }
}

void plugin_set::impl::on_report(const supervise::supervision_report& r) {
    if (options.reports) options.reports(r);
    // The only start error of such a child (see child_of): its budget is used up and it is left down.
    if (r.kind != supervise::report_kind::start_error || r.id.empty()) return;
    auto e = find(r.id);
    if (!e) return;
    std::string last;
    supervise::restart_intensity limit;
    {
        std::lock_guard lock(e->mutex);
        last = e->info.reason;
        limit = e->spec.supervision.limit;
    }
    e->quarantine_now("more than " + std::to_string(limit.intensity) + " restarts within " +
                      std::to_string(std::chrono::duration_cast<seconds>(limit.period).count()) + " s" + (last.empty() ? "" : "; last: " + last));
}

/// Of a plugin's own process. One that runs there because it crashed the host is still being judged.
void plugin_set::impl::on_crash(crash_report r, std::shared_ptr<const private_copy> copy) {
    auto e = find(r.plugin);
    if (e && options.history && !e->snapshot().isolated_because.empty() && options.history->count(r) == crash_verdict::quarantine) {
        const auto record = options.history->record(r.plugin);
        halt(e, [e, record] { e->quarantine_now("it crashed " + std::to_string(record.crashes) + " times, last: " + record.last, true); });
    }
    if (options.on_crash) options.on_crash(std::move(r), std::move(copy));
    else if (options.history) options.history->write(r);
}

// ---- plugin_set

plugin_set::plugin_set(std::shared_ptr<impl> i) : impl_(std::move(i)) {}

plugin_set::~plugin_set() {
    std::vector<std::shared_ptr<set_entry>> all;
    {
        std::unique_lock lock(impl_->mutex);
        all = std::exchange(impl_->order, {});
        impl_->by_id.clear();
        impl_->sup = {};
    }
    for (const auto& e : all) {
        replacement gone;  // released outside the lock
        std::lock_guard lock(e->mutex);
        e->wanted = false;
        e->removed = true;
        e->quarantine.cancel();
        gone = std::exchange(e->next, {});
    }
}

result<std::shared_ptr<plugin_set>> plugin_set::create(plugin_set_options o) {
    if (o.rt == nullptr) return fail(errc::invalid_argument, "a plugin set needs a runtime");
    if (o.runtime_dir.empty()) return fail(errc::invalid_argument, "a plugin set needs a runtime directory");
    if (auto made = detail::private_directory(o.runtime_dir); !made) return tl::unexpected<error>(made.error());
    auto files = loader::create(o.runtime_dir);
    if (!files) return tl::unexpected<error>(files.error());
    auto marks = crash_marks::open(o.runtime_dir);
    if (!marks) return tl::unexpected<error>(marks.error());
    auto i = std::make_shared<impl>();
    i->context = std::make_shared<detail::service_context>();
    i->context->rt = o.rt;
    i->context->processes = o.processes;
    i->context->bus = o.bus;
    i->context->dog = o.dog;
    i->context->metrics = o.metrics;
    i->context->data_dir = o.data_dir;
    i->context->runner = o.runner.empty() ? detail::own_program() : o.runner;
    i->context->log = o.log;
    i->context->api = o.api;
    i->files = std::move(*files);
    i->marks = std::move(*marks);
    i->finder = std::make_shared<discovery>(o.search_path, o.use_environment);
    i->options = std::move(o);
    i->context->crash_reported = [weak = std::weak_ptr(i)](crash_report r, std::shared_ptr<const private_copy> copy) {
        if (auto set = weak.lock()) set->on_crash(std::move(r), std::move(copy));
    };
    return std::shared_ptr<plugin_set>(new plugin_set(std::move(i)));
}

supervise::child_spec plugin_set::node() {
    std::weak_ptr<impl> weak = impl_;
    auto c = supervise::supervisor_child(
        "plugins",
        [weak] {
            supervise::supervisor_options o;
            // Plugins fail one by one, each within its own budget: this supervisor itself never escalates.
            o.rules.how = supervise::strategy::one_for_one;
            o.rules.intensity = {supervise::max_intensity, seconds(1)};
            o.rules.backoff = supervise::backoff_policy::none();
            o.reports = [weak](const supervise::supervision_report& r) {
                if (auto set = weak.lock()) set->on_report(r);
            };
            return o;
        },
        {},
        [weak](supervise::ref<supervise::supervisor> s) {
            if (auto set = weak.lock()) set->on_node(std::move(s));
        });
    c.start_deadline = node_start_deadline;
    return c;
}

void plugin_set::add(plugin_spec spec, done finished, start_hook before_start) {
    auto refuse = [&](errc code, std::string why) {
        if (finished) finished(fail(code, std::move(why)));
    };
    if (!valid_id(spec.id)) return refuse(errc::invalid_argument, "'" + spec.id + "' is no plugin id: letters, digits, '-', '_' and '.', at most 64");
    if (auto ok = supervise::check_budget(spec.supervision.limit, spec.supervision.backoff); !ok) return refuse(ok.error().code, ok.error().message);
    auto e = std::make_shared<set_entry>(impl_, spec.id);
    e->info.id = spec.id;
    e->info.use = spec.use;
    e->info.isolation = spec.isolation;
    const auto id = spec.id;
    e->spec = std::move(spec);
    e->hook = std::move(before_start);
    bool taken = false;
    {
        std::unique_lock lock(impl_->mutex);
        taken = !impl_->by_id.emplace(id, e).second;
        if (!taken) impl_->order.push_back(e);
    }
    if (taken) return refuse(errc::already_exists, "there is a plugin '" + id + "' already; ids are unique");
    if (finished) e->waiting.push_back(std::move(finished));
    impl_->launch(e);
}

void plugin_set::start(const std::string& id, done finished, start_hook before_start) {
    auto e = impl_->find(id);
    if (!e) {
        if (finished) finished(fail(errc::not_found, "there is no plugin '" + id + "'"));
        return;
    }
    if (before_start.run) {
        std::lock_guard lock(e->mutex);
        e->hook = std::move(before_start);
    }
    impl_->begin(e, std::move(finished));
}

void plugin_set::stop(const std::string& id, done finished) {
    auto e = impl_->find(id);
    if (!e) {
        if (finished) finished(fail(errc::not_found, "there is no plugin '" + id + "'"));
        return;
    }
    impl_->halt(e, [e, finished = std::move(finished)]() mutable {
        e->sockets->close();
        if (finished) finished(e->snapshot());
    });
}

void plugin_set::restart(const std::string& id, done finished) {
    auto e = impl_->find(id);
    if (!e) {
        if (finished) finished(fail(errc::not_found, "there is no plugin '" + id + "'"));
        return;
    }
    impl_->halt(e, [set = impl_, e, finished = std::move(finished)]() mutable { set->begin(e, std::move(finished)); });
}

void plugin_set::reload(const std::string& id, const std::string& from, done finished) {
    auto refuse = [&](errc code, std::string why) {
        if (finished) finished(fail(code, std::move(why)));
    };
    auto e = impl_->find(id);
    if (!e) return refuse(errc::not_found, "there is no plugin '" + id + "'");
    bool active = false;
    std::optional<error> no;
    {
        std::lock_guard lock(e->mutex);
        active = e->info.phase == instance_phase::active && e->inc && e->who && e->place;
        if (e->reload.under_way() || (active && !e->reload_events.empty())) {
            no = error{errc::restarting, "plugin '" + id + "' is being replaced already (" + std::string(to_string(e->reload.phase())) + ")"};
        } else if (active && e->place->others() >= max_draining) {
            no = error{errc::overloaded, std::to_string(e->place->others()) + " older versions of plugin '" + id + "' still finish their work; reload again when they have"};
            no->retry_after = milliseconds(1000);
        } else if (!active) {
            if (!from.empty()) e->spec.use = from;
        } else {
            e->next.probation.cancel();
            replacement r;
            r.spec = e->spec;
            if (!from.empty()) r.spec.use = from;
            r.spec.isolation = e->info.isolation;  // one that crashed the host stays apart
            r.old = e->who;
            r.old_serial = e->serial;
            r.before = e->inc->verified;
            r.use_before = e->spec.use;
            r.finished = std::move(finished);
            e->next = std::move(r);
            e->reload_events.push_back(reload_event::begin{e->inc->verified.about.exclusive});
        }
    }
    if (no) {
        if (finished) finished(tl::unexpected<error>(*no));
        return;
    }
    if (!active) return restart(id, std::move(finished));
    e->think();
}

void plugin_set::release(const std::string& id, done finished) {
    auto refuse = [&](errc code, std::string why) {
        if (finished) finished(fail(code, std::move(why)));
    };
    auto e = impl_->find(id);
    if (!e) return refuse(errc::not_found, "there is no plugin '" + id + "'");
    if (!impl_->options.history || !impl_->options.history->release(id)) return refuse(errc::invalid_argument, "plugin '" + id + "' has crashed nothing: there is nothing to lift");
    restart(id, std::move(finished));
}

void plugin_set::remove(const std::string& id, done finished) {
    auto e = impl_->find(id);
    if (!e) {
        if (finished) finished(fail(errc::not_found, "there is no plugin '" + id + "'"));
        return;
    }
    impl_->halt(e, [set = impl_, e, finished = std::move(finished)]() mutable {
        set->forget_child(e, [set, e, finished = std::move(finished)]() mutable {
            e->sockets->close();
            const auto id = e->snapshot().id;
            bool first = false;
            {
                std::unique_lock lock(set->mutex);
                auto it = set->by_id.find(id);
                first = it != set->by_id.end() && it->second == e;
                if (first) set->by_id.erase(it);
                std::erase(set->order, e);
            }
            e->move_to(instance_phase::retired, {});
            {
                std::lock_guard lock(e->mutex);
                e->removed = true;
            }
            if (first && set->options.metrics) set->options.metrics->remove("plugin", id);
            if (finished) finished(e->snapshot());
        });
    });
}

void plugin_set::reconfigure(plugin_spec spec, done finished) {
    auto e = impl_->find(spec.id);
    if (!e) {
        if (finished) finished(fail(errc::not_found, "there is no plugin '" + spec.id + "'"));
        return;
    }
    if (auto ok = supervise::check_budget(spec.supervision.limit, spec.supervision.backoff); !ok) {
        if (finished) finished(tl::unexpected<error>(ok.error()));
        return;
    }
    impl_->halt(e, [set = impl_, e, spec = std::move(spec), finished = std::move(finished)]() mutable {
        // The child's rules may have changed with the spec: it is added anew.
        set->forget_child(e, [set, e, spec = std::move(spec), finished = std::move(finished)]() mutable {
            {
                std::lock_guard lock(e->mutex);
                e->info.use = spec.use;
                e->info.isolation = spec.isolation;
                e->spec = std::move(spec);
            }
            set->begin(e, std::move(finished));
        });
    });
}

void plugin_set::control(const std::string& id, const std::string& ext, std::function<result<json>(const void*, void*)> f,
                         unique_function<void(result<json>)> answered) {
    auto e = impl_->find(id);
    if (!e) return answered(fail(errc::not_found, "there is no plugin '" + id + "'"));
    std::shared_ptr<detail::live_instance> inc;
    supervise::ref<detail::instance_actor> who;
    milliseconds limit{};
    {
        std::lock_guard lock(e->mutex);
        inc = e->inc;
        who = e->who;
        limit = e->spec.stop_timeout;
    }
    if (!inc || !who) return answered(fail(errc::unavailable, "plugin '" + id + "' is not active"));
    const auto* b = inc->find(ext);
    if (b == nullptr) return answered(fail(errc::plugin_failed, "plugin '" + id + "' does not offer " + ext));
    auto out = std::make_shared<result<json>>(fail(errc::internal, "no answer"));  // second owner: the lane, perhaps for ever
    auto lease = inc->lease();
    who->lane()->run(
        [f = std::move(f), inc, b, out]() -> detail::step_result {
            call_mark mark(inc->key());
            *out = f(b->at.table, b->at.self);
            return {};
        },
        limit,
        [out, who, id, lease = std::move(lease), answered = std::move(answered)](detail::step_result r) mutable {
            lease.reset();
            if (r.outcome == step_outcome::ok) return answered(std::move(*out));
            const std::string why = r.outcome == step_outcome::threw ? "a control call threw: " + r.why : "a control call did not return in time";
            who->crashed(why);
            answered(fail(r.outcome == step_outcome::threw ? errc::plugin_failed : errc::timeout, "plugin '" + id + "': " + why));
        });
}

void plugin_set::crashed(const std::string& id, const std::string& why) {
    auto e = impl_->find(id);
    if (!e) return;
    supervise::ref<detail::instance_actor> who;
    {
        std::lock_guard lock(e->mutex);
        who = e->who;
    }
    if (who) who->crashed(why);
}

std::vector<plugin_info> plugin_set::list() const {
    std::vector<std::shared_ptr<set_entry>> all;
    {
        std::shared_lock lock(impl_->mutex);
        all = impl_->order;
    }
    std::vector<plugin_info> out;
    for (const auto& e : all) out.push_back(e->snapshot());
    return out;
}

result<plugin_info> plugin_set::info(const std::string& id) const {
    auto e = impl_->find(id);
    if (!e) return fail(errc::not_found, "there is no plugin '" + id + "'");
    return e->snapshot();
}

std::vector<found_plugin> plugin_set::available() const { return impl_->finder->list(); }
const discovery& plugin_set::finder() const { return *impl_->finder; }
const crash_marks& plugin_set::marks() const { return *impl_->marks; }
void plugin_set::set_log_level(std::int32_t level) noexcept {
    __atomic_store_n(&impl_->context->log_level, level, __ATOMIC_RELAXED);
    std::vector<std::shared_ptr<set_entry>> all;
    {
        std::shared_lock lock(impl_->mutex);
        all = impl_->order;
    }
    for (const auto& e : all)
        if (auto inc = e->serving(); inc && inc->apart) inc->apart->set_level(level);
}

result<raw_bound> plugin_set::resolve_raw(impl& set, const std::string& id, const std::string& ext) {
    auto e = set.find(id);
    if (!e) return fail(errc::not_found, "there is no plugin '" + id + "'");
    std::lock_guard lock(e->mutex);
    if (!e->lease) {
        if (e->reload.switching()) {
            error later{errc::restarting, "plugin '" + id + "' is being replaced"};
            later.retry_after = milliseconds(1000);
            return tl::unexpected<error>(std::move(later));
        }
        error no{errc::unavailable, "plugin '" + id + "' is " + std::string(to_string(e->info.phase)) + (e->info.reason.empty() ? "" : ": " + e->info.reason)};
        if (e->info.phase == instance_phase::backoff || (e->wanted && e->who)) no.retry_after = milliseconds(1000);
        return tl::unexpected<error>(std::move(no));
    }
    const auto* b = e->inc->find(ext);
    if (b == nullptr) return fail(errc::plugin_failed, "plugin '" + id + "' does not offer " + ext);
    return raw_bound{b->at.table, b->at.self, e->lease};
}

std::shared_ptr<call_gate> plugin_set::gate_for(const std::string& id, const std::string& ext) { return impl_->gate(id, ext); }

result<std::string> plugin_set::first_of_kind(const std::string& kind) const {
    for (const auto& p : list())
        if (p.kind == kind && p.phase == instance_phase::active) return p.id;
    return fail(errc::not_found, "no active plugin of kind '" + kind + "'");
}

std::string_view to_string(isolation_mode m) noexcept { return m == isolation_mode::process ? "process" : "in-process"; }

json plugin_info::to_json() const {
    json out{{"id", id}, {"use", use}, {"path", path}, {"kind", kind}, {"version", version}, {"description", description}, {"sha256", sha256},
             {"state", std::string(to_string(phase))}, {"reason", reason}, {"incarnation", incarnation}, {"restarts", restarts},
             {"interfaces", interfaces}, {"warnings", warnings}};
    out["replaced"] = replaced;
    if (!reload.empty()) out["reload"] = reload;
    if (!rolled_back.empty()) out["rolled_back"] = rolled_back;
    out["isolation"] = std::string(to_string(isolation));
    if (pid != 0) out["pid"] = pid;
    if (!sandbox.is_null()) out["sandbox"] = sandbox;
    if (!isolated_because.empty()) out["isolated_because"] = isolated_because;
    if (!lift.empty()) out["lift"] = lift;
    if (quarantined_until) out["quarantined_until"] = rfc3339(*quarantined_until);
    if (active_since) out["active_since"] = rfc3339(*active_since);
    return out;
}

std::string_view to_string(reload_news::outcome o) noexcept {
    switch (o) {
        case reload_news::outcome::replaced: return "replaced";
        case reload_news::outcome::refused: return "refused";
        case reload_news::outcome::rolled_back: return "rolled_back";
        case reload_news::outcome::lost: return "lost";
    }
    return "?";
}

json reload_news::to_json() const {
    return {{"plugin", now.id}, {"outcome", std::string(to_string(what))}, {"why", why}, {"from", from}, {"to", to}};
}

json plugin_change::to_json() const {
    json out = now.to_json();
    out["from"] = std::string(to_string(before));
    return out;
}

}  // namespace holdfast::plugins
