#pragma once
// A transport of our own: servers in memory that do what they are told, through as many generations as a test wants.
#include <gtest/gtest.h>

#include <deque>

#include "holdfast/ext/transport.h"
#include "holdfast/status.hpp"
#include "kernel/core/json.hpp"
#include "kernel/plugins/pin.hpp"
#include "kernel/plugins/ports.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::servers::test {

/// How a fake server behaves. Changed between steps of a test only.
/// Every function of the fakes begins with it: a crash inside must be traceable to the plugin.
inline void expect_mark() { EXPECT_GT(plugins::this_thread_slot().depth.load(), 0u) << "a call into a plugin without a crash mark"; }

struct personality {
    bool dies_at_start = false;    ///< closed instead of opened
    bool refuses_open = false;     ///< open() itself fails: command not found
    bool throws = false;           ///< open() and send() leave with an exception
    bool silent = false;           ///< answers nothing from now on
    bool opens_mute = false;       ///< connections opened from now on answer nothing, ever
    bool legacy = false;
    json capabilities{{"tools", json::object()}};
    int tools = 1;
    bool answers_calls = true;
    bool answers_lists = true;
    bool closes_late = false;      ///< close() ends nothing; let_go() does
    std::string ask;               ///< a modern question before the result
    std::string ask_method = "elicitation/create";
    std::map<std::string, json> answers;  ///< by method: instead of what it would say; null: it does not know the method
    // seen
    std::vector<double> opened_at;
    std::vector<std::string> asked;  ///< every request's method
    std::vector<json> calls;
    std::vector<json> told;        ///< answers to requests of its own
    std::vector<json> wishes;      ///< subscriptions and log levels asked for
    std::vector<std::uint64_t> called_on;  ///< the connection of each
    std::vector<json> made_from;   ///< what each connection was opened with
    int open_now = 0, most_open = 0;
    std::uint64_t conn = 0;
    hf_transport_sink sink{};
    std::vector<json> unanswered;
    std::vector<std::uint64_t> conns;  ///< open ones, oldest first; `conn` and `sink` are of the newest
};

class fake_transport {
    struct open_connection {
        std::string server;
        hf_transport_sink sink{};
        const void* generation = nullptr;
        std::vector<json> unanswered;
        bool mute = false;
    };
    struct generation {
        fake_transport* owner;
    };

  public:
    std::map<std::string, personality> servers;
    supervise::runtime* rt = nullptr;
    steady_time t0{};
    std::size_t most_open = 0;  ///< connections of all servers together

    fake_transport() { replace(); }
    /// What resolves from now on; the generations before go on carrying what they opened.
    void replace() { generations_.push_back({this}); }
    plugins::bound<hf_transport> resolve() {
        static constexpr hf_transport t{sizeof(hf_transport), 0, &open, &send, &abandon, &close};
        return {&t, &generations_.back(), {}};
    }
    /// The generations before the newest are stopped: what is connected through them is lost.
    void stop_old_generations() {
        for (const auto conn : numbers())
            if (open_[conn].generation != &generations_.back()) end(conn, "the transport plugin was stopped");
    }
    void say(personality& p, json message) { say(p.sink, std::move(message)); }
    void log(const std::string& name, const std::string& line) {
        auto& p = servers[name];
        p.sink.on_log(p.sink.ctx, sdk::str(line));
    }
    void kill(const std::string& name, const char* why = "the server was ended by SIGKILL") {
        auto& p = servers[name];
        ASSERT_NE(p.conn, 0u);
        end(p.conn, why);
    }
    /// It ends by itself, in order.
    void leave(const std::string& name) {
        ASSERT_NE(servers[name].conn, 0u);
        end(servers[name].conn, "the server exited with status 0", HF_E_PEER);
    }
    /// Ends one connection that close() was called for. false: there is none.
    bool let_go() {
        if (closing_.empty()) return false;
        end(std::exchange(closing_.front(), 0), nullptr);
        closing_.pop_front();
        return true;
    }
    void kill(std::uint64_t conn) { end(conn, "the server was ended by SIGKILL"); }
    /// It answers again, also what it left unanswered on connections that are still open.
    void wake(const std::string& name) {
        servers[name].silent = false;
        servers[name].answers_calls = servers[name].answers_lists = true;
        servers[name].unanswered.clear();
        for (const auto conn : numbers()) {
            if (!open_.contains(conn) || open_[conn].server != name) continue;
            for (const json& m : std::exchange(open_[conn].unanswered, {})) answer(conn, m);
        }
    }

  private:
    static fake_transport& at(void* self) { return *static_cast<generation*>(self)->owner; }
    std::vector<std::uint64_t> numbers() const {
        std::vector<std::uint64_t> out;
        for (const auto& [conn, c] : open_) out.push_back(conn);
        return out;
    }
    void say(const hf_transport_sink& sink, json message) {
        message["jsonrpc"] = "2.0";
        const std::string text = dump(message);
        sink.on_message(sink.ctx, sdk::bytes(text));
    }
    void end(std::uint64_t conn, const char* why, std::int32_t code = HF_E_TRANSPORT) {
        const open_connection c = open_.at(conn);
        open_.erase(conn);
        personality& p = servers[c.server];
        std::erase(p.conns, conn);
        if (p.conn == conn) {
            p.conn = p.conns.empty() ? 0 : p.conns.back();
            if (p.conn) p.sink = open_.at(p.conn).sink;
        }
        --p.open_now;
        hf_error err = sdk::empty_error();
        if (why) sdk::fill(&err, code, why);
        c.sink.on_closed(c.sink.ctx, why ? &err : nullptr);
    }
    static std::int32_t open(void* self, std::uint64_t conn, hf_bytes config, const hf_transport_sink* sink, hf_error* err) {
        expect_mark();
        auto& t = at(self);
        auto parsed = parse_json(sdk::view(config));
        const std::string name = string_or(*parsed, "name");
        personality& p = t.servers[name];
        p.opened_at.push_back(std::chrono::duration<double>(t.rt->now() - t.t0).count());
        p.made_from.push_back(*parsed);
        if (p.throws) throw std::runtime_error("the transport broke");
        if (member(member(*parsed, "auth"), "action").is_string()) {  // an errand, not a connection; it succeeds at once
            p.opened_at.pop_back();
            sink->on_closed(sink->ctx, nullptr);
            return HF_OK;
        }
        if (p.refuses_open) return sdk::fill(err, HF_E_COMMAND_NOT_FOUND, "there is no program 'nothing'");
        t.open_[conn] = {name, *sink, self, {}, p.opens_mute};
        p.sink = *sink;
        p.conn = conn;
        p.conns.push_back(conn);
        p.most_open = std::max(p.most_open, ++p.open_now);
        t.most_open = std::max(t.most_open, t.open_.size());
        if (p.dies_at_start) {
            t.end(conn, "the server exited with status 1 after 2 ms");
            return HF_OK;
        }
        const std::string info = "{\"pid\":" + std::to_string(p.opened_at.size()) + "}";
        sink->on_open(sink->ctx, sdk::bytes(info));
        return HF_OK;
    }
    static std::int32_t send(void* self, std::uint64_t conn, hf_bytes bytes, hf_error* err) {
        expect_mark();
        auto& t = at(self);
        if (!t.open_.contains(conn)) return sdk::fill(err, HF_E_NOT_FOUND, "closed");
        EXPECT_EQ(t.open_[conn].generation, self) << "sent through a generation that did not open it";
        if (t.servers[t.open_[conn].server].throws) throw std::runtime_error("the transport broke");
        t.answer(conn, *parse_json(sdk::view(bytes)));
        return HF_OK;
    }
    static void abandon(void*, std::uint64_t, hf_bytes) { expect_mark(); }
    static void close(void* self, std::uint64_t conn, std::int64_t) {
        expect_mark();
        auto& t = at(self);
        if (!t.open_.contains(conn)) return;
        if (t.servers[t.open_[conn].server].closes_late) return t.closing_.push_back(conn);
        t.end(conn, nullptr);
    }
    void answer(std::uint64_t conn, const json& m) {
        const hf_transport_sink sink = open_.at(conn).sink;
        personality& p = servers[open_.at(conn).server];
        const std::string method = string_or(m, "method");
        if (!m.contains("id")) return;
        if (method.empty()) return p.told.push_back(m);
        p.asked.push_back(method);
        if (method == "tools/call") p.calls.push_back(m), p.called_on.push_back(conn);
        if (open_.at(conn).mute) return;
        if (p.silent || (method == "tools/call" && !p.answers_calls) || (method == "tools/list" && !p.answers_lists)) {
            p.unanswered.push_back(m);
            open_.at(conn).unanswered.push_back(m);
            return;
        }
        const auto reply = [&](json r) { say(sink, {{"id", m["id"]}, {"result", std::move(r)}}); };
        if (const auto own = p.answers.find(method); own != p.answers.end())
            return own->second.is_null() ? say(sink, {{"id", m["id"]}, {"error", {{"code", -32601}, {"message", "?"}}}}) : reply(own->second);
        if (method == "server/discover") {
            if (p.legacy) return say(sink, {{"id", m["id"]}, {"error", {{"code", -32601}, {"message", "?"}}}});
            return reply({{"supportedVersions", {"2026-07-28"}}, {"capabilities", p.capabilities}});
        }
        if (method == "initialize") return reply({{"protocolVersion", "2025-11-25"}, {"capabilities", p.capabilities}});
        if (method == "subscriptions/listen") return p.wishes.push_back(m);  // the answer is its end
        if (method == "resources/subscribe" || method == "resources/unsubscribe" || method == "logging/setLevel") p.wishes.push_back(m);
        if (method == "resources/list") return reply({{"resources", json::array()}});
        if (method == "resources/templates/list") return reply({{"resourceTemplates", json::array()}});
        if (method == "tools/list") {
            json list = json::array();
            for (int i = 0; i < p.tools; ++i) list.push_back({{"name", "t" + std::to_string(i)}, {"inputSchema", {{"type", "object"}}}});
            return reply({{"tools", list}});
        }
        if (method == "tools/call" && !p.ask.empty() && !m["params"].contains("inputResponses"))
            return reply({{"resultType", "input_required"}, {"inputRequests", {{p.ask, {{"method", p.ask_method}, {"params", {{"message", "?"}}}}}}}});
        if (method == "tools/call")
            return reply({{"content", json::array({{{"type", "text"}, {"text", dump(m["params"])}}})}});
        reply(json::object());
    }

    std::deque<generation> generations_;
    std::map<std::uint64_t, open_connection> open_;
    std::deque<std::uint64_t> closing_;
};

}  // namespace holdfast::servers::test
