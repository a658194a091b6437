#include "kernel/supervise/supervisor.hpp"

#include <deque>
#include <mutex>
#include <unordered_map>

#include "kernel/supervise/detail/supervisor_shell.hpp"

namespace holdfast::supervise {

namespace {

/// T1: callbacks of others must not end the supervisor.
template <class F>
void guarded(F&& f) noexcept {
    try {
        f();
    } catch (...) {
    }
}

}  // namespace

// ---- contexts: how children talk back

const std::string& child_context::id() const { return *id_; }
runtime& child_context::rt() const { return owner_->rt(); }
name_registry* child_context::names() const { return owner_->impl_->options.names; }

void child_context::attach(std::shared_ptr<child> c) const {
    owner_->impl_->deliver(owner_, {{}, key_, incarnation_, std::move(c)});
}
void child_context::started(std::shared_ptr<child> c) const {
    owner_->impl_->deliver(owner_, {event::started{key_, incarnation_}, key_, incarnation_, std::move(c)});
}
void child_context::failed(error why) const {
    exit_reason reason{exit_kind::start_failure, static_cast<int>(why.code), std::move(why.message)};
    owner_->impl_->deliver(owner_, {event::start_failed{key_, incarnation_, std::move(reason)}, key_, incarnation_, {}});
}
void child_context::exited(exit_reason reason) const {
    owner_->impl_->deliver(owner_, {event::exited{key_, incarnation_, std::move(reason)}, key_, incarnation_, {}});
}

// ---- the shell

void supervisor::impl::deliver(const ref<supervisor>& to, news n) {
    if (actor::current() == to.get()) {  // called from inside our own turn: after the actions being performed
        inbox.push_back(std::move(n));
        return;
    }
    (void)to.tell_always([n = std::make_unique<news>(std::move(n))](supervisor& s) mutable {
        s.impl_->inbox.push_back(std::move(*n));
        s.impl_->process();
    });
}

void supervisor::impl::apply(supervisor_event e) {
    inbox.push_back({std::move(e), 0, 0, {}});
    process();
}

void supervisor::impl::process() {
    if (std::exchange(processing, true)) return;
    while (!inbox.empty()) {
        news n = std::move(inbox.front());
        inbox.pop_front();
        if (!take_handle(n)) continue;
        std::shared_ptr<child> ended;  // destroyed outside the lock
        {
            std::lock_guard lock(mutex);
            if (n.key && n.what && !std::holds_alternative<event::started>(*n.what))
                if (auto it = entries.find(n.key); it != entries.end() && it->second.incarnation == n.incarnation)
                    ended = std::move(it->second.handle);
            if (n.what) decision.on(std::move(*n.what), self->rt().now(), actions);
            if (n.spec_start)
                if (const auto view = decision.find(std::string_view(n.spec_id)); view && !entries.count(view->key)) {
                    auto& e = entries[view->key];
                    e.id = std::make_shared<const std::string>(std::move(n.spec_id));
                    e.start = std::move(*n.spec_start);
                }
        }
        perform();
    }
    processing = false;
}

/// Stores the handle that came with the news. false: it came from an incarnation that is over.
bool supervisor::impl::take_handle(news& n) {
    if (!n.handle) {
        if (n.key) std::erase_if(orphans, [&](const orphan& o) { return o.key == n.key && o.incarnation == n.incarnation; });
        return true;
    }
    {
        std::lock_guard lock(mutex);
        const auto view = decision.find(n.key);
        const bool current = view && view->incarnation == n.incarnation &&
                             (view->state == child_state::starting || view->state == child_state::stopping);
        if (auto it = entries.find(n.key); current && it != entries.end()) {
            if (auto who = n.handle->as_actor()) it->second.actor_incarnation = who.incarnation();
            it->second.handle = n.handle;
            return true;
        }
    }
    if (n.what) {  // a late start: nobody wants it, but it stays owned until its exit
        guarded([&] { n.handle->kill(); });
        orphans.push_back({n.key, n.incarnation, std::move(n.handle)});
    }
    return false;
}

void supervisor::impl::perform() {
    std::vector<supervisor_action> batch;
    batch.swap(actions);
    for (auto& a : batch) std::visit([this](auto& x) { perform(x); }, a);
    batch.clear();
    if (actions.empty()) actions.swap(batch);  // keeps its capacity
}

std::shared_ptr<child> supervisor::impl::handle_of(child_key key, std::uint32_t incarnation) {
    std::lock_guard lock(mutex);
    const auto it = entries.find(key);
    return it != entries.end() && it->second.incarnation == incarnation ? it->second.handle : nullptr;
}

void supervisor::impl::perform(action::start& a) {
    child_context ctx;
    entry* e = nullptr;
    {
        std::lock_guard lock(mutex);
        e = &entries.at(a.key);  // stays put: entries are erased by this turn only
        e->incarnation = a.incarnation;
        e->handle.reset();
        ctx.owner_ = ref<supervisor>::share(self);
        ctx.id_ = e->id;
        ctx.key_ = a.key;
        ctx.incarnation_ = a.incarnation;
    }
    try {
        e->start(ctx);
    } catch (const std::exception& x) {
        ctx.failed({errc::internal, std::string("the start function threw: ") + x.what()});
    } catch (...) {
        ctx.failed({errc::internal, "the start function threw"});
    }
}

void supervisor::impl::perform(action::stop& a) {
    if (auto h = handle_of(a.key, a.incarnation)) guarded([&] { h->stop(); });
}
void supervisor::impl::perform(action::kill& a) {
    if (auto h = handle_of(a.key, a.incarnation)) guarded([&] { h->kill(); });
}
void supervisor::impl::perform(action::abandon& a) {
    if (auto h = handle_of(a.key, a.incarnation)) orphans.push_back({a.key, a.incarnation, std::move(h)});
    std::lock_guard lock(mutex);
    if (auto it = entries.find(a.key); it != entries.end()) it->second.handle.reset();
}
void supervisor::impl::perform(action::arm& a) {
    auto& rt = self->rt();
    timers[a.token] = rt.after(a.at - rt.now(), [who = ref<supervisor>::share(self), token = a.token] {
        (void)who.tell_always([token](supervisor& s) {
            s.impl_->timers.erase(token);
            s.impl_->apply(event::timer{token});
        });
    });
}
void supervisor::impl::perform(action::disarm& a) { timers.erase(a.token); }

void supervisor::impl::perform(action::report& a) {
    if (options.reports)
        guarded([&] { options.reports({a.kind, path, a.id, a.child_kind, a.incarnation, a.reason, a.restart, a.significant}); });
}

void supervisor::impl::perform(action::answer& a) {
    const auto it = requests.find(a.request);
    if (it == requests.end()) {
        if (!a.outcome && a.request == initial_request && !start_error) start_error = a.outcome.error();
        return;
    }
    auto waiting = std::move(it->second);
    requests.erase(it);
    guarded([&] {
        if (auto* v = std::get_if<reply<void>>(&waiting))
            return (*v)(a.outcome ? result<void>{} : result<void>(tl::unexpected<error>(a.outcome.error())));
        auto& c = std::get<reply<child_ref>>(waiting);
        if (!a.outcome) return c(tl::unexpected<error>(a.outcome.error()));
        child_ref r;
        {
            std::lock_guard lock(mutex);
            if (auto e = entries.find(*a.outcome); e != entries.end()) {
                r.id = *e->second.id;
                r.incarnation = e->second.incarnation;
                if (e->second.handle) r.who = e->second.handle->as_actor();
            }
        }
        c(std::move(r));
    });
}

void supervisor::impl::perform(action::removed& a) {
    decltype(entries)::node_type gone;  // destroyed outside the lock
    std::lock_guard lock(mutex);
    gone = entries.extract(a.key);
    if (gone && options.names && gone.mapped().actor_incarnation) options.names->remove(*gone.mapped().id, gone.mapped().actor_incarnation);
}

void supervisor::impl::perform(action::initialised&) {
    is_up = true;
    guarded([&] { up(result<void>{}); });
    self->ready();
}

void supervisor::impl::perform(action::finished& a) { self->exit(a.reason); }

// ---- the actor

supervisor::supervisor(runtime& rt, std::unique_ptr<impl> i) : actor(rt), impl_(std::move(i)) {
    impl_->self = this;
    impl_->started_at = rt.now();
}
supervisor::~supervisor() = default;

ref<supervisor> supervisor::impl::make(runtime& rt, std::string id, std::string path, supervisor_options options,
                                       std::vector<child_spec> children, done_void up) {
    auto state = std::make_unique<impl>(std::move(id), std::move(path), std::move(options));
    state->initial = std::move(children);
    if (up) state->up = reply<void>(std::move(up));
    return ref<supervisor>::adopt(new supervisor(rt, std::move(state)));
}

ref<supervisor> supervisor::start(runtime& rt, std::string id, supervisor_options options, std::vector<child_spec> children,
                                  done_void up) {
    auto path = id;
    auto s = impl::make(rt, std::move(id), std::move(path), std::move(options), std::move(children), std::move(up));
    s->actor::start(nullptr);
    return s;
}

void supervisor::on_start() {
    defer_ready();
    auto& s = *impl_;
    const auto refuse = [&](const error& why) {
        s.start_error = why;
        exit({exit_kind::start_failure, static_cast<int>(why.code), why.message});
    };
    if (auto ok = check_rules(s.options.rules); !ok) return refuse(ok.error());
    for (auto& spec : std::exchange(s.initial, {})) {
        auto start = std::move(spec.start);
        auto name = spec.id;
        s.inbox.push_back({event::add_child{std::move(static_cast<child_rules&>(spec)), s.initial_request, false}, 0, 0, {},
                           std::move(name), std::move(start)});
        s.process();
        if (s.start_error) return refuse(*s.start_error);
    }
    s.apply(event::start_all{});
}

void supervisor::on_stop() { impl_->apply(event::stop{}); }

void supervisor::on_exit(const exit_reason& reason) noexcept {
    auto& s = *impl_;
    std::vector<std::shared_ptr<child>> alive;
    {
        std::lock_guard lock(s.mutex);
        s.ended = true;
        for (auto& [key, e] : s.entries) {
            if (e.handle) alive.push_back(std::move(e.handle));
            if (s.options.names && e.actor_incarnation) s.options.names->remove(*e.id, e.actor_incarnation);
        }
    }
    for (auto& h : alive) guarded([&] { h->kill(); });  // only when killed or broken itself: nothing may be orphaned
    s.timers.clear();
    if (!s.is_up)
        guarded([&] {
            s.up(tl::unexpected<error>(s.start_error ? *s.start_error
                                                     : error{reason.kind == exit_kind::start_failure ? static_cast<errc>(reason.code)
                                                                                                     : errc::cancelled,
                                                             reason.detail.empty() ? reason.text() : reason.detail}));
        });
    s.requests.clear();  // answers `stale`
    for (auto& done : std::exchange(s.stop_waiters, {})) guarded([&] { done(result<void>{}); });
}

// ---- the API

namespace {
template <class T>
void refuse(reply<T>& done, const delivery& d) {
    if (done) done(tl::unexpected<error>(d.as_result().error()));
}
}  // namespace

template <class Done, class Event>
void supervisor::impl::request(Event e, Done done, std::string spec_id, std::optional<start_function> start) {
    struct asked {
        Event e;
        Done done;
        std::string spec_id;
        std::optional<start_function> start;
    };
    auto a = std::make_unique<asked>(asked{std::move(e), std::move(done), std::move(spec_id), std::move(start)});
    auto* raw = a.get();
    task message([s = self, a = std::move(a)]() mutable {
        auto& i = *s->impl_;
        a->e.request = ++i.last_request;
        i.requests.emplace(a->e.request, std::move(a->done));
        i.inbox.push_back({std::move(a->e), 0, 0, {}, std::move(a->spec_id), std::move(a->start)});
        i.process();
    });
    if (const auto sent = self->push(std::move(message)); !sent) refuse(raw->done, sent);
}

void supervisor::start_child(child_spec spec, done_child done) {
    auto start = std::move(spec.start);
    auto name = spec.id;
    impl_->request(event::add_child{std::move(static_cast<child_rules&>(spec)), 0, false}, reply<child_ref>(std::move(done)),
                   std::move(name), std::move(start));
}
void supervisor::ensure_child(child_spec spec, done_child done) {
    auto start = std::move(spec.start);
    auto name = spec.id;
    impl_->request(event::add_child{std::move(static_cast<child_rules&>(spec)), 0, true}, reply<child_ref>(std::move(done)),
                   std::move(name), std::move(start));
}
void supervisor::terminate_child(std::string child, done_void done) {
    impl_->request(event::terminate_child{std::move(child), 0}, reply<void>(std::move(done)));
}
void supervisor::restart_child(std::string child, done_child done) {
    impl_->request(event::restart_child{std::move(child), 0}, reply<child_ref>(std::move(done)));
}
void supervisor::delete_child(std::string child, done_void done) {
    impl_->request(event::delete_child{std::move(child), 0}, reply<void>(std::move(done)));
}

void supervisor::stop_all(done_void done) {
    // Refused, or dropped because it ended by itself before it came to this message: there is nothing left.
    reply<void> answer;
    if (done) answer = reply<void>([done = std::move(done)](result<void>) mutable { done(result<void>{}); });
    (void)push_always([this, answer = std::move(answer)]() mutable {
        if (answer) impl_->stop_waiters.push_back(std::move(answer));
        impl_->apply(event::stop{});
    });
}

bool supervisor::stop_and_wait(nanoseconds deadline) {
    return await<void>(deadline, [this](auto done) { stop_all(std::move(done)); }).has_value();
}

std::vector<child_view> supervisor::which_children() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->decision.children();
}
std::size_t supervisor::child_count() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->decision.size();
}
const std::string& supervisor::id() const { return impl_->id; }
const std::string& supervisor::path() const { return impl_->path; }

}  // namespace holdfast::supervise
