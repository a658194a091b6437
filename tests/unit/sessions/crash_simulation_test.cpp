// A host that loses power at every durable write in turn, before or after the write, and is started again on what is left.
// What a caller was told, what a tool has done and what the journal says must agree, whatever the moment.
#include <random>

#include "fakes.hpp"
#include "sessions/session_state.hpp"

namespace holdfast::sessions::testing {
namespace {

constexpr int steps = 60;

class simulation {
  public:
    simulation(unsigned seed, std::uint64_t die_at, bool after_write) : random_(seed), die_at_(die_at), after_write_(after_write) {
        options_.snapshot_every = 12;
        options_.recent_messages = 200;
        start(milliseconds(0));
        for (const char* id : {"s1", "s2"}) ensure(id);
    }

    void run() {
        for (int i = 0; i < steps; ++i) {
            act();
            survive();
        }
        for (int i = 0; i < 400 && busy(); ++i) {
            wind_down();
            survive();
        }
        EXPECT_FALSE(busy());
        check();
        life_->end();
    }
    std::uint64_t appends() const { return rows_->appends; }

  private:
    void start(milliseconds later) {
        life_ = std::make_unique<life>(rows_, world_, options_, later);
        life_->store->die_at = die_at_;
        life_->store->die_after_write = after_write_;
        life_->store->on_death = [l = life_.get()] { l->model->dead = l->tools->dead = true; };
        life_->boot();
    }
    void ensure(const std::string& id) {
        auto r = life_->call("session.create", {{"session_id", id}});
        survive();
        if (!r && r.error().code != errc::already_exists) {
            r = life_->call("session.create", {{"session_id", id}});
            EXPECT_TRUE(r || r.error().code == errc::already_exists) << r.error().message;
        }
    }

    int roll(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
    std::string session() { return roll(2) ? "s1" : "s2"; }

    void send(const std::string& id) {
        const std::string key = "key" + std::to_string(++keys_);
        auto r = life_->send(id, "message " + key, key);
        if (r) return acknowledge(id, key, *r);
        survive();
        // The caller does what the error tells: the same key once more.
        r = life_->send(id, "message " + key, key);
        if (r) acknowledge(id, key, *r);
    }
    void acknowledge(const std::string& id, const std::string& key, const json& r) { acknowledged_[id + " " + key] = string_or(r, "message_id"); }

    json model_answer() {
        if (roll(3) == 0) return text_answer("words");
        json parts = json::array();
        for (int n = 1 + roll(2); n > 0; --n) {
            const std::string id = "c" + std::to_string(++calls_);
            parts.push_back({{"type", "tool_use"}, {"id", id}, {"name", "demo__count"}, {"input", {{"id", id}}}});
        }
        return {{"model", "m"}, {"stop_reason", "tool_use"}, {"content", std::move(parts)}, {"usage", json::object()}};
    }
    void act() {
        life& l = *life_;
        switch (roll(8)) {
            case 0:
            case 1: return send(session());
            case 2:
                if (l.model->asked()) l.model->speak("some ");
                return l.rt.advance(milliseconds(300));
            case 3:
            case 4:
                if (l.model->asked()) l.model->end(roll(8) ? result<json>(model_answer()) : result<json>(fail(errc::transport_lost, "cut")));
                return l.run();
            case 5: return resolve(session(), roll(4));
            case 6:
                if (l.tools->pending.count(l.tools->next)) l.tools->finish(roll(6) ? result<json>(text_result()) : result<json>(fail(errc::transport_lost, "lost")));
                return l.run();
            default:
                if (roll(6) == 0) (void)l.call("session.cancel", {{"session_id", session()}});
                if (roll(8) == 0) l.rt.advance(seconds(31));
        }
    }
    static json text_result() { return {{"content", json::array({{{"type", "text"}, {"text", "counted"}}})}}; }

    void resolve(const std::string& id, int how) {
        auto s = life_->call("session.get", {{"session_id", id}});
        if (!s || (*s)["pending"].empty()) return;
        const char* decisions[] = {"allow_once", "deny", "allow_always", "allow_once"};
        (void)life_->call("session.resolve", {{"session_id", id}, {"request_id", (*s)["pending"][0]["request_id"]}, {"decision", decisions[how]}});
    }

    /// If the power went: a new host on what is left, and everything checked.
    void survive() {
        if (!life_->store->dead) return;
        const auto intents_before = open_intents();
        life_->cut();
        die_at_ = 0;
        later_ += seconds(100);
        start(later_);
        check();
        for (const auto& [id, call] : intents_before) {
            const json s = life_->snapshot(id);
            bool found = false;
            for (const json& m : s["messages"])
                for (const json& c : m.value("tool_calls", json::array()))
                    if (c["id"] == call) {
                        found = true;
                        EXPECT_EQ(c["status"], "outcome_unknown") << id << " " << call;
                    }
            EXPECT_TRUE(found) << id << " " << call;
        }
        for (const char* id : {"s1", "s2"}) {
            auto s = life_->call("session.get", {{"session_id", id}});
            if (!s) continue;
            // Nothing streams after a restart, and whatever is asked can still be answered.
            for (const json& p : (*s)["pending"]) {
                auto r = life_->call("session.resolve", {{"session_id", id}, {"request_id", p["request_id"]}, {"decision", roll(2) ? "deny" : "allow_once"}});
                ASSERT_TRUE(r) << r.error().message;
                EXPECT_EQ((*r)["first"], true);
            }
        }
        check();
    }

    std::set<std::pair<std::string, std::string>> open_intents() {
        std::set<std::pair<std::string, std::string>> out;
        for (const auto& [stream, events] : rows_->streams)
            for (const auto& [n, e] : events) {
                const std::pair<std::string, std::string> call{stream.substr(8), string_or(e["data"], "call_id")};
                if (e["type"] == "ToolCallIntent") out.insert(call);
                if (e["type"] == "MCPToolExecuted") out.erase(call);
            }
        return out;
    }

    void check() {
        std::map<std::string, int> stored, intents;
        for (const auto& [stream, events] : rows_->streams)
            for (const auto& [n, e] : events) {
                const json& d = e["data"];
                if (e["type"] == "MessageAdded") ++stored[string_or(d, "message_id")];
                if (e["type"] == "ToolCallIntent") ++intents[stream.substr(8) + " " + dump(d["arguments"])];
                if (!string_or(e, "idem_key").empty()) {
                    const auto known = acknowledged_.find(stream.substr(8) + " " + string_or(e, "idem_key"));
                    if (known != acknowledged_.end()) {
                        EXPECT_EQ(known->second, string_or(d, "message_id"));
                    }
                }
            }
        for (const auto& [key, id] : acknowledged_) EXPECT_EQ(stored[id], 1) << key;
        for (const auto& [call, times] : world_->done) {
            EXPECT_EQ(times, 1) << call << " was executed more than once";
            EXPECT_EQ(intents[call], 1) << call << " left before its intent was durable";
        }
        // What memory says is what the journal says.
        for (const char* id : {"s1", "s2"}) {
            if (life_->store->dead) continue;
            auto s = life_->call("session.get", {{"session_id", id}});
            if (!s) continue;
            session_state folded;
            folded.keep = options_.recent_messages;
            const auto events = rows_->streams.find("session:" + std::string(id));
            if (events == rows_->streams.end()) continue;
            for (const auto& [n, e] : events->second) apply(folded, string_or(e, "type"), e["data"], n, string_or(e, "at"), string_or(e, "idem_key"));
            json messages = json::array();
            for (const auto& m : folded.recent) messages.push_back(m->to_json());
            EXPECT_EQ((*s)["messages"], messages) << id;
            EXPECT_EQ((*s)["state"], to_string(folded.now())) << id;
        }
    }

    bool busy() {
        for (const char* id : {"s1", "s2"})
            if (auto s = life_->call("session.get", {{"session_id", id}}); s && (*s)["state"] != "idle") return true;
        return false;
    }
    void wind_down() {
        life& l = *life_;
        while (!l.model->pending.empty() && !l.store->dead) {
            l.model->end(text_answer("end"), l.model->pending.begin()->first);
            l.run();
        }
        while (!l.tools->pending.empty() && !l.store->dead) {
            l.tools->finish(text_result(), true, l.tools->pending.begin()->first);
            l.run();
        }
        for (const char* id : {"s1", "s2"}) resolve(id, 1);
    }

    std::mt19937 random_;
    std::uint64_t die_at_;
    bool after_write_;
    session_options options_;
    std::shared_ptr<disk> rows_ = std::make_shared<disk>();
    std::shared_ptr<deeds> world_ = std::make_shared<deeds>();
    std::unique_ptr<life> life_;
    std::map<std::string, std::string> acknowledged_;  // "session key" → message id
    milliseconds later_{0};
    int keys_ = 0, calls_ = 0;
};

TEST(crash_simulation, every_durable_write_of_many_runs_may_be_the_last) {
    std::size_t runs = 0;
    for (unsigned seed = 1; seed <= 4; ++seed) {
        std::uint64_t writes = 0;
        {
            simulation whole(seed, 0, false);
            whole.run();
            writes = whole.appends();
        }
        ASSERT_GT(writes, 20u);
        for (std::uint64_t at = 1; at <= writes; ++at)
            for (const bool after : {false, true}) {
                SCOPED_TRACE("seed " + std::to_string(seed) + ", power lost " + (after ? "after" : "before") + " write " + std::to_string(at));
                simulation s(seed, at, after);
                s.run();
                ++runs;
                if (::testing::Test::HasFailure()) return;
            }
    }
    RecordProperty("runs", static_cast<int>(runs));
    EXPECT_GT(runs, 200u);
}

}  // namespace
}  // namespace holdfast::sessions::testing
