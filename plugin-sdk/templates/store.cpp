// A store that keeps everything in memory, under one mutex: the whole of hf.store/1 but durability. Answer a write only when your
// storage has it.
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "holdfast/store.hpp"

using namespace holdfast::sdk;

struct stream {
    std::map<std::int64_t, std::string> events;  // the JSON of each, as it came
    std::set<std::string> keys;                  // idem_key
    std::int64_t last() const { return events.empty() ? 0 : events.rbegin()->first; }
};

// The members of a request. A missing or wrong one is the caller's mistake.
[[noreturn]] void wrong(std::string_view what) { throw plugin_error(HF_E_INVALID, "\"" + std::string(what) + "\" is missing or wrong"); }
std::string text(std::string_view json, const char* key) {
    auto t = json_unquote(json_member(json, key));
    return t ? *t : (wrong(key), std::string());
}
std::int64_t number(std::string_view json, const char* key, std::int64_t otherwise = -1) {
    const auto n = json_number<std::int64_t>(json, key, json_member(json, key).empty() ? otherwise : -1);
    return n < 0 ? (wrong(key), 0) : n;
}
std::string list(const std::vector<std::string>& items) {
    std::string out = "[";
    for (const auto& i : items) out += (out.size() > 1 ? "," : "") + i;
    return out + "]";
}

class my_store final : public store {
  public:
    using store::store;

    void submit(call c) override {
        using method = std::string (my_store::*)(std::string_view);
        static const std::map<std::string_view, method> methods{
            {"append", &my_store::append}, {"read", &my_store::read}, {"tail", &my_store::tail}, {"last", &my_store::last},
            {"streams", &my_store::names}, {"drop", &my_store::drop}, {"trim", &my_store::trim}, {"put", &my_store::put},
            {"get", &my_store::get},       {"list", &my_store::rows},  {"delete", &my_store::erase}, {"status", &my_store::tell}};
        const auto m = methods.find(c.method());
        if (m == methods.end()) throw plugin_error(HF_E_UNSUPPORTED, "hf.store/1 has no method " + std::string(c.method()));
        std::string answer;
        {
            std::lock_guard lock(mutex_);
            answer = (this->*m->second)(c.request());
        }
        c.done(answer);  // never with a lock held
    }

  private:
    struct incoming {
        std::string stream, key, json;
        std::int64_t seq;
    };
    std::string append(std::string_view q) {
        if (!json_member(q, "events").starts_with('[')) wrong("events");
        std::vector<incoming> all;
        json_each(json_member(q, "events"), [&all](std::string_view e) {
            if (!e.starts_with('{')) wrong("events");
            incoming i{text(e, "stream"), json_text(e, "idem_key"), std::string(e), number(e, "seq")};
            text(e, "type");
            all.push_back(std::move(i));
        });
        std::map<std::string, std::pair<std::int64_t, std::set<std::string>>> seen;  // checked as a whole before anything is written
        for (const auto& i : all) {
            auto& [last, keys] = seen.try_emplace(i.stream, streams_[i.stream].last(), std::set<std::string>()).first->second;
            if (i.seq <= last || (!i.key.empty() && (streams_[i.stream].keys.count(i.key) || !keys.insert(i.key).second)))
                throw plugin_error(HF_E_EXISTS, "there is such an event in " + i.stream);
            last = i.seq;
        }
        for (auto& i : all) {
            stream& s = streams_[i.stream];
            if (!i.key.empty()) s.keys.insert(i.key);
            s.events.emplace(i.seq, std::move(i.json));
        }
        return json_object({{"appended", all.size()}});
    }
    static std::string events(const std::vector<std::string>& items, const stream& s) {
        return json_object({field::raw("events", list(items)), {"last", s.last()}});
    }
    std::string read(std::string_view q) {
        stream& s = streams_[text(q, "stream")];
        std::vector<std::string> out;
        auto left = number(q, "limit");
        for (auto e = s.events.upper_bound(number(q, "after", 0)); e != s.events.end() && left-- > 0; ++e) out.push_back(e->second);
        return events(out, s);
    }
    std::string tail(std::string_view q) {
        stream& s = streams_[text(q, "stream")];
        auto end = json_member(q, "before").empty() ? s.events.end() : s.events.lower_bound(number(q, "before"));
        auto from = end;
        for (auto left = number(q, "limit"); left > 0 && from != s.events.begin(); --left) --from;
        std::vector<std::string> out;
        for (; from != end; ++from) out.push_back(from->second);
        return events(out, s);
    }
    std::string last(std::string_view q) { return json_object({{"last", streams_[text(q, "stream")].last()}}); }
    std::string names(std::string_view q) {
        const std::string prefix = text(q, "prefix"), after = json_text(q, "after");
        auto left = number(q, "limit");
        std::vector<std::string> out;
        for (const auto& [name, s] : streams_)
            if (!s.events.empty() && name.starts_with(prefix) && name > after && left-- > 0)
                out.push_back(json_object({{"stream", name}, {"last", s.last()}, {"events", s.events.size()}}));
        return json_object({field::raw("streams", list(out))});
    }
    std::string drop(std::string_view q) {
        const auto s = streams_.extract(text(q, "stream"));
        return json_object({{"dropped", s ? s.mapped().events.size() : 0}});
    }
    std::string trim(std::string_view q) {
        auto& events = streams_[text(q, "stream")].events;
        const auto keep = std::max<std::int64_t>(number(q, "keep"), 1);
        std::size_t dropped = 0;
        for (; events.size() > static_cast<std::size_t>(keep); ++dropped) events.erase(events.begin());
        return json_object({{"dropped", dropped}});
    }
    std::string put(std::string_view q) {
        if (json_member(q, "value").empty()) wrong("value");
        tables_[text(q, "table")][text(q, "key")] = json_member(q, "value");
        return "{}";
    }
    std::string get(std::string_view q) {
        auto& t = tables_[text(q, "table")];
        const auto row = t.find(text(q, "key"));
        return json_object({field::raw("value", row == t.end() ? "null" : row->second)});
    }
    std::string rows(std::string_view q) {
        const std::string prefix = json_text(q, "prefix"), after = json_text(q, "after");
        auto left = number(q, "limit");
        std::vector<std::string> out;
        for (const auto& [key, value] : tables_[text(q, "table")])
            if (key.starts_with(prefix) && key > after && left-- > 0) out.push_back(json_object({{"key", key}, field::raw("value", value)}));
        return json_object({field::raw("rows", list(out))});
    }
    std::string erase(std::string_view q) {
        auto& t = tables_[text(q, "table")];
        return json_object({{"deleted", t.erase(text(q, "key")) > 0}});
    }
    std::string tell(std::string_view) { return json_object({{"writable", true}, {"reason", ""}, {"path", ""}, {"schema", 1}, {"last_error", ""}}); }

    std::mutex mutex_;  // guards what follows
    std::map<std::string, stream> streams_;
    std::map<std::string, std::map<std::string, std::string>> tables_;
};

HOLDFAST_PLUGIN(my_store, R"({"id":"my-plugin","kind":"store","version":"0.1.0","abi":[1,1],"interfaces":["hf.store/1"],"needs":[],
    "description":"Keeps everything in memory","settings":{"type":"object","properties":{},"additionalProperties":false}})")
