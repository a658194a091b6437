// A store in memory: the contract of hf.store/1 without durability, for trials and tests. Everything is answered at once, on
// the caller's thread, under one mutex; no call is ever pending.
#include <map>
#include <mutex>
#include <set>

#include "holdfast/store.hpp"
#include "store-requests/requests.hpp"

namespace {

using namespace holdfast::sdk;
namespace ask = store_requests;

struct stored {
    std::string type;
    std::optional<std::string> idem_key;
    std::string at, data;
    std::size_t bytes() const { return type.size() + (idem_key ? idem_key->size() : 0) + at.size() + data.size() + sizeof(stored); }
};

struct stream {
    std::map<std::int64_t, stored> events;
    std::set<std::string> keys;
};

class memory_store final : public store {
  public:
    memory_store(host& h, std::string_view settings) : store(h, settings) {
        const auto mb = json_number<std::int64_t>(settings, "max_mb", 256);
        if (mb < 1 || mb > 1'000'000) throw plugin_error(HF_E_INVALID, "max_mb has to be an integer from 1 to 1000000");
        max_bytes_ = static_cast<std::size_t>(mb) << 20;
    }

    void start() override { host_.log().warn("this store keeps everything in memory: nothing survives a restart of the host"); }
    void quiesce(time_point) override { stop(); }
    void stop() override {
        std::lock_guard lock(mutex_);
        stopped_ = true;
    }

    void submit(call c) override {
        ask::request r = ask::parse(c.method(), c.request());
        std::string answer;
        {
            std::lock_guard lock(mutex_);
            if (stopped_) throw plugin_error(HF_E_UNAVAILABLE, "the store is being stopped");
            answer = std::visit([this](auto& what) { return run(what); }, r);
        }
        c.done(answer);
    }

  private:
    using streams = std::map<std::string, stream, std::less<>>;
    using table = std::map<std::string, std::string, std::less<>>;

    static std::int64_t last_of(const stream& s) { return s.events.empty() ? 0 : s.events.rbegin()->first; }
    static void put_event(ask::rows& out, const std::string& name, std::int64_t seq, const stored& e) {
        out.event(name, seq, e.type, e.idem_key ? std::optional<std::string_view>(*e.idem_key) : std::nullopt, e.at, e.data);
    }
    void need(std::size_t more) const {
        if (bytes_ + more > max_bytes_) throw plugin_error(HF_E_READ_ONLY, "the store in memory is full; raise settings.max_mb or use store-sqlite");
    }

    /// Checked as a whole before anything is written: all or none.
    std::string run(ask::append& a) {
        struct seen {
            std::int64_t last;
            std::set<std::string> keys;
        };
        std::map<std::string, seen> news;
        std::size_t more = 0;
        for (const ask::event& e : a.events) {
            const auto known = streams_.find(e.stream);
            seen& n = news.try_emplace(e.stream, seen{known == streams_.end() ? 0 : last_of(known->second), {}}).first->second;
            if (e.seq == n.last || (e.seq < n.last && known != streams_.end() && known->second.events.count(e.seq)))
                throw plugin_error(HF_E_EXISTS, "there is an event " + std::to_string(e.seq) + " in " + e.stream);
            if (e.seq < n.last) throw plugin_error(HF_E_INVALID, "the last event of " + e.stream + " is " + std::to_string(n.last) + ", above " + std::to_string(e.seq));
            const bool repeated = e.idem_key && ((known != streams_.end() && known->second.keys.count(*e.idem_key)) || !n.keys.insert(*e.idem_key).second);
            if (repeated) throw plugin_error(HF_E_EXISTS, "there is an event with this idem_key in " + e.stream);
            n.last = e.seq;
            more += e.data.size() + e.type.size() + e.at.size() + sizeof(stored);
        }
        need(more);
        for (ask::event& e : a.events) {
            stream& s = streams_[e.stream];
            if (e.idem_key) s.keys.insert(*e.idem_key);
            const auto at = s.events.emplace(e.seq, stored{std::move(e.type), std::move(e.idem_key), std::move(e.at), std::move(e.data)}).first;
            bytes_ += at->second.bytes();
        }
        return json_object({{"appended", a.events.size()}});
    }
    std::string run(const ask::read& r) {
        ask::rows out("events");
        const auto s = streams_.find(r.stream);
        if (s == streams_.end()) return std::move(out).finish(0);
        auto left = r.limit;
        for (auto e = s->second.events.upper_bound(r.after); e != s->second.events.end() && left > 0; ++e, --left) put_event(out, r.stream, e->first, e->second);
        return std::move(out).finish(last_of(s->second));
    }
    std::string run(const ask::tail& r) {
        ask::rows out("events");
        const auto s = streams_.find(r.stream);
        if (s == streams_.end()) return std::move(out).finish(0);
        const auto& events = s->second.events;
        const auto end = r.before ? events.lower_bound(*r.before) : events.end();
        auto from = end;
        for (auto left = r.limit; left > 0 && from != events.begin(); --left) --from;
        for (; from != end; ++from) put_event(out, r.stream, from->first, from->second);
        return std::move(out).finish(last_of(s->second));
    }
    std::string run(const ask::last& r) {
        const auto s = streams_.find(r.stream);
        return json_object({{"last", s == streams_.end() ? 0 : last_of(s->second)}});
    }
    std::string run(const ask::streams& r) {
        ask::rows out("streams");
        auto left = r.limit;
        for (auto s = r.after < r.prefix ? streams_.lower_bound(r.prefix) : streams_.upper_bound(r.after);
             s != streams_.end() && left > 0 && s->first.starts_with(r.prefix); ++s, --left)
            out.stream(s->first, last_of(s->second), static_cast<std::int64_t>(s->second.events.size()));
        return std::move(out).finish();
    }
    std::string run(const ask::drop& r) {
        const auto s = streams_.find(r.stream);
        std::size_t n = 0;
        if (s != streams_.end()) {
            n = s->second.events.size();
            for (const auto& [seq, e] : s->second.events) bytes_ -= e.bytes();
            streams_.erase(s);
        }
        return json_object({{"dropped", n}});
    }
    std::string run(const ask::trim& r) {
        const auto s = streams_.find(r.stream);
        std::size_t n = 0;
        if (s != streams_.end())
            for (auto& [events, keys] = s->second; events.size() > static_cast<std::size_t>(r.keep); ++n) {
                const auto oldest = events.begin();
                bytes_ -= oldest->second.bytes();
                if (oldest->second.idem_key) keys.erase(*oldest->second.idem_key);
                events.erase(oldest);
            }
        return json_object({{"dropped", n}});
    }
    std::string run(ask::put& r) {
        table& t = tables_[r.table];
        const auto old = t.find(r.key);
        if (old == t.end()) need(r.key.size() + r.value.size());
        if (old != t.end()) bytes_ -= old->second.size() + r.key.size();
        bytes_ += r.key.size() + r.value.size();
        t.insert_or_assign(std::move(r.key), std::move(r.value));
        return "{}";
    }
    std::string run(const ask::get& r) {
        const auto t = tables_.find(r.table);
        if (t != tables_.end())
            if (const auto v = t->second.find(r.key); v != t->second.end()) return json_object({field::raw("value", v->second)});
        return R"({"value":null})";
    }
    std::string run(const ask::list& r) {
        ask::rows out("rows");
        const auto t = tables_.find(r.table);
        if (t == tables_.end()) return std::move(out).finish();
        auto left = r.limit;
        for (auto v = r.after < r.prefix ? t->second.lower_bound(r.prefix) : t->second.upper_bound(r.after);
             v != t->second.end() && left > 0 && v->first.starts_with(r.prefix); ++v, --left)
            out.row(v->first, v->second);
        return std::move(out).finish();
    }
    std::string run(const ask::erase& r) {
        const auto t = tables_.find(r.table);
        const auto v = t == tables_.end() ? table::iterator() : t->second.find(r.key);
        const bool there = t != tables_.end() && v != t->second.end();
        if (there) {
            bytes_ -= v->first.size() + v->second.size();
            t->second.erase(v);
        }
        return json_object({{"deleted", there}});
    }
    std::string run(const ask::status&) {
        return json_object({{"writable", bytes_ < max_bytes_}, {"durable", false}, {"reason", bytes_ < max_bytes_ ? "in memory: nothing survives a restart" : "full"},
                            {"path", ""}, {"schema", 1}, {"last_error", ""}, {"bytes", bytes_}});
    }

    std::mutex mutex_;  // guards what follows
    streams streams_;
    std::map<std::string, table, std::less<>> tables_;
    std::size_t bytes_ = 0, max_bytes_ = 0;
    bool stopped_ = false;
};

}  // namespace

HOLDFAST_PLUGIN(memory_store, R"({"id":"store-memory","kind":"store","version":"0.1.0","abi":[1,1],"interfaces":["hf.store/1"],"needs":[],
"description":"Keeps sessions and settings in memory only: nothing survives a restart. For trials and tests.",
"settings":{"type":"object","properties":{
"max_mb":{"type":"integer","minimum":1,"maximum":1000000,"default":256,"description":"Writes are refused beyond this size, in MiB"}},
"additionalProperties":false}})")
