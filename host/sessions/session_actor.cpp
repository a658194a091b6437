#include "sessions/session_actor.hpp"

#include <algorithm>

#include "kernel/core/ids.hpp"

namespace holdfast::sessions {
namespace {

/// Nothing was written for certain: the store said so, or was never reached.
bool certain(errc code) {
    return code == errc::read_only || code == errc::unavailable || code == errc::overloaded || code == errc::invalid_argument;
}

/// Beyond them a reader that attaches again takes a snapshot.
constexpr events::topic_options topic_limits{.capacity = 1024, .max_bytes = 1u << 20};

error restarted() {
    return {errc::unavailable, "the session is being restarted; send again with the same idem_key", milliseconds(200)};
}

}  // namespace

session_actor::session_actor(supervise::runtime& rt, std::string id, const session_services& services, const session_options& options,
                             std::shared_ptr<session_host> host)
    : actor(rt), id_(std::move(id)), services_(services), options_(options), host_(std::move(host)) {
    state_.id = id_;
    state_.keep = options_.recent_messages;
}

std::int64_t session_actor::wall_ms() const {
    return std::chrono::duration_cast<milliseconds>(rt().clock().wall().time_since_epoch()).count();
}

turn_context session_actor::context() {
    turn_context c;
    c.wall_ms = wall_ms();
    c.next_seq = next_seq_;
    c.options = &options_;
    c.new_id = [](std::string_view prefix) { return random_id(prefix); };
    if (services_.tools) c.tools = services_.tools->tools();
    c.offered = offered_.size() ? &offered_ : nullptr;
    return c;
}

void session_actor::serve(std::shared_ptr<session_request> r) {
    last_used_ = rt().now();
    unpack();
    if (loaded_ && !state_.unfinished()) arm_rest();
    const json& p = r->params;
    const std::string& m = r->method;
    if (m == "session.create") {
        session_config config{string_or(p, "title"), string_or(p, "llm"), {}, {}};
        if (const json& s = member(p, "servers"); s.is_array()) config.servers = s.get<std::vector<std::string>>();
        return submit(input::create{r->who.user, std::move(config)}, std::move(r->done), false);
    }
    if (state_.last_durable == 0 && !commit_ && queue_.empty()) {
        error none{errc::session_not_found, "there is no session " + id_ + "; session.list shows those there are"};
        r->done(unexpected<error>(none));
        return give_up(departure::not_found, std::move(none));
    }
    const std::string by = r->who.via.empty() ? r->who.user : r->who.user == "local" ? r->who.via : r->who.user + " (" + r->who.via + ")";
    if (m == "session.get") return r->done(snapshot());
    if (m == "session.stats") return r->done(state_.stats.to_json());
    if (m == "session.history") return history(p, std::move(r->done));
    if (m == "events.read") return events_page(p, std::move(r->done));
    if (m == "session.command") return command(std::move(r));
    if (m == "session.send")
        return submit(input::user_message{string_or(p, "content"), string_or(p, "idem_key"), by}, std::move(r->done), false);
    if (m == "session.cancel") return submit(input::cancel{by, {}}, std::move(r->done), false);
    if (m == "session.resolve")
        return submit(input::answer{string_or(p, "request_id"), string_or(p, "decision"), string_or(p, "pattern"), by, {}}, std::move(r->done), false);
    if (m == "session.input")
        return submit(input::answer{string_or(p, "request_id"), string_or(p, "action"), {}, by, member(p, "content")}, std::move(r->done), false);
    if (m == "session.destroy") return submit(input::end{"destroyed by " + by}, std::move(r->done), false);
    if (m == "session.configure") {
        input::configure c;
        if (p.contains("title")) c.title = string_or(p, "title");
        if (p.contains("llm")) c.llm = string_or(p, "llm");
        if (p.contains("servers")) c.servers = p["servers"].get<std::vector<std::string>>();
        if (p.contains("allow")) c.allow = p["allow"].get<std::vector<std::string>>();
        if (c.llm && !c.llm->empty() && services_.llm && !services_.llm->knows(*c.llm))
            return r->done(fail(errc::invalid_argument, "there is no model adapter named \"" + *c.llm + "\"; llm.list shows those there are"));
        return submit(std::move(c), [self = supervise::ref<session_actor>::share(this), done = std::move(r->done)](result<json> out) mutable {
            // In our own turn, before the next message: the snapshot is the one with the change in it.
            if (out) out = self->snapshot();
            done(std::move(out));
        }, false);
    }
    r->done(fail(errc::internal, "no such method: " + m));
}

void session_actor::submit(session_input in, reply done, bool internal) {
    if (!internal && queue_.size() >= max_stashed_inputs)
        return done(unexpected<error>(error{errc::overloaded, "too many requests wait for this session", milliseconds(100)}));
    unpack();
    queue_.push_back({std::move(in), std::move(done), internal});
    pump();
}

void session_actor::pump() {
    if (leave_soon_ && !commit_) return leave();
    while (loaded_ && !commit_ && !leaving_ && !queue_.empty()) {
        if (blocked_) {
            // What waits for the store stays in order; callers are told at once.
            std::list<queued> waiting;
            waiting.swap(queue_);
            for (queued& q : waiting) {
                if (q.internal) queue_.push_back(std::move(q));
                else q.done(fail(errc::read_only, "the store does not take writes now; nothing was changed"));
            }
            return;
        }
        queued q = std::move(queue_.front());
        queue_.pop_front();
        run(std::move(q));
    }
    if (loaded_ && !commit_) drain();
}

void session_actor::run(queued q) {
    drain();
    const std::string partial = stream_ ? stream_->text : std::string();
    if (auto* c = std::get_if<input::cancel>(&q.in)) c->partial = partial;
    if (auto* f = std::get_if<input::model_failed>(&q.in); f && stream_ && stream_->message_id == f->message_id) f->partial = partial;
    turn_outcome out = decide(state_, q.in, context());
    if (out.events.empty()) {
        for (session_effect& e : out.effects) perform(e);
        if (q.done) q.done(std::move(out.reply));
        return;
    }
    commit_ = std::make_unique<commit>(commit{std::move(q), std::move(out), next_seq_});
    append();
}

void session_actor::append() {
    const commit& c = *commit_;
    json events = json::array();
    const std::string at = c.out.next.updated_at;
    for (std::size_t i = 0; i < c.out.events.size(); ++i) {
        const session_event& e = c.out.events[i];
        json row{{"stream", stream_name()}, {"seq", c.first + i}, {"type", e.type}, {"at", at}, {"data", e.data}};
        if (!e.idem_key.empty()) row["idem_key"] = e.idem_key;
        // So that the next start of the host sees from the last row alone that a turn was under way.
        if (i + 1 == c.out.events.size() && (c.out.next.unfinished() || c.out.next.ended)) row["data"]["turn_open"] = true;
        events.push_back(std::move(row));
    }
    ask_store("append", {{"events", std::move(events)}}, [](session_actor& a, result<json> r) { a.appended(std::move(r)); });
}

void session_actor::appended(result<json> r) {
    if (!commit_) return;
    if (r) return committed();
    const bool keyed = !commit_->out.events.front().idem_key.empty();
    if (r.error().code == errc::already_exists && keyed) return find_key(0);
    if (certain(r.error().code)) return refused(r.error());
    verify(std::move(r.error()));
}

/// The store failed without saying whether it wrote. The journal is the judge.
void session_actor::verify(error why) {
    const std::size_t n = commit_->out.events.size();
    ask_store("read", {{"stream", stream_name()}, {"after", commit_->first - 1}, {"limit", n + 1}},
              [why = std::move(why)](session_actor& a, result<json> read) mutable { a.verified(std::move(why), std::move(read)); });
}

void session_actor::verified(error why, result<json> read) {
    if (!commit_) return;
    if (!read) {
        // Not even that can be told: the caller learns so, the session waits.
        if (commit_->cause.done)
            commit_->cause.done(unexpected<error>(error{errc::unavailable, "it is not known whether the store wrote this (" + why.message +
                                                                               "); send again with the same idem_key", options_.store_retry}));
        commit_->cause.done.reset();
        retry_ = tell_after(options_.store_retry, [this, why = std::move(why)]() mutable {
            if (commit_) verify(std::move(why));
        });
        return;
    }
    const json& rows = member(*read, "events");
    if (!rows.is_array() || rows.empty()) return refused(why);
    const auto& events = commit_->out.events;
    bool ours = rows.size() == events.size();
    for (std::size_t i = 0; ours && i < events.size(); ++i) {
        json data = member(rows[i], "data");
        data.erase("turn_open");
        ours = string_or(rows[i], "type") == events[i].type && data == events[i].data &&
               int_or(rows[i], "seq", 0) == static_cast<std::int64_t>(commit_->first + i);
    }
    if (ours) return committed();
    // An append of an earlier incarnation arrived late: what we hold is not what the journal says.
    throw std::runtime_error("the journal of " + id_ + " holds events this incarnation did not write; restoring");
}

/// The key was used before the messages in memory: the answer is in the log.
void session_actor::find_key(std::uint64_t after) {
    constexpr std::int64_t page = 500;
    ask_store("read", {{"stream", stream_name()}, {"after", after}, {"limit", page}}, [](session_actor& a, result<json> r) {
        if (!a.commit_) return;
        const std::string key = a.commit_->out.events.front().idem_key;
        const json& rows = r ? member(*r, "events") : member(json(), "");
        if (!r) return a.refused(r.error());
        for (const json& row : rows)
            if (string_or(row, "idem_key") == key) {
                commit c = std::move(*a.commit_);
                a.commit_.reset();
                if (c.cause.done) c.cause.done(json{{"message_id", string_or(member(row, "data"), "message_id")}, {"seq", int_or(row, "seq", 0)}});
                return a.pump();
            }
        if (rows.size() < static_cast<std::size_t>(page)) return a.verify({errc::already_exists, "the store has this event already"});
        a.find_key(static_cast<std::uint64_t>(int_or(rows.back(), "seq", 0)));
    });
}

void session_actor::refused(const error& why) {
    commit c = std::move(*commit_);
    commit_.reset();
    if (c.cause.internal) {
        blocked_ = true;
        if (!std::exchange(read_only_told_, true))
            publish_now("SessionStateChanged", {{"old_state", to_string(state_.now())}, {"new_state", to_string(state_.now())},
                                                {"context", {{"store", to_string(why.code)}, {"message", why.message}}}});
        queue_.push_front(std::move(c.cause));
        retry_ = tell_after(options_.store_retry, [this] {
            blocked_ = false;
            pump();
        });
    } else if (c.cause.done) {
        c.cause.done(unexpected<error>(why));
    }
    if (state_.last_durable == 0) return give_up(departure::not_found, why);
    pump();
}

void session_actor::told_writable() {
    if (!std::exchange(read_only_told_, false)) return;
    publish_now("SessionStateChanged", {{"old_state", to_string(state_.now())}, {"new_state", to_string(state_.now())},
                                        {"context", {{"store", "writable"}}}});
}

void session_actor::committed() {
    commit c = std::move(*commit_);
    commit_.reset();
    const phase before = state_.now();
    for (std::size_t i = 0; i < c.out.events.size(); ++i) publish(c.out.events[i], c.first + i);
    next_seq_ = std::max(next_seq_, c.first + c.out.events.size());
    state_ = std::move(c.out.next);
    if (const phase after = state_.now(); after != before)
        publish_now("SessionStateChanged", {{"old_state", to_string(before)}, {"new_state", to_string(after)}, {"context", json::object()}});
    if (stream_ && state_.streaming != stream_->message_id) {
        if (services_.llm && stream_->call) services_.llm->cancel(stream_->call);  // nothing happens when it has ended
        if (stream_->saved > 0) services_.store->submit("delete", {{"table", "partials"}, {"key", id_}}, options_.store_timeout, {}, [](result<json>) {});
        stream_.reset();
        idle_.cancel();
        partial_.cancel();
        flush_.cancel();
    }
    // The answer leaves before the effects: a model that answers at once must not overtake it.
    if (c.cause.done) c.cause.done(std::move(c.out.reply));
    for (session_effect& e : c.out.effects) perform(e);
    told_writable();
    after_commit(before);
    pump();
}

void session_actor::publish(const session_event& e, std::uint64_t seq) {
    // As text: the many events of an answer take a fifth of the memory of their values, and are written out anyway.
    auto text = std::make_shared<std::string>("{");
    events::payload_traits<json>::append_fields(*text, e.data);
    *text += '}';
    const events::object_text payload = std::move(text);
    if (e.type == "SessionStarted" || e.type == "SessionEnded") services_.bus->publish("session:system", e.type, payload);
    if (!topic_) reopen_topic(seq);
    auto sent = topic_.publish_at(seq, e.type, payload);
    if (sent || sent.error().code != errc::stale) return;
    // Somebody else wrote to our topic: its numbers are void, everyone takes a snapshot.
    epoch_ = std::max(epoch_ + 1, static_cast<std::uint64_t>(wall_ms()));
    reopen_topic(seq);
    (void)topic_.publish_at(seq, e.type, payload);
}

void session_actor::reopen_topic(std::uint64_t next_seq) {
    if (auto opened = services_.bus->open_topic(stream_name(), epoch_, next_seq, topic_limits)) topic_ = std::move(*opened);
    else topic_ = services_.bus->topic(stream_name());  // refusing one: the bus is closed
}

void session_actor::publish_now(std::string type, json data) {
    data["session_id"] = id_;
    publish({std::move(type), std::move(data), false, {}}, next_seq_);
    ++next_seq_;
}

void session_actor::after_commit(phase before) {
    arm_expiry();
    last_used_ = rt().now();
    const bool settled = before != phase::idle && state_.now() == phase::idle;
    if (settled || state_.last_durable <= 1 || before == phase::idle) save_row();
    summarise();
    if (state_.now() == phase::idle) arm_rest();
    if (state_.ended) return forget();
    if (state_.last_durable - snapshot_seq_ >= options_.snapshot_every) save_snapshot({});
}

void session_actor::summarise() {
    const std::int64_t created = rfc3339_ms(state_.created_at);
    host_->summarise(id_, {state_.config.title, created ? created : session_summary::unknown, rfc3339_ms(state_.updated_at), state_.stats.messages,
                           next_seq_ - 1, state_.now()});
}

void session_actor::arm_rest() {
    if (rest_.pending() || leaving_) return;
    const auto left = last_used_ + options_.keep_events - rt().now();
    rest_ = tell_after(std::max<nanoseconds>(left, nanoseconds(0)), [this] { rest(); });
}

void session_actor::rest() {
    if (state_.unfinished() || commit_ || !queue_.empty() || leaving_) return;  // after_commit() arms again
    if (rt().now() - last_used_ < options_.keep_events) return arm_rest();
    offered_ = {};
    if (packed_.empty() && !state_.recent.empty()) packed_ = state_.pack();
    topic_ = {};
    (void)services_.bus->trim_topic(stream_name());
}

void session_actor::unpack() {
    if (packed_.empty()) return;
    state_.unpack(packed_);
    packed_ = {};
}

void session_actor::arm_expiry() {
    std::int64_t first = 0;
    for (const pending_request& p : state_.pending)
        if (first == 0 || p.expires_ms < first) first = p.expires_ms;
    if (first == expiry_armed_) return;
    expiry_armed_ = first;
    if (first == 0) return expiry_.cancel();
    expiry_ = tell_after(milliseconds(std::max<std::int64_t>(1, first - wall_ms())), [this] {
        expiry_armed_ = 0;
        submit(input::expire{}, {}, true);
        if (!commit_ && queue_.empty()) arm_expiry();  // the wall clock was set back: not due yet
    });
}

void session_actor::arm_hibernation() {
    if (options_.hibernate_after.count() <= 0) return;
    hibernation_ = tell_after(options_.hibernate_after, [this] {
        try_hibernate(false);
        if (!leaving_) arm_hibernation();
    });
}

void session_actor::try_hibernate(bool even_if_fresh) {
    const auto busy = [this] { return state_.unfinished() || commit_ || !queue_.empty() || blocked_ || !loaded_ || leaving_ || leave_soon_; };
    if (busy() || (!even_if_fresh && rt().now() - last_used_ < options_.hibernate_after)) return;
    if (!host_->begin_retirement(id_, incarnation())) return;
    // Whatever was sent before that call is ahead of this message.
    (void)supervise::ref<session_actor>::share(this).tell_always([busy](session_actor& a) {
        if (busy()) return a.host_->cancel_retirement(a.id_, a.incarnation());
        a.leave();
    });
}

void session_actor::leave() {
    if (leaving_) return;
    if (!loaded_) return give_up(departure::retired, {});
    leave_soon_ = true;
    if (commit_) return;  // not in the middle of a write
    leaving_ = true;
    departure_ = departure::retired;
    save_snapshot([this] { exit({supervise::exit_kind::normal, 0, {}}); });
}

void session_actor::save_snapshot(unique_function<void()> done) {
    if (state_.last_durable == 0 || state_.last_durable == snapshot_seq_) {
        if (done) done();
        return;
    }
    snapshot_seq_ = state_.last_durable;
    unpack();
    ask_store("put", {{"table", "snapshots"}, {"key", id_}, {"value", {{"seq", state_.last_durable}, {"state", state_.to_json()}}}},
              [done = std::move(done)](session_actor&, result<json>) mutable {
                  if (done) done();  // a snapshot that was not saved only makes the next restore longer
              });
}

void session_actor::save_row() {
    if (state_.ended) return;
    json row{{"title", state_.config.title}, {"created_at", state_.created_at}, {"updated_at", state_.updated_at},
             {"messages", state_.stats.messages}, {"seq", state_.last_durable}, {"user", state_.user}};
    services_.store->submit("put", {{"table", "sessions"}, {"key", id_}, {"value", std::move(row)}}, options_.store_timeout, {}, [](result<json>) {});
}

void session_actor::forget() {
    if (std::exchange(leaving_, true)) return;
    departure_ = departure::ended;
    stop_everything();
    for (const char* table : {"snapshots", "partials", "sessions"})
        services_.store->submit("delete", {{"table", table}, {"key", id_}}, options_.store_timeout, {}, [](result<json>) {});
    ask_store("drop", {{"stream", stream_name()}}, [](session_actor& a, result<json>) {
        (void)a.services_.bus->drop_topic(a.stream_name());
        a.exit({supervise::exit_kind::normal, 0, {}});  // not dropped: the next start finds SessionEnded and tries again
    });
}

void session_actor::on_exit(const supervise::exit_reason& why) noexcept {
    try {
        stop_everything();
        topic_ = {};  // the directory gives it back
        if (departure_ == departure::crashed && departure_reason_.message.empty()) departure_reason_ = {errc::internal, why.text()};
        if (commit_ && commit_->cause.done) commit_->cause.done(unexpected<error>(restarted()));
        for (queued& q : queue_)
            if (q.done) q.done(unexpected<error>(restarted()));
        host_->gone(id_, incarnation(), departure_, departure_reason_);
    } catch (...) {  // T1: a caller's callback threw; the others have been told as far as possible
        host_->gone(id_, incarnation(), departure_, departure_reason_);
    }
}

}  // namespace holdfast::sessions
