#include "sessions/directory_impl.hpp"

namespace holdfast::sessions {

using supervise::ref;

std::shared_ptr<session_directory> session_directory::create(session_services services, session_options options) {
    return std::make_shared<directory_impl>(std::move(services), options);
}

child_starter children_of(std::function<ref<supervise::supervisor>()> sup) {
    return [sup = std::move(sup)](std::string id, actor_factory make, unique_function<void(error)> failed) {
        auto owner = sup();
        if (!owner) return failed({errc::unavailable, "the supervisor of sessions is being restarted", milliseconds(100)});
        auto spec = supervise::actor_child(std::move(id), "session",
                                           [make = std::move(make)](const supervise::child_context& c) { return make(c.rt()); });
        spec.restart = supervise::restart_type::temporary;  // the directory restarts sessions, each on its own budget
        spec.start_deadline = milliseconds(60'000);
        owner->start_child(std::move(spec), [failed = std::move(failed)](result<supervise::child_ref> r) mutable {
            if (!r) failed(r.error());
        });
    };
}

child_starter unsupervised(supervise::runtime& rt) {
    return [&rt](std::string, actor_factory make, unique_function<void(error)> failed) {
        auto made = make(rt);
        if (!made) return failed(made.error());
        (*made)->start(nullptr);
    };
}

namespace {

bool valid_id(const std::string& id) {
    if (id.empty() || id.size() > 128 || id == "system" || id == "admin_dashboard") return false;
    return std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
}

/// A reply that is certain: dropped unanswered, it says that the session went away.
struct certain_reply {
    reply f;
    explicit certain_reply(reply r) : f(std::move(r)) {}
    certain_reply(certain_reply&&) noexcept = default;
    ~certain_reply() {
        if (!f) return;
        try {
            f(unexpected<error>(error{errc::unavailable, "the session ended before it answered; send again with the same idem_key", milliseconds(200)}));
        } catch (...) {  // T1: a caller's callback must not break whoever drops it
        }
    }
    void operator()(result<json> r) {
        auto once = std::move(f);
        f.reset();
        if (once) once(std::move(r));
    }
};

constexpr std::string_view own_methods[] = {"session.list", "session.retry", "alias.list", "alias.set", "alias.delete", "history.list", "history.add", "events.read"};
constexpr std::string_view session_methods[] = {"session.create", "session.get", "session.history", "session.send", "session.cancel", "session.resolve",
                                                "session.input", "session.command", "session.configure", "session.stats", "session.destroy"};

template <std::size_t N>
bool in(const std::string_view (&list)[N], std::string_view m) {
    return std::find(std::begin(list), std::end(list), m) != std::end(list);
}

}  // namespace

directory_impl::directory_impl(session_services services, session_options options)
    : services_(std::move(services)), options_(std::move(options)), aliases_(std::make_shared<alias_table>()) {}

bool directory_impl::has(std::string_view m) const { return in(own_methods, m) || in(session_methods, m); }

session_directory::figures directory_impl::stats() const {
    std::lock_guard lock(mutex_);
    figures f = figures_;
    f.known = sessions_.size();
    f.live = live_;
    for (const auto& [id, e] : sessions_) f.quarantined += e.state == entry::quarantined;
    return f;
}

void directory_impl::invoke(std::string_view m, const caller& who, json params, reply raw) {
    reply done = certain_reply(std::move(raw));
    if (!params.is_object()) params = json::object();
    if (m == "session.list") return list(params, std::move(done));
    if (m == "session.retry") return retry(string_or(params, "session_id"), std::move(done));
    if (m.substr(0, 6) == "alias." || m.substr(0, 8) == "history.") return shared_lists(m, params, std::move(done));
    if (m == "events.read") {
        const std::string topic = string_or(params, "topic");
        const std::string id = topic.substr(0, 8) == "session:" ? topic.substr(8) : std::string();
        if (!valid_id(id)) return ring(params, std::move(done));
        params["session_id"] = id;
    } else if (!in(session_methods, m)) {
        return done(fail(errc::not_found, "there is no method " + std::string(m)));
    }
    std::string id = string_or(params, "session_id");
    const bool create = m == "session.create";
    if (create && id.empty()) id = random_id("s_");
    if (!valid_id(id)) {
        return done(fail(create ? errc::invalid_argument : errc::session_not_found,
                         create ? "a session id has 1 to 128 letters, digits, '-', '_' or '.'" : "there is no session \"" + id + "\"; session.list shows those there are"));
    }
    auto r = std::make_shared<session_request>(session_request{std::string(m), who, std::move(params), std::move(done)});
    dispatch(id, std::move(r), create);
}

/// A request on its way to an actor. Dropped unserved, because the actor ended first, it goes back to the directory.
struct directory_impl::parcel {
    std::shared_ptr<directory_impl> home;
    std::string id;
    std::uint64_t incarnation = 0;
    std::shared_ptr<session_request> r;
    parcel(std::shared_ptr<directory_impl> h, std::string i, std::uint64_t n, std::shared_ptr<session_request> q)
        : home(std::move(h)), id(std::move(i)), incarnation(n), r(std::move(q)) {}
    parcel(parcel&&) noexcept = default;
    parcel(const parcel&) = delete;
    ~parcel() {
        if (!r) return;
        try {
            home->returned(id, incarnation, std::move(r));
        } catch (...) {  // out of memory: the request's own reply says that it failed
        }
    }
};

void directory_impl::deliver(const ref<session_actor>& to, const std::string& id, std::shared_ptr<session_request> r) {
    if (to->mailbox_size() >= to->mailbox_capacity())
        return r->done(unexpected<error>(error{errc::overloaded, "too many requests wait for session " + id, milliseconds(100)}));
    (void)to.tell_always([p = parcel(shared_from_this(), id, to.incarnation(), std::move(r))](session_actor& a) mutable { a.serve(std::move(p.r)); });
}

void directory_impl::returned(const std::string& id, std::uint64_t incarnation, std::shared_ptr<session_request> r) {
    {
        std::lock_guard lock(mutex_);
        const auto it = sessions_.find(id);
        if (it != sessions_.end() && it->second.incarnation() == incarnation && !stopping_) {
            // It is dead already, though its exit has not been reported yet: gone() starts the next one.
            it->second.state = entry::retiring;
            it->second.serve().waiting.push_back(std::move(r));
            return;
        }
    }
    dispatch(id, std::move(r), false);
}

void directory_impl::dispatch(const std::string& id, std::shared_ptr<session_request> r, bool create) {
    ref<session_actor> to, victim;
    error refusal;
    bool start = false;
    {
        std::lock_guard lock(mutex_);
        auto it = sessions_.find(id);
        if (stopping_) refusal = {errc::unavailable, "the host is stopping"};
        else if (it == sessions_.end() && indexed_ && !create)
            refusal = {errc::session_not_found, "there is no session " + id + "; session.list shows those there are"};
        else {
            if (it == sessions_.end()) it = sessions_.try_emplace(id).first;
            entry& e = it->second;
            if (e.state == entry::quarantined) refusal = e.serve().quarantine;
            else if (e.state == entry::live) to = e.serve().actor;
            else if (e.serving && e.serving->waiting.size() >= max_waiting_for_start) refusal = {errc::overloaded, "too many requests wait for session " + id, milliseconds(200)};
            else if (e.state == entry::cold && live_ >= options_.max_live) {
                refusal = {errc::overloaded, "the limit of " + std::to_string(options_.max_live) + " live sessions is reached", milliseconds(500)};
                victim = oldest_idle_locked();
            } else {
                if (r) e.serve().waiting.push_back(std::move(r));
                if (e.state == entry::cold) start = true;
                if (start) begin_locked(e);
            }
        }
    }
    if (victim) (void)victim.tell_always([](session_actor& a) { a.try_hibernate(true); });
    if (to && r) return deliver(to, id, std::move(r));
    if (start) return launch(id);
    if (r) r->done(unexpected<error>(std::move(refusal)));
}

void directory_impl::begin_locked(entry& e) {
    e.state = entry::starting;
    e.serve().was_live = false;
    ++e.starts;
    ++live_;
}

ref<session_actor> directory_impl::oldest_idle_locked() const {
    const entry* oldest = nullptr;
    for (const auto& [id, e] : sessions_)
        if (e.state == entry::live && e.summary.state == phase::idle && (!oldest || e.summary.updated_ms < oldest->summary.updated_ms)) oldest = &e;
    return oldest ? oldest->serving->actor : ref<session_actor>();
}

/// Begins one start. The state is `starting` and counted already (A1: whoever changed it, and nobody else, comes here).
void directory_impl::launch(const std::string& id) {
    std::uint32_t number = 0;
    {
        std::lock_guard lock(mutex_);
        const auto it = sessions_.find(id);
        if (it == sessions_.end()) return;
        number = it->second.starts;
    }
    auto make = [self = shared_from_this(), id](supervise::runtime& rt) -> result<supervise::actor_ref> {
        auto actor = supervise::make_actor<session_actor>(rt, id, self->services_, self->options_, std::shared_ptr<session_host>(self));
        std::lock_guard lock(self->mutex_);
        const auto it = self->sessions_.find(id);
        if (it == self->sessions_.end() || it->second.state != entry::starting) return fail(errc::cancelled, "the start is not wanted any more");
        it->second.serve().actor = actor;
        return supervise::actor_ref(actor);
    };
    // Ids of children are not reused: the one before may still be on its way out of the supervisor's books.
    const std::string child = number == 1 ? id : id + "~" + std::to_string(number);
    services_.start_child(child, std::move(make), [self = shared_from_this(), id, number](error why) {
        requests waiting;
        {
            std::lock_guard lock(self->mutex_);
            const auto it = self->sessions_.find(id);
            if (it == self->sessions_.end() || it->second.starts != number || it->second.state != entry::starting || it->second.incarnation()) return;
            it->second.state = entry::cold;
            waiting.swap(it->second.serve().waiting);
            --self->live_;
        }
        for (auto& r : waiting) r->done(unexpected<error>(why));
    });
}

void directory_impl::live(const std::string& id, std::uint64_t incarnation) {
    std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.incarnation() != incarnation) return;
    entry& e = it->second;
    service& s = e.serve();
    e.state = entry::live;
    s.was_live = true;
    s.wake = false;
    s.failures = 0;
    ++figures_.woken;
    // Under the lock, so that nobody overtakes: the actor is in its own turn, so nothing of this is dropped here.
    for (auto& r : std::exchange(e.serving->waiting, {}))
        (void)e.serving->actor.tell_always([p = parcel(shared_from_this(), id, incarnation, std::move(r))](session_actor& a) mutable { a.serve(std::move(p.r)); });
}

void directory_impl::gone(const std::string& id, std::uint64_t incarnation, departure how, error why) {
    requests refused;
    bool again = false, crashed = false, later = false;
    {
        std::lock_guard lock(mutex_);
        const auto it = sessions_.find(id);
        if (it == sessions_.end() || it->second.incarnation() != incarnation) return;
        entry& e = it->second;
        service& s = e.serve();
        const bool unfinished = e.summary.state != phase::idle;
        s.actor = {};
        e.state = entry::cold;
        --live_;
        if (how == departure::crashed) {
            crashed = true;
            ++figures_.restarts;
            again = count_crash_locked(e, id, why);
            if (!again) refused.swap(s.waiting), why = s.quarantine;
        } else if (how == departure::store_failed) {
            refused.swap(s.waiting);
            later = unfinished || s.wake;
        } else if (how == departure::ended || how == departure::not_found) {
            refused.swap(s.waiting);
            if (how == departure::ended) why = {errc::session_not_found, "this session has ended"};
        } else {
            ++figures_.hibernated;
        }
        if (how == departure::retired) again = !s.waiting.empty();
        if (stopping_) again = later = false, refused.swap(s.waiting);
        if (again) begin_locked(e);
        else if (e.state == entry::cold && s.idle()) e.serving.reset();
        if (how == departure::ended || (how == departure::not_found && !again)) sessions_.erase(it);
    }
    if (crashed)
        services_.bus->publish("session:system", "ErrorOccurred",
                               json{{"session_id", id}, {"error_type", "session_crash"}, {"message", why.message}, {"context", {{"restarting", again}}}});
    for (auto& r : refused) r->done(unexpected<error>(why));
    // Nobody has asked for a while: what the ring keeps is in the store or was only of the moment. The numbering stays.
    if (how == departure::retired && !again) services_.bus->trim_topic("session:" + id);
    if (again) launch(id);
    if (later) wake_later(id);
    stopped_one();
}

/// True: start it again. False: it is quarantined now.
bool directory_impl::count_crash_locked(entry& e, const std::string& id, const error& why) {
    const steady_time now = services_.rt->now();
    std::string what;
    service& s = e.serve();
    if (!s.was_live) {
        if (++s.failures < max_restore_attempts) return true;
        what = "could not be restored " + std::to_string(max_restore_attempts) + " times in a row";
    } else {
        std::erase_if(s.crashes, [now](steady_time t) { return now - t > crash_window; });
        s.crashes.push_back(now);
        if (s.crashes.size() < max_crashes) return true;
        what = "crashed " + std::to_string(max_crashes) + " times within a minute";
    }
    e.state = entry::quarantined;
    s.quarantine = {errc::unavailable, "session " + id + " is quarantined: it " + what + " (" + why.message +
                                           "). Try again with: holdfast call session.retry '{\"session_id\":\"" + id + "\"}'"};
    return false;
}

void directory_impl::retry(const std::string& id, reply done) {
    {
        std::lock_guard lock(mutex_);
        const auto it = sessions_.find(id);
        if (it != sessions_.end() && it->second.state == entry::quarantined) {
            it->second.state = entry::cold;
            it->second.serve().failures = 0;
            it->second.serve().crashes.clear();
        }
    }
    dispatch(id, std::make_shared<session_request>(session_request{"session.get", {}, json::object(), std::move(done)}), false);
}

void directory_impl::wake_later(const std::string& id) {
    services_.rt->after(options_.store_retry, [weak = weak_from_this(), id] {
        if (auto self = weak.lock()) self->dispatch(id, nullptr, false);
    }).detach();
}

void directory_impl::summarise(const std::string& id, session_summary s) {
    std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it != sessions_.end()) it->second.summary = std::move(s);
}

bool directory_impl::begin_retirement(const std::string& id, std::uint64_t incarnation) {
    std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.incarnation() != incarnation || it->second.state != entry::live) return false;
    it->second.state = entry::retiring;
    return true;
}

void directory_impl::cancel_retirement(const std::string& id, std::uint64_t incarnation) {
    std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    if (it == sessions_.end() || it->second.incarnation() != incarnation) return;
    entry& e = it->second;
    e.state = entry::live;
    for (auto& r : std::exchange(e.serving->waiting, {}))
        (void)e.serving->actor.tell_always([p = parcel(shared_from_this(), id, incarnation, std::move(r))](session_actor& a) mutable { a.serve(std::move(p.r)); });
}

namespace {

/// Newest activity first, then by id: the place of one session in the list.
struct place {
    std::int64_t updated_ms;
    std::string_view id;
    bool before(const place& o) const { return updated_ms != o.updated_ms ? updated_ms > o.updated_ms : id < o.id; }
};

std::string shown_time(std::int64_t ms) { return ms > 0 ? time_text(ms) : std::string(ms == session_summary::unknown ? "unknown" : ""); }

}  // namespace

void directory_impl::list(const json& params, reply done) {
    const std::string after = string_or(params, "after");
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(int_or(params, "limit", 200), 1, 1000));
    json rows = json::array();
    json answer = json::object();
    {
        std::lock_guard lock(mutex_);
        std::optional<place> from;
        if (const std::size_t colon = after.find(':'); colon != std::string::npos) {  // "next" of an answer; ids have no ':'
            from = place{std::atoll(after.c_str()), std::string_view(after).substr(colon + 1)};
        } else if (!after.empty()) {
            if (const auto it = sessions_.find(after); it != sessions_.end()) from = place{it->second.summary.updated_ms, it->first};
        }
        using row = std::map<std::string, entry>::const_iterator;
        const auto place_of = [](row it) { return place{it->second.summary.updated_ms, it->first}; };
        std::vector<row> shown;
        for (auto it = sessions_.cbegin(); it != sessions_.cend(); ++it) {
            if (it->second.summary.created_ms == 0) continue;  // being created, or looked for in vain
            if (!from || from->before(place_of(it))) shown.push_back(it);
        }
        const std::size_t n = std::min(limit, shown.size());
        std::partial_sort(shown.begin(), shown.begin() + static_cast<std::ptrdiff_t>(n), shown.end(),
                          [&](row a, row b) { return place_of(a).before(place_of(b)); });
        if (n < shown.size()) answer["next"] = std::to_string(shown[n - 1]->second.summary.updated_ms) + ":" + shown[n - 1]->first;
        shown.resize(n);
        for (const row it : shown) {
            const entry& e = it->second;
            rows.push_back({{"session_id", it->first},
                            {"title", e.summary.title},
                            {"state", e.state == entry::quarantined ? std::string_view("quarantined") : to_string(e.summary.state)},
                            {"live", e.state == entry::live || e.state == entry::retiring},
                            {"messages", e.summary.messages},
                            {"created_at", shown_time(e.summary.created_ms)},
                            {"updated_at", shown_time(e.summary.updated_ms)},
                            {"seq", e.summary.seq}});
        }
    }
    answer["sessions"] = std::move(rows);
    done(std::move(answer));
}

void directory_impl::ring(const json& params, reply done) {
    const std::string topic = string_or(params, "topic");
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(int_or(params, "limit", 200), 1, 1000));
    const auto from = static_cast<std::uint64_t>(std::max<std::int64_t>(1, int_or(params, "from", 1)));
    const auto r = services_.bus->replay(topic, from, limit);
    json events = json::array();
    for (const auto& e : r.events)
        if (auto j = parse_json(e->text())) events.push_back(std::move(*j));
    const std::uint64_t first = r.gap ? r.gap->to + 1 : from;
    done(json{{"events", std::move(events)}, {"seq", r.current.seq}, {"epoch", r.current.epoch}, {"first", first}});
}

void directory_impl::stop(milliseconds deadline, unique_function<void()> done) {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
        stop_.emplace();
        stop_->done = std::move(done);
        for (const auto& [id, e] : sessions_)
            if (e.serving && e.serving->actor) stop_->left.push_back(e.serving->actor);
    }
    auto timer = services_.rt->after(deadline, [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->stopped(true);
    });
    {
        std::lock_guard lock(mutex_);
        if (stop_) stop_->timer = std::move(timer);
    }
    stopped_one();
}

/// A3: the next ones, at most so many at a time.
void directory_impl::stopped_one() {
    constexpr std::size_t at_once = 64;
    std::vector<ref<session_actor>> next;
    {
        std::lock_guard lock(mutex_);
        if (!stop_) return;
        std::erase_if(stop_->asked, [](const auto& a) { return !a->alive(); });
        while (!stop_->left.empty() && stop_->asked.size() < at_once) {
            next.push_back(stop_->left.front());
            stop_->asked.push_back(next.back());
            stop_->left.pop_front();
        }
    }
    for (auto& a : next) (void)a.tell_always([](session_actor& s) { s.leave(); });
    stopped(false);
}

void directory_impl::stopped(bool late) {
    unique_function<void()> done;
    {
        std::lock_guard lock(mutex_);
        if (!stop_ || (!late && (live_ > 0 || !stop_->left.empty()))) return;
        done = std::move(stop_->done);
        stop_.reset();
    }
    if (done) done();
}

}  // namespace holdfast::sessions
