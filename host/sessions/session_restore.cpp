// Restore = snapshot + log tail beyond it (A2), then the turn machine decides what becomes of what was under way.
#include "sessions/session_actor.hpp"

namespace holdfast::sessions {
namespace {
constexpr std::int64_t page = 500;
}

void session_actor::on_start() {
    defer_ready();
    last_used_ = rt().now();
    load_until_ = rt().now() + options_.store_timeout;
    load_snapshot();
}

void session_actor::give_up(departure how, error why) {
    departure_ = how;
    departure_reason_ = why;
    leaving_ = true;
    exit({how == departure::crashed ? supervise::exit_kind::start_failure : supervise::exit_kind::normal, 0, why.message});
}

/// The host starts, or the store restarts: it will be there in a moment, and who asked waits in the directory.
bool session_actor::load_again(const error& why) {
    if (why.code != errc::unavailable || rt().now() >= load_until_) return false;
    load_ = tell_after(store_look, [this] { load_snapshot(); });
    return true;
}

void session_actor::load_snapshot() {
    ask_store("get", {{"table", "snapshots"}, {"key", id_}}, [](session_actor& a, result<json> r) {
        if (!r && a.load_again(r.error())) return;
        if (!r) return a.give_up(departure::store_failed, r.error());
        const json& value = member(*r, "value");
        if (value.is_object()) {
            // A snapshot that cannot be read is no loss: the log has everything.
            if (auto s = session_state::from_json(member(value, "state")); s && s->id == a.id_) {
                a.state_ = std::move(*s);
                a.state_.keep = a.options_.recent_messages;
                a.snapshot_seq_ = a.state_.last_durable;
            }
        }
        a.load_events(a.state_.last_durable);
    });
}

void session_actor::load_events(std::uint64_t after) {
    ask_store("read", {{"stream", stream_name()}, {"after", after}, {"limit", page}}, [](session_actor& a, result<json> r) {
        if (!r) {
            if (a.load_again(r.error())) return;
            const bool damaged = r.error().code == errc::corrupt;
            return a.give_up(damaged ? departure::crashed : departure::store_failed, r.error());
        }
        const json& rows = member(*r, "events");
        for (const json& row : rows)
            apply(a.state_, string_or(row, "type"), member(row, "data"), static_cast<std::uint64_t>(int_or(row, "seq", 0)), string_or(row, "at"),
                  string_or(row, "idem_key"));
        if (rows.size() >= static_cast<std::size_t>(page)) return a.load_events(a.state_.last_durable);
        if (a.state_.streaming.empty()) return a.restored({});
        a.load_partial();
    });
}

void session_actor::load_partial() {
    ask_store("get", {{"table", "partials"}, {"key", id_}}, [](session_actor& a, result<json> r) {
        const json& value = r ? member(*r, "value") : member(json(), "");
        a.restored(string_or(value, "message_id") == a.state_.streaming ? string_or(value, "text") : std::string());
    });
}

void session_actor::open_topic() {
    // Numbers go on within one life of the host; a topic that knows less than the journal is of another history.
    const auto there = services_.bus->current(stream_name());
    const bool same = there && there->seq >= state_.last_durable;
    epoch_ = same ? there->epoch : std::max<std::uint64_t>(there ? there->epoch + 1 : 1, static_cast<std::uint64_t>(wall_ms()));
    next_seq_ = same ? there->seq + 1 : state_.last_durable + 1;
    reopen_topic(next_seq_);
}

void session_actor::restored(std::string partial) {
    open_topic();
    loaded_ = true;
    if (state_.ended) {
        ready();
        return forget();
    }
    if (state_.unfinished()) queue_.push_front({input::restored{std::move(partial)}, {}, true});
    summarise();
    arm_hibernation();
    ready();
    host_->live(id_, incarnation());
    pump();
    arm_rest();
}

}  // namespace holdfast::sessions
