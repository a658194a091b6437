// Servers behind HTTP: the set, the engine, transport-http and the policies as real plugins, against scripted servers.
#include "integration/server_plugins.hpp"
#include "mcp/json_rpc.hpp"
#include "unit/net_client/script_server.hpp"

namespace holdfast::servers {
namespace {

using namespace test;
using testing::heard_request;
using testing::script_server;

std::string event(const json& m) { return "data: " + dump(m) + "\n\n"; }
json result_of(const json& id, json r) { return {{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(r)}}; }
const json said{{"content", json::array({{{"type", "text"}, {"text", "done"}}})}};
json echo_tool(json properties = json::object()) {
    return {{"name", "echo"}, {"inputSchema", {{"type", "object"}, {"properties", std::move(properties)}}}};
}

class servers_http : public server_plugins {
  protected:
    servers_http() : server_plugins("transport-http") {}
    /// Plays a legacy server with sessions: `rest` gets what is neither handshake nor list. Any thread.
    script_server::script legacy(script_server::script rest) {
        return [this, rest](const heard_request& q, script_server::peer& p) {
            const auto m = parse_json(q.body);
            const std::string method = m ? string_or(*m, "method") : std::string();
            if (method == "server/discover") return void(p.answer(400, "text/plain", "what?"));
            if (method == "initialize") {
                const std::string session = "session-" + std::to_string(++sessions);
                return void(p.answer(200, "application/json",
                                     dump(result_of((*m)["id"], {{"protocolVersion", "2025-11-25"}, {"capabilities", {{"tools", json::object()}, {"resources", {{"subscribe", true}}}}}})),
                                     "Mcp-Session-Id: " + session + "\r\n"));
            }
            if (method == "notifications/initialized") return void(p.answer(202, "", ""));
            if (q.method == "DELETE") return void(p.answer(200, "", ""));
            if (method == "tools/list") return void(p.answer(200, "application/json", dump(result_of((*m)["id"], {{"tools", json::array({echo_tool()})}}))));
            if (method == "resources/list") return void(p.answer(200, "application/json", dump(result_of((*m)["id"], {{"resources", json::array()}}))));
            if (method == "resources/templates/list") return void(p.answer(200, "application/json", dump(result_of((*m)["id"], {{"resourceTemplates", json::array()}}))));
            rest(q, p);
        };
    }
    std::atomic<int> sessions{0};
};

TEST_F(servers_http, a_server_that_forgot_the_session_gets_a_new_one) {
    script_server s(legacy([](const heard_request& q, script_server::peer& p) {
        if (q.method == "GET") return void(p.answer(405, "", ""));
        if (q.header("mcp-session-id") == "session-1") return void(p.answer(404, "text/plain", "no such session"));
        p.answer(200, "application/json", dump(result_of((*parse_json(q.body))["id"], said)));
    }));
    apply({{"web", {{"url", s.url("/mcp")}}}});
    ASSERT_TRUE(healthy("web")) << row("web");
    auto lost = call("web", "echo", json::object());
    ASSERT_FALSE(lost.value);
    EXPECT_EQ(lost.value.error().code, errc::transport_lost);
    ASSERT_TRUE(until([&] { return row("web")["restarts"] == 1 && row("web")["status"] == "healthy"; })) << row("web");
    auto found = call("web", "echo", json::object());
    ASSERT_TRUE(found.value) << found.value.error().message;
    EXPECT_EQ(sessions, 2);
}

TEST_F(servers_http, a_question_on_a_calls_stream_is_asked_of_that_caller_while_others_call_too) {
    std::mutex guard;
    std::condition_variable came;
    std::map<std::string, json> answers;  // by the question's id
    script_server s(legacy([&](const heard_request& q, script_server::peer& p) {
        if (q.method == "GET") return void(p.answer(405, "", ""));
        const json m = *parse_json(q.body);
        if (!m.contains("method")) {
            std::lock_guard lock(guard);
            answers[m["id"]] = m["result"];
            came.notify_all();
            return void(p.answer(202, "", ""));
        }
        const std::string who = m["params"]["arguments"]["who"], id = "question to " + who;
        p.events();
        p.chunk(event({{"jsonrpc", "2.0"}, {"id", id}, {"method", "elicitation/create"}, {"params", {{"message", who}}}}));
        std::unique_lock lock(guard);
        came.wait_for(lock, patience, [&] { return answers.size() == 2; });  // both calls are under way until both are answered
        const json got = answers[id];
        lock.unlock();
        p.chunk(event(result_of(m["id"], {{"content", json::array()}, {"structuredContent", got}})));
        p.last_chunk();
    }));
    apply({{"web", {{"url", s.url("/mcp")}}}});
    ASSERT_TRUE(healthy("web")) << row("web");
    struct caller {
        std::atomic<std::uint64_t> id{0};
        std::vector<std::string> asked;
        std::optional<result<json>> outcome;
    };
    std::map<std::string, std::shared_ptr<caller>> callers;  // second owners: the calls
    for (const std::string who : {"ann", "bob"}) {
        auto c = callers[who] = std::make_shared<caller>();
        tool_call_events e;
        e.input = [this, c, who](input_request i) {
            {
                std::lock_guard lock(mutex);
                c->asked.push_back(i.params["message"]);
            }
            EXPECT_TRUE(until([&] { return c->id != 0; }));
            servers->answer_input(c->id, i.key, {{"action", "accept"}, {"content", {{"from", who}}}});
        };
        e.done = [this, c](result<json> r, bool) {
            {
                std::lock_guard lock(mutex);
                c->outcome = std::move(r);
            }
            news();
        };
        server_request r;
        r.server = "web", r.method = "tools/call", r.session = who, r.params = {{"name", "echo"}, {"arguments", {{"who", who}}}};
        c->id = servers->request(std::move(r), std::move(e));
    }
    ASSERT_TRUE(until([&] { return callers["ann"]->outcome && callers["bob"]->outcome; }));
    for (const auto& [who, c] : callers) {
        EXPECT_EQ(c->asked, std::vector<std::string>{who});
        ASSERT_TRUE(*c->outcome) << c->outcome->error().message;
        EXPECT_EQ((**c->outcome)["structuredContent"], (json{{"action", "accept"}, {"content", {{"from", who}}}}));
    }
}

TEST_F(servers_http, updates_come_over_the_listening_stream) {
    std::mutex guard;
    std::condition_variable came;
    bool wished = false;
    script_server s(legacy([&](const heard_request& q, script_server::peer& p) {
        if (q.method == "GET") {
            p.events();
            std::unique_lock lock(guard);
            came.wait_for(lock, patience, [&] { return wished; });
            lock.unlock();
            p.chunk(event({{"jsonrpc", "2.0"}, {"method", "notifications/resources/updated"}, {"params", {{"uri", "a:1"}}}}));
            p.wait_gone();
            return;
        }
        const json m = *parse_json(q.body);
        EXPECT_EQ(m["method"], "resources/subscribe");
        p.answer(200, "application/json", dump(result_of(m["id"], json::object())));
        std::lock_guard lock(guard);
        wished = true;
        came.notify_all();
    }));
    std::vector<std::string> notices;
    servers->on_server_notice([&](const std::string& server, const std::string& method, const json& params) {
        {
            std::lock_guard lock(mutex);
            notices.push_back(server + " " + method + " " + dump(params));
        }
        news();
    });
    apply({{"web", {{"url", s.url("/mcp")}}}});
    ASSERT_TRUE(healthy("web")) << row("web");
    ASSERT_TRUE(servers->watch_resources("web", {"a:1"}));
    ASSERT_TRUE(until([&] { return !notices.empty(); }));
    EXPECT_EQ(notices[0], R"(web notifications/resources/updated {"uri":"a:1"})");
    servers->on_server_notice({});
}

TEST_F(servers_http, headers_follow_a_definition_that_changed) {
    std::atomic<int> lists{0}, refused{0};
    script_server s([&](const heard_request& q, script_server::peer& p) {
        const json m = *parse_json(q.body);
        const auto answer = [&](json r) {
            r["resultType"] = "complete";
            p.answer(200, "application/json", dump(result_of(m["id"], std::move(r))));
        };
        if (m["method"] == "server/discover") return answer({{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
        if (m["method"] == "tools/list") {
            json properties = json::object();
            if (++lists > 1) properties["region"] = {{"type", "string"}, {"x-mcp-header", "Region"}};  // new since the first
            return answer({{"tools", json::array({echo_tool(properties)})}});
        }
        if (q.header("mcp-param-region") != "north") {
            ++refused;
            return void(p.answer(400, "application/json", dump({{"jsonrpc", "2.0"}, {"id", m["id"]}, {"error", {{"code", -32020}, {"message", "Mcp-Param-Region is missing"}}}})));
        }
        answer(said);
    });
    apply({{"web", {{"url", s.url("/mcp")}}}});
    ASSERT_TRUE(healthy("web")) << row("web");
    auto r = call("web", "echo", {{"region", "north"}});
    ASSERT_TRUE(r.value) << r.value.error().message;
    EXPECT_EQ((*r.value)["content"], said["content"]);
    EXPECT_EQ(lists, 2);
    EXPECT_EQ(refused, 1);
}

}  // namespace
}  // namespace holdfast::servers
