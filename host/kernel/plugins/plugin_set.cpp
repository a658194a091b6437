#include "kernel/plugins/plugin_set.hpp"

#include <deque>
#include <shared_mutex>

#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/detail/instance_actor.hpp"
#include "kernel/plugins/loader.hpp"

namespace holdfast::plugins {
namespace {

constexpr std::size_t max_warnings = 20;
constexpr milliseconds node_start_deadline{10'000};

bool valid_id(const std::string& id) {
    if (id.empty() || id.size() > 64 || id.front() == '.') return false;
    return std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

}  // namespace

/// One configured plugin, whatever its incarnation.
struct set_entry final : detail::instance_owner, std::enable_shared_from_this<set_entry> {
    explicit set_entry(std::weak_ptr<plugin_set::impl> s) : set(std::move(s)) {}
    const std::weak_ptr<plugin_set::impl> set;
    const std::shared_ptr<detail::listeners> sockets = std::make_shared<detail::listeners>();  // second owners: its incarnations

    mutable std::mutex mutex;  // guards everything below; leaf: nothing is called while it is held
    plugin_spec spec;
    plugin_info info;
    std::shared_ptr<detail::live_instance> inc;   // published; second owner: its actor
    std::shared_ptr<const void> lease;          // the set's own
    supervise::ref<detail::instance_actor> who;
    std::uint64_t serial = 0;                   // of the newest incarnation: news of older ones is ignored
    bool wanted = true;                         // should run
    bool starting_by_hand = true;               // the next start is not a restart
    bool removed = false;
    start_hook hook;
    std::vector<plugin_set::done> waiting;      // for the outcome of the attempt under way
    supervise::timer_handle quarantine;
    std::deque<plugin_change> changes;          // to be told
    bool telling = false;

    void verified(const verified_plugin& v) override;
    void moved(std::uint64_t from, instance_phase to, const std::string& reason) override;
    void published(const std::shared_ptr<detail::live_instance>& i) override;
    void withdrawn(detail::live_instance& i) override;
    void ended(std::uint64_t from, const instance_action::finished& how, bool refused) override;
    void warning(const std::string& text) override;

    void move_to(instance_phase to, const std::string& reason);
    void tell();
    void answer(result<plugin_info> r);
    /// for_crashes: until a person releases it; else for the configured time.
    void quarantine_now(const std::string& why, bool for_crashes = false);
    plugin_info snapshot() const {
        std::lock_guard lock(mutex);
        return info;
    }
    std::shared_ptr<detail::live_instance> serving() const {
        std::lock_guard lock(mutex);
        return inc;
    }
};

struct plugin_set::impl : std::enable_shared_from_this<plugin_set::impl> {
    plugin_set_options options;
    std::shared_ptr<detail::service_context> context;
    std::shared_ptr<loader> files;
    std::shared_ptr<crash_marks> marks;
    std::shared_ptr<const discovery> finder;

    mutable std::shared_mutex mutex;  // guards the lists; leaf
    std::vector<std::shared_ptr<set_entry>> order;
    std::unordered_map<std::string, std::shared_ptr<set_entry>> by_id;
    std::map<std::pair<std::string, std::string>, std::shared_ptr<call_gate>> gates;
    supervise::ref<supervise::supervisor> sup;

    std::shared_ptr<set_entry> find(const std::string& id) const {
        std::shared_lock lock(mutex);
        auto it = by_id.find(id);
        return it == by_id.end() ? nullptr : it->second;
    }
    supervise::ref<supervise::supervisor> node_ref() const {
        std::shared_lock lock(mutex);
        return sup;
    }
    std::shared_ptr<call_gate> gate(const std::string& id, const std::string& ext) {
        std::unique_lock lock(mutex);
        auto& g = gates[{id, ext}];
        if (!g) g = std::make_shared<call_gate>();
        return g;
    }

    supervise::child_spec child_of(const std::shared_ptr<set_entry>& e);
    void launch(const std::shared_ptr<set_entry>& e);
    void begin(const std::shared_ptr<set_entry>& e, plugin_set::done finished);
    void halt(const std::shared_ptr<set_entry>& e, unique_function<void()> then);
    void forget_child(const std::shared_ptr<set_entry>& e, unique_function<void()> then);
    void on_node(supervise::ref<supervise::supervisor> s);
    void on_report(const supervise::supervision_report& r);
    void on_crash(crash_report r, std::shared_ptr<const private_copy> copy);
    std::string release_words(const std::string& id) const {
        std::string out = options.release_command;
        if (const auto at = out.find('%'); at != std::string::npos) out.replace(at, 1, id);
        return out;
    }
};

// ---- what an incarnation tells

void set_entry::verified(const verified_plugin& v) {
    std::lock_guard lock(mutex);
    info.path = v.path;
    info.kind = v.about.kind;
    info.version = v.about.version;
    info.description = v.about.description;
    info.interfaces = v.about.interfaces;
    info.sha256 = v.sha256;
}

void set_entry::moved(std::uint64_t from, instance_phase to, const std::string& reason) {
    {
        std::lock_guard lock(mutex);
        if (from != serial) return;
    }
    if (to == instance_phase::active) sockets->settle(from);
    move_to(to, reason);
    if (to == instance_phase::active) answer(snapshot());
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

void set_entry::published(const std::shared_ptr<detail::live_instance>& i) {
    auto s = set.lock();
    if (!s) return;
    auto l = i->lease();
    {
        std::lock_guard lock(mutex);
        inc = i;
        lease = std::move(l);
        info.pid = i->apart ? i->apart->pid() : 0;
        info.sandbox = i->apart ? i->apart->sandbox_level() : json();
    }
    for (const auto& b : i->interfaces) s->gate(info.id, b->ext)->current.store(&b->at, std::memory_order_release);
}

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

void set_entry::ended(std::uint64_t from, const instance_action::finished& how, bool refused) {
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
    c.start = [weak = weak_from_this(), e](supervise::child_context ctx) {
        auto set = weak.lock();
        if (!set) return ctx.failed({errc::unavailable, "the plugin set is gone"});
        detail::instance_deps deps{set->context, set->files, set->marks, set->finder, set->options.validate, set->options.reports, e, {}, {}, e->sockets};
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
            deps.before_start = std::exchange(e->hook, {});
            ++e->info.incarnation;
            if (!std::exchange(e->starting_by_hand, false)) ++e->info.restarts;
        }
        if (auto node = set->node_ref()) deps.path = node->path() + "/" + spec.id;
        auto who = supervise::make_actor<detail::instance_actor>(ctx.rt(), std::move(spec), std::move(deps), ctx);
        {
            std::lock_guard inner(e->mutex);
            e->serial = who->serial();
            e->who = who;
        }
        e->move_to(instance_phase::discovered, {});
        // Running for the supervisor from now on: so that a first start that fails is tried again like any other (a database that
        // is not up yet). The start has deadlines of its own, per step.
        ctx.started(std::make_shared<detail::instance_child>(who));
        who->start(nullptr);
    };
    return c;
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
        std::lock_guard lock(e->mutex);
        e->wanted = false;
        e->removed = true;
        e->quarantine.cancel();
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
    auto e = std::make_shared<set_entry>(impl_);
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
    out["isolation"] = std::string(to_string(isolation));
    if (pid != 0) out["pid"] = pid;
    if (!sandbox.is_null()) out["sandbox"] = sandbox;
    if (!isolated_because.empty()) out["isolated_because"] = isolated_because;
    if (!lift.empty()) out["lift"] = lift;
    if (quarantined_until) out["quarantined_until"] = rfc3339(*quarantined_until);
    if (active_since) out["active_since"] = rfc3339(*active_since);
    return out;
}

json plugin_change::to_json() const {
    json out = now.to_json();
    out["from"] = std::string(to_string(before));
    return out;
}

}  // namespace holdfast::plugins
