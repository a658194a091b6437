// What is read of a session: the snapshot, older messages, its events.
#include <algorithm>

#include "sessions/session_actor.hpp"

namespace holdfast::sessions {
namespace {
constexpr std::int64_t page = 500;
constexpr std::int64_t max_history = 500;

/// Messages below a number, folded out of the log. Owner: one history call.
struct history_scan {
    session_state state;
    std::uint64_t before = 0;
    std::size_t limit = 0;
    std::uint64_t after = 0;
    reply done;
};

json history_answer(const std::vector<std::shared_ptr<const message>>& messages, std::size_t limit, bool more) {
    json list = json::array();
    const std::size_t skip = messages.size() > limit ? messages.size() - limit : 0;
    for (std::size_t i = skip; i < messages.size(); ++i) list.push_back(messages[i]->to_json());
    return {{"messages", std::move(list)}, {"has_more", more || skip > 0}};
}

}  // namespace

json session_actor::snapshot() const {
    json messages = json::array(), pending = json::array();
    for (const auto& m : state_.recent) messages.push_back(m->to_json());
    for (const pending_request& p : state_.pending) pending.push_back(p.to_json());
    json now = nullptr;
    if (stream_ && stream_->message_id == state_.streaming)
        now = {{"message_id", stream_->message_id}, {"text", stream_->text}, {"index", stream_->index}};
    return {{"session_id", id_},
            {"title", state_.config.title},
            {"state", to_string(state_.now())},
            {"epoch", epoch_},
            {"seq", next_seq_ - 1},
            {"llm", state_.config.llm},
            {"servers", state_.config.servers},
            {"allow", state_.config.allow},
            {"created_at", state_.created_at},
            {"updated_at", state_.updated_at},
            {"messages", std::move(messages)},
            {"has_more", state_.stats.messages > state_.recent.size()},
            {"stream", std::move(now)},
            {"pending", std::move(pending)},
            {"stats", state_.stats.to_json()}};
}

void session_actor::history(const json& params, reply done) {
    const auto before = static_cast<std::uint64_t>(std::max<std::int64_t>(0, int_or(params, "before", 0)));
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(int_or(params, "limit", 50), 1, max_history));
    std::vector<std::shared_ptr<const message>> known;
    for (const auto& m : state_.recent)
        if (before == 0 || m->seq < before) known.push_back(m);
    const bool all = state_.stats.messages == state_.recent.size();
    if (known.size() >= limit || all) return done(history_answer(known, limit, !all));
    history_from_log(before, limit, std::move(done));
}

void session_actor::history_from_log(std::uint64_t before, std::size_t limit, reply done) {
    auto scan = std::make_shared<history_scan>();
    scan->before = before;
    scan->limit = limit;
    scan->state.keep = limit;
    scan->done = std::move(done);
    struct step {
        static void next(session_actor& a, const std::shared_ptr<history_scan>& s) {
            a.ask_store("read", {{"stream", a.stream_name()}, {"after", s->after}, {"limit", page}}, [s](session_actor& self, result<json> r) {
                if (!r) return s->done(unexpected<error>(r.error()));
                const json& rows = member(*r, "events");
                for (const json& row : rows) {
                    s->after = static_cast<std::uint64_t>(int_or(row, "seq", 0));
                    const std::string type = string_or(row, "type");
                    // Later messages are left out, later changes of earlier messages are not.
                    if (type == "MessageAdded" && s->before != 0 && s->after >= s->before) continue;
                    apply(s->state, type, member(row, "data"), s->after, string_or(row, "at"));
                }
                if (rows.size() >= static_cast<std::size_t>(page)) return next(self, s);
                s->done(history_answer(s->state.recent, s->limit, s->state.stats.messages > s->state.recent.size()));
            });
        }
    };
    step::next(*this, scan);
}

void session_actor::events_page(const json& params, reply done) {
    const auto from = std::max<std::int64_t>(1, int_or(params, "from", 1));
    const auto limit = std::clamp<std::int64_t>(int_or(params, "limit", 200), 1, page);
    ask_store("read", {{"stream", stream_name()}, {"after", from - 1}, {"limit", limit}},
              [done = std::move(done)](session_actor& a, result<json> r) mutable {
                  if (!r) return done(unexpected<error>(r.error()));
                  json events = json::array();
                  for (const json& row : member(*r, "events")) {
                      json e = member(row, "data");
                      e.erase("turn_open");
                      e["topic"] = a.stream_name();
                      e["seq"] = int_or(row, "seq", 0);
                      e["epoch"] = a.epoch_;
                      e["type"] = string_or(row, "type");
                      e["timestamp"] = string_or(row, "at");
                      events.push_back(std::move(e));
                  }
                  done(json{{"events", std::move(events)}, {"seq", a.next_seq_ - 1}, {"epoch", a.epoch_}, {"first", 1}});
              });
}

}  // namespace holdfast::sessions
