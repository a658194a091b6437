// Make before break: when a transport plugin has been replaced, or the configuration of the server, a connected server opens a
// second connection the new way while the first serves; ready, it takes over, and the first one stays for the calls that were
// sent on it.
// A server that cannot run twice ("move": "restart") is emptied, ended and started again instead; new calls wait meanwhile.
#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {
constexpr seconds drain_deadline{25};      // from the take-over to a new generation. The plugin's own drain time, if shorter, ends it as a loss
constexpr std::size_t max_draining = 8;    // connections before that still have calls; the next move waits for one to end
constexpr std::size_t max_held = 1'024;    // calls that wait while a server restarts to move
constexpr seconds first_retry{2}, longest_retry{15};

nanoseconds retry_delay(std::uint32_t failures) {
    supervise::backoff_policy p;
    p.initial = first_retry;
    p.cap = longest_retry;
    return supervise::base_delay(p, failures);
}
}  // namespace

result<bool> server_actor::is_current(const link& l) const {
    if (l.spec->connection_print != spec_->connection_print) return false;
    auto transport = resolve_transport(*spec_);
    if (!transport) return tl::unexpected(transport.error());
    return l.is_through(*transport);
}

std::string server_actor::move_goal() const {
    if (link_->spec->connection_print != spec_->connection_print) return "its new configuration";
    const auto& name = context_->options.transport_instance;
    return "the new generation of " + (name ? name(spec_->transport) : spec_->transport);
}

/// Called whenever there may be a newer generation or configuration. A move under way looks again at its end, so they coalesce.
void server_actor::consider_move() {
    if (stopping_ || status_.state.now != status::healthy || !link_ || !link_->wire || next_ || holding_ || move_asked_) return;
    move_timer_.cancel();
    goal_ = move_goal();
    const auto current = is_current(*link_);
    if (!current) return move_failed(current.error());
    if (*current) return;
    move_asked_ = true;
    auto self = supervise::ref<server_actor>::share(this);
    context_->moves.ask([self](move_gate::permit p) {
        // When the actor has ended the message is dropped and the permit with it.
        (void)self.tell_always([p = std::move(p)](server_actor& a) mutable { a.begin_move(std::move(p)); });
    });
}

void server_actor::begin_move(move_gate::permit permit) {
    move_asked_ = false;
    if (stopping_ || status_.state.now != status::healthy || !link_ || !link_->wire || next_ || holding_) return;
    if (draining_.size() >= max_draining) return;  // drained() looks again
    goal_ = move_goal();
    const auto current = is_current(*link_);
    if (!current) return move_failed(current.error());
    if (*current) return;
    server_log(false, "moving to " + goal_);
    move_began_ = now();
    move_permit_ = std::move(permit);
    if (!spec_->restarts_to_move) return open_next();
    holding_ = true;
    if (link_->machine.pending_calls() == 0) return vacate();
    move_timer_ = tell_after(drain_deadline, [this] { vacate(); });
}

void server_actor::open_next() {
    auto transport = resolve_transport(*spec_);
    if (!transport) return move_failed(transport.error());
    auto opened = open_link(std::move(*transport), spec_);
    if (!opened) return move_failed(opened.error());
    next_ = std::move(*opened);
    move_timer_ = tell_after(spec_->connect_timeout, [this] {
        if (next_) move_failed(not_ready(*next_));
    });
}

void server_actor::move_failed(const error& why) {
    move_timer_.cancel();
    move_permit_.reset();
    if (auto l = std::move(next_)) close_link(std::move(l), why);
    if (stopping_ || status_.state.now != status::healthy) return;  // recovery opens its own
    const std::string what = "it could not be moved to " + goal_ + ": " + why.message;
    if (!link_) return lost({why.code, what});
    const nanoseconds delay = retry_delay(++move_failures_);
    server_log(true, what + "; the old connection goes on, next attempt in " + std::to_string(std::chrono::ceil<seconds>(delay).count()) + " s");
    // A person changed it, and waits for what it does.
    if (move_failures_ == 1 && link_->spec->connection_print != spec_->connection_print)
        context_->report.notify_admins("warning", record_->name + " goes on as it was configured before: " + what, {{"mcp_name", record_->name}, {"next_step", "server.log"}});
    move_timer_ = tell_after(delay, [this] { consider_move(); });
}

void server_actor::on_next_ready(mcp::out::ready r) {
    if (auto wrong = doubt(r)) return move_failed(*wrong);
    if (status_.state.attempting) {  // the first one was lost meanwhile, and connect() has not come yet or waits for its process
        attempt_began_ = move_began_;
        adopt_next();
        return on_ready(*link_, std::move(r));
    }
    if (status_.state.now != status::healthy) return move_failed({errc::cancelled, "it is no longer wanted"});
    auto old = std::exchange(link_, std::move(next_));
    move_timer_.cancel();
    move_permit_.reset();
    move_failures_ = 0;
    probe_ = 0;  // one under way was about the old connection
    const auto before = part_;
    accept(r, now() - move_began_);
    if (*part_ != *before) {
        record_->set_part(part_);
        context_->catalogue_changed();
    }
    if (old) drain(std::move(old));
    server_log(false, "moved to " + goal_);
    publish();
    send_held();
    renew_pool();
    follow_verdict();
    consider_move();
}

/// "move": "restart", and no call is in flight any more, or their time is over.
void server_actor::vacate() {
    if (!holding_ || !link_) return;
    move_timer_.cancel();
    health_timer_.cancel();
    probe_ = 0;
    close_link(std::exchange(link_, nullptr), {errc::transport_lost, "the server restarts to move to " + goal_});
    if (leaving_.empty() || spec_->http) open_next();  // else left() does: the old process may still hold files and ports
}

void server_actor::hold(std::shared_ptr<call_job> job) {
    const auto id = job->id;
    if (held_.size() >= max_held) {
        ++record_->calls;
        count_refused();
        return job->finish(fail(errc::overloaded, "'" + record_->name + "' restarts, and " + std::to_string(max_held) + " calls wait for it already"));
    }
    auto timer = tell_after(time_for(*job), [this, id] { drop_held(id, {errc::timeout, "'" + record_->name + "' restarts and was not back in time; the call was not sent"}); });
    held_.emplace(id, held_call{std::move(job), now(), std::move(timer)});
    note_load();
}

void server_actor::drop_held(std::uint64_t id, error why) {
    auto held = held_.extract(id);
    if (held.empty()) return;
    note_load();
    ++record_->calls;
    count_refused();
    held.mapped().job->finish(tl::unexpected(std::move(why)));
}

void server_actor::send_held() {
    holding_ = false;
    for (auto& [id, held] : std::exchange(held_, {})) {
        held.job->timeout -= std::chrono::duration_cast<milliseconds>(now() - held.since);
        call(std::move(held.job));
    }
}

void server_actor::refuse_held(const error& why) {
    if (!holding_) return;
    holding_ = false;
    move_timer_.cancel();
    move_permit_.reset();
    while (!held_.empty()) drop_held(held_.begin()->first, {errc::unavailable, "'" + record_->name + "' did not come back: " + why.message});
}

/// The second connection becomes that of the attempt under way.
void server_actor::adopt_next() {
    move_timer_.cancel();
    move_permit_.reset();
    link_ = std::move(next_);
    ++record_->starts;
}

void server_actor::drain(std::shared_ptr<link> old) {
    old->draining = true;
    draining_.push_back(old);
    if (old->machine.pending_calls() == 0) return drained(*old, {errc::cancelled, "the server was moved"});
    // Where only the configuration is another, nothing presses: its calls' own timeouts end it.
    if (link_ && old->table == link_->table && old->instance == link_->instance) return;
    old->deadline = tell_after(drain_deadline, [this, conn = old->id] {
        const auto l = find_link(conn);
        if (!l || !l->draining) return;
        server_log(true, std::to_string(l->machine.pending_calls()) + " calls on the connection before did not end in time; they are given up");
        drained(*l, {errc::transport_lost, "the server was moved to a new generation of its transport, and the call did not end within " +
                                               std::to_string(drain_deadline.count()) + " s"});
    });
}

/// Its last call has ended, or its time, or its transport.
void server_actor::drained(link& l, const error& why) {
    const auto it = std::find_if(draining_.begin(), draining_.end(), [&](const auto& d) { return d.get() == &l; });
    if (it == draining_.end()) return;
    const bool full = draining_.size() >= max_draining;
    auto old = std::move(*it);
    draining_.erase(it);
    old->deadline.cancel();
    close_link(std::move(old), why);
    if (full) consider_move();
}

/// Nothing of a move stays: the second connection and those that drain are closed like the first.
void server_actor::end_move(const error& why) {
    move_timer_.cancel();
    move_permit_.reset();
    move_failures_ = 0;
    if (auto l = std::move(next_)) close_link(std::move(l), why);
    while (!draining_.empty()) drained(*draining_.back(), why);
}

}  // namespace holdfast::servers
