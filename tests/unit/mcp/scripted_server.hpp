#pragma once
// A conversation with client_machine, written down: what it sends is looked at, what the server says is given.
#include <gtest/gtest.h>

#include <deque>
#include <fstream>
#include <sstream>

#include "mcp/client_machine.hpp"

namespace holdfast::mcp::test {

inline json example(const std::string& name) {
    std::ifstream file(std::string(MCP_TEST_DATA) + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    auto parsed = parse_json(text.str());
    EXPECT_TRUE(parsed) << name;
    return parsed ? *parsed : json();
}

inline json tool(const std::string& name) { return {{"name", name}, {"inputSchema", {{"type", "object"}}}}; }

struct script {
    client_machine machine;
    steady_time t0{std::chrono::hours(1)}, now = t0;
    std::deque<json> sent;                  ///< not looked at yet
    std::vector<client_action> other;       ///< all but send, since the last step

    explicit script(client_options o = {}) : machine(with_identity(std::move(o))) {}
    static client_options with_identity(client_options o) {
        o.client_info = {{"name", "test"}, {"version", "1"}};
        return o;
    }
    void on(client_event e) {
        std::vector<client_action> actions;
        machine.on(std::move(e), now, actions);
        other.clear();
        for (auto& a : actions) {
            if (auto* s = std::get_if<out::send>(&a)) {
                auto parsed = parse_json(s->text);
                EXPECT_TRUE(parsed) << s->text;
                sent.push_back(*parsed);
                if (!s->request_id.empty()) {
                    EXPECT_EQ(s->request_id, dump((*parsed)["id"]));
                }
            } else {
                other.push_back(std::move(a));
            }
        }
    }
    /// The next message must be this method; returned for a look at the rest.
    json expect(const std::string& method) {
        if (sent.empty()) {
            ADD_FAILURE() << "nothing was sent, expected " << method;
            return json::object();
        }
        json m = sent.front();
        sent.pop_front();
        EXPECT_EQ(string_or(m, "method"), method) << dump(m);
        return m;
    }
    void says(json message) {
        message["jsonrpc"] = "2.0";
        on(in::message{dump(message)});
    }
    void replies(const json& request, json result) { says({{"id", request["id"]}, {"result", std::move(result)}}); }
    void refuses(const json& request, int code, json data = nullptr) {
        json e{{"code", code}, {"message", "no"}};
        if (!data.is_null()) e["data"] = data;
        says({{"id", request["id"]}, {"error", e}});
    }
    void wait(nanoseconds d) {
        now += d;
        on(in::tick{});
    }
    template <class T>
    const T* find() const {
        for (const auto& a : other)
            if (auto* t = std::get_if<T>(&a)) return t;
        return nullptr;
    }
    template <class T>
    std::size_t count() const {
        std::size_t n = 0;
        for (const auto& a : other) n += std::get_if<T>(&a) != nullptr;
        return n;
    }

    void become_modern(json capabilities = {{"tools", json::object()}}, json tools = json::array({tool("echo")})) {
        on(in::opened{});
        replies(expect("server/discover"), {{"resultType", "complete"}, {"supportedVersions", {"2026-07-28"}}, {"capabilities", capabilities}});
        if (capabilities.contains("tools")) replies(expect("tools/list"), {{"resultType", "complete"}, {"tools", tools}});
    }
    void become_legacy(json capabilities = {{"tools", json::object()}}, json tools = json::array({tool("echo")})) {
        on(in::opened{});
        refuses(expect("server/discover"), -32601);
        replies(expect("initialize"), {{"protocolVersion", "2025-11-25"}, {"capabilities", capabilities}, {"serverInfo", {{"name", "old"}}}});
        expect("notifications/initialized");
        if (capabilities.contains("tools")) replies(expect("tools/list"), {{"tools", tools}});
    }
    void call(call_id id, bool input = false, milliseconds timeout = milliseconds(60'000), std::string owner = "s1", bool progress = false) {
        on(in::call{id, "tools/call", {{"name", "echo"}, {"arguments", {{"text", "hi"}}}}, timeout, input, progress, std::move(owner)});
    }
};

}  // namespace holdfast::mcp::test
