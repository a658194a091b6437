#pragma once
// In-memory store, scripted model and scripted servers, plus one life of a host on a manual runtime. What survives a crash (the
// rows, what the tools have done) lives outside the life.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <set>

#include "kernel/supervise/runtime.hpp"
#include "sessions/session_directory.hpp"

namespace holdfast::sessions::testing {

/// The disk.
struct disk {
    std::mutex mutex;
    std::map<std::string, std::map<std::uint64_t, json>> streams;
    std::map<std::string, std::map<std::string, json>> tables;
    std::uint64_t appends = 0;
};

/// hf.store/1 over a disk, answering inside submit. Fails when told to.
class fake_store final : public plugins::call_port {
  public:
    explicit fake_store(std::shared_ptr<disk> d) : disk_(std::move(d)) {}

    std::atomic<bool> read_only{false};
    std::atomic<bool> absent{false};         ///< not loaded yet
    std::atomic<bool> dead{false};           ///< the process is gone: nothing is written, nobody hears an answer that counts
    std::atomic<int> fail_appends{0};        ///< so many appends fail with `failure` …
    std::atomic<errc> failure{errc::timeout};
    std::atomic<bool> written_anyway{false}; ///< … after they were written
    std::atomic<int> fail_reads{0};
    std::uint64_t die_at = 0;                ///< the append with this number (from 1) is the last thing that happens
    bool die_after_write = false;
    std::function<void()> on_death;

    std::uint64_t submit(std::string method, json r, milliseconds, on_chunk, on_done done) override {
        done(answer(method, r));
        return 1;
    }
    void cancel(std::uint64_t) override {}

  private:
    result<json> answer(const std::string& m, const json& r) {
        if (dead) return fail(errc::unavailable, "dead");
        if (absent) return fail(errc::unavailable, "the store is not loaded yet");
        const bool write = m == "append" || m == "put" || m == "delete" || m == "drop";
        if (write && read_only) return fail(errc::read_only, "disk full");
        if (m == "append") return append(r);
        std::lock_guard lock(disk_->mutex);
        if (!write && fail_reads > 0) {
            --fail_reads;
            return fail(errc::io_error, "unreadable");
        }
        const std::string stream = string_or(r, "stream"), table = string_or(r, "table"), key = string_or(r, "key");
        const auto limit = static_cast<std::size_t>(int_or(r, "limit", 1000));
        if (m == "read" || m == "tail" || m == "last") {
            const auto& rows = disk_->streams[stream];
            const std::uint64_t last = rows.empty() ? 0 : rows.rbegin()->first;
            if (m == "last") return json{{"last", last}};
            json events = json::array();
            if (m == "read") {
                for (auto it = rows.upper_bound(static_cast<std::uint64_t>(int_or(r, "after", 0))); it != rows.end() && events.size() < limit; ++it)
                    events.push_back(it->second);
            } else {
                std::size_t skip = rows.size() > limit ? rows.size() - limit : 0;
                for (const auto& [n, e] : rows)
                    if (skip > 0) --skip;
                    else events.push_back(e);
            }
            if (rows.empty()) disk_->streams.erase(stream);
            return json{{"events", events}, {"last", last}};
        }
        if (m == "streams") {
            json rows = json::array();
            for (const auto& [name, events] : disk_->streams)
                if (name.starts_with(string_or(r, "prefix")) && name > string_or(r, "after") && rows.size() < limit)
                    rows.push_back({{"stream", name}, {"last", events.rbegin()->first}, {"events", events.size()}});
            return json{{"streams", rows}};
        }
        if (m == "drop") return json{{"dropped", disk_->streams.erase(stream)}};
        if (m == "put") return disk_->tables[table][key] = r.at("value"), json::object();
        if (m == "delete") return json{{"deleted", disk_->tables[table].erase(key) > 0}};
        if (m == "get") {
            const auto& t = disk_->tables[table];
            const auto it = t.find(key);
            return json{{"value", it == t.end() ? json() : it->second}};
        }
        if (m == "list") {
            json rows = json::array();
            for (const auto& [k, v] : disk_->tables[table])
                if (k > string_or(r, "after") && rows.size() < limit) rows.push_back({{"key", k}, {"value", v}});
            return json{{"rows", rows}};
        }
        return fail(errc::invalid_argument, "no method " + m);
    }

    result<json> append(const json& r) {
        std::unique_lock lock(disk_->mutex);
        if (fail_appends > 0) {
            --fail_appends;
            if (written_anyway) (void)write(r);
            return fail(failure, "injected");
        }
        const bool last = ++disk_->appends == die_at;
        if (last && !die_after_write) return lock.unlock(), die();
        auto out = write(r);
        if (last) return lock.unlock(), die();
        return out;
    }

    result<json> die() {
        dead = true;
        if (on_death) on_death();
        return fail(errc::unavailable, "dead");
    }

    result<json> write(const json& r) {
        for (const json& e : r.at("events")) {
            const auto& rows = disk_->streams[string_or(e, "stream")];
            if (!rows.empty() && rows.rbegin()->first >= e.at("seq").get<std::uint64_t>()) return fail(errc::already_exists, "seq");
            if (const std::string key = string_or(e, "idem_key"); !key.empty())
                for (const auto& [n, old] : rows)
                    if (string_or(old, "idem_key") == key) return fail(errc::already_exists, "idem_key");
        }
        for (const json& e : r.at("events")) disk_->streams[string_or(e, "stream")][e.at("seq").get<std::uint64_t>()] = e;
        return json{{"appended", r.at("events").size()}};
    }

    std::shared_ptr<disk> disk_;
};

/// A model the test speaks for.
class fake_model final : public plugins::call_port {
  public:
    struct chat {
        std::uint64_t id;
        json request;
        on_chunk chunk;
        on_done done;
    };
    json description{{"model", "fake"}, {"available", true}, {"reason", ""}, {"local", true}, {"demonstration", false}};
    std::function<json(const json& request)> automatic;  ///< answers at once when set
    std::atomic<bool> dead{false};
    std::vector<std::uint64_t> cancelled;
    int chats = 0;
    json last_request;

    std::uint64_t submit(std::string method, json r, milliseconds, on_chunk chunk, on_done done) override {
        if (method == "describe") return done(description), 0;
        std::unique_lock lock(mutex);
        const std::uint64_t id = ++next;
        ++chats;
        last_request = r;
        if (automatic && !dead) {
            lock.unlock();
            json out = automatic(r);
            for (const json& p : out["content"])
                if (string_or(p, "type") == "text") chunk(json{{"type", "text"}, {"text", p["text"]}});
            done(std::move(out));
            return id;
        }
        pending[id] = {id, std::move(r), std::move(chunk), std::move(done)};
        return id;
    }
    void cancel(std::uint64_t id) override {
        std::unique_lock lock(mutex);
        cancelled.push_back(id);
        const auto it = pending.find(id);
        if (it == pending.end()) return;
        chat c = std::move(it->second);
        pending.erase(it);
        lock.unlock();
        c.done(fail(errc::cancelled, "cancelled"));
    }
    void speak(const std::string& text) { pending.at(next).chunk(json{{"type", "text"}, {"text", text}}); }
    /// id 0: the newest.
    void end(result<json> r, std::uint64_t id = 0) {
        if (id == 0) id = next;
        chat c = std::move(pending.at(id));
        pending.erase(id);
        c.done(std::move(r));
    }
    bool asked() const { return pending.count(next) > 0; }

    std::map<std::uint64_t, chat> pending;
    std::uint64_t next = 0;
    std::mutex mutex;
};

/// What the tools have really done, by (session, arguments): survives crashes like the world does.
struct deeds {
    std::mutex mutex;
    std::map<std::string, int> done;
};

class fake_tools final : public servers::tool_port {
  public:
    explicit fake_tools(std::shared_ptr<deeds> d) : deeds_(std::move(d)) {
        auto c = std::make_shared<servers::catalogue>();
        for (const char* name : {"count", "echo"})
            c->tools.push_back({"demo", name, "", std::string("does ") + name, {{"type", "object"}}, {}, std::string("hash-") + name});
        list = std::move(c);
    }
    std::shared_ptr<const servers::catalogue> tools() const override { return list; }
    std::uint64_t call(servers::tool_call c, servers::tool_call_events on) override {
        const std::uint64_t id = ++next;
        if (dead) return id;
        {
            std::lock_guard lock(deeds_->mutex);
            ++deeds_->done[c.session + " " + dump(c.arguments)];
        }
        if (automatic) return on.done(json{{"content", json::array({{{"type", "text"}, {"text", "did it"}}})}}, true), id;
        pending[id] = {std::move(c), std::move(on)};
        return id;
    }
    void answer_input(std::uint64_t, const std::string& key, json response) override { answers.emplace_back(key, std::move(response)); }
    void cancel(std::uint64_t id) override { cancelled.push_back(id); }
    void finish(result<json> r, bool sent = true, std::uint64_t id = 0) {
        if (id == 0) id = next;
        auto p = std::move(pending.at(id));
        pending.erase(id);
        p.second.done(std::move(r), sent);
    }

    std::vector<std::string> first_attempts(const std::vector<std::string>&, milliseconds patience) const override {
        return patience.count() > 0 ? connecting : std::vector<std::string>{};
    }

    std::shared_ptr<const servers::catalogue> list;
    std::vector<std::string> connecting;  ///< in their first attempt
    std::atomic<bool> dead{false};
    bool automatic = false;
    std::map<std::uint64_t, std::pair<servers::tool_call, servers::tool_call_events>> pending;
    std::vector<std::pair<std::string, json>> answers;
    std::vector<std::uint64_t> cancelled;
    std::uint64_t next = 0;

  private:
    std::shared_ptr<deeds> deeds_;
};

inline json text_answer(const std::string& text) {
    return {{"model", "m"}, {"stop_reason", "end_turn"}, {"content", json::array({{{"type", "text"}, {"text", text}}})}, {"usage", json::object()}};
}
inline json tool_answer(std::initializer_list<std::pair<const char*, json>> calls, int first_id = 1) {
    json parts = json::array();
    for (const auto& [name, arguments] : calls)
        parts.push_back({{"type", "tool_use"}, {"id", "call" + std::to_string(first_id++)}, {"name", name}, {"input", arguments}});
    return {{"model", "m"}, {"stop_reason", "tool_use"}, {"content", std::move(parts)}, {"usage", json::object()}};
}

/// One run of a host.
struct life {
    supervise::manual_runtime rt;
    events::bus bus{events::bus_options{.clock = &rt.clock()}};
    std::shared_ptr<fake_store> store;
    std::shared_ptr<fake_model> model = std::make_shared<fake_model>();
    std::shared_ptr<fake_tools> tools;
    std::shared_ptr<llm_router> llm;
    std::shared_ptr<session_directory> dir;
    bool stopped = false;

    life(std::shared_ptr<disk> d, std::shared_ptr<deeds> world, session_options options = {}, milliseconds after = milliseconds(0))
        : store(std::make_shared<fake_store>(std::move(d))), tools(std::make_shared<fake_tools>(std::move(world))), llm(llm_router::create(rt.clock())) {
        rt.advance(after);  // the wall clock of a later life is later
        llm->configure({{"fake", "llm-fake", model}}, "auto", {});
        session_services s;
        s.rt = &rt;
        s.bus = &bus;
        s.store = store;
        s.tools = tools;
        s.llm = llm;
        s.start_child = unsupervised(rt);
        dir = session_directory::create(s, options);
    }
    ~life() { end(); }
    void end() {
        if (std::exchange(stopped, true)) return;
        bool done = false;
        dir->stop(milliseconds(1000), [&] { done = true; });
        rt.run_until_idle();
        if (!done) rt.advance(milliseconds(2000));
        EXPECT_TRUE(done);
        // The host completes every call of a plugin that went away.
        while (!model->pending.empty()) model->end(fail(errc::plugin_failed, "gone"), model->pending.begin()->first);
        tools->pending.clear();
        rt.run_until_idle();
    }
    void boot() {
        bool up = false;
        dir->start([&](result<void>) { up = true; });
        rt.run_until_idle();
        EXPECT_TRUE(up);
    }
    /// Power cut: nothing of this life has an effect any more.
    void cut() {
        store->dead = true;
        model->dead = true;
        tools->dead = true;
        end();
    }
    result<json> call(const std::string& method, json params, caller who = {"local", "cli"}) {
        std::optional<result<json>> out;
        dir->invoke(method, who, std::move(params), [&out](result<json> r) { out = std::move(r); });
        rt.run_until_idle();
        if (!out) return fail(errc::timeout, "no answer yet");
        return std::move(*out);
    }
    json must(const std::string& method, json params, caller who = {"local", "cli"}) {
        auto r = call(method, std::move(params), std::move(who));
        EXPECT_TRUE(r) << method << ": " << (r ? "" : r.error().message);
        return r ? *r : json();
    }
    result<json> send(const std::string& id, const std::string& text, const std::string& key = {}) {
        json p{{"session_id", id}, {"content", text}};
        if (!key.empty()) p["idem_key"] = key;
        return call("session.send", std::move(p));
    }
    json snapshot(const std::string& id) { return must("session.get", {{"session_id", id}}); }
    void run() { rt.run_until_idle(); }
};

}  // namespace holdfast::sessions::testing
