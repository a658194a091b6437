#include "unit/ui_http/fixture.hpp"

namespace holdfast::test {
namespace {
const char* const protected_paths[] = {
    "/auth/whoami", "/auth/logout", "/mcp/x", "/ws", "/nothing", "/api/v1/host", "/api/v1/tree", "/api/v1/health", "/api/v1/plugins", "/api/v1/servers",
    "/api/v1/tools", "/api/v1/sessions", "/api/v1/sessions/s1", "/api/v1/sessions/s1/messages", "/api/v1/openapi.json", "/api/v1/call/echo",
    "/api/v1/mcp/tools/servers", "/api/v1/mcp/tools/capabilities", "/api/v1/mcp/tools/call", "/api/v1/unknown", "/%2e%2e/etc/passwd", "//", "/app.js/", "/index.html%00"};

TEST_F(ui_http, every_path_without_a_token_is_401) {
    host.start();
    for (const std::string path : protected_paths)
        for (const std::string method : {"GET", "POST", "PUT", "DELETE", "OPTIONS"}) {
            const auto r = ask(request(method, path, method == "POST" ? json_type() : "", method == "POST" ? "{}" : ""));
            if (path == "/index.html%00") {
                EXPECT_EQ(r.status, 400);
                continue;
            }
            EXPECT_EQ(r.status, 401) << method << " " << path;
            EXPECT_EQ(code_of(r), "unauthorized") << method << " " << path;
        }
    raw_client c(host.port());
    EXPECT_EQ(c.upgrade(), 401);
    EXPECT_TRUE(host.calls("echo").empty());
    EXPECT_TRUE(host.calls("host.info").empty());
}

TEST_F(ui_http, wrong_tokens_are_401) {
    host.start();
    for (const std::string& header : std::vector<std::string>{"Authorization: Bearer nonsense\r\n", "Authorization: Basic " + host.token + "\r\n", "Authorization: Bearer \r\n",
                                     bearer() + bearer(), "Cookie: holdfast_session=" + std::string(64, 'a') + "\r\n", "Cookie: token=" + host.token + "\r\n"}) {
        EXPECT_EQ(ask(request("GET", "/api/v1/host", header)).status, 401) << header;
        raw_client c(host.port());
        EXPECT_EQ(c.upgrade("/ws", header), 401) << header;
    }
    EXPECT_EQ(ask(request("GET", "/api/v1/host?token=" + host.token)).status, 401) << "never in the address";
}

TEST_F(ui_http, a_token_opens_every_path) {
    host.start();
    EXPECT_EQ(ask(request("GET", "/api/v1/host", bearer())).status, 200);
    EXPECT_EQ(ask(request("GET", "/api/v1/openapi.json", bearer())).body, R"({"openapi":"3.1.0"})");
    const auto r = ask(request("POST", "/api/v1/call/echo", bearer() + json_type(), R"({"a":[1,2]})"));
    EXPECT_EQ(r.status, 200);
    const auto body = json::parse(r.body);
    EXPECT_EQ(body["params"]["a"][1], 2);
    EXPECT_EQ(body["identity"], json::parse(R"({"user":"local","role":"admin","ui":"web"})"));
    EXPECT_EQ(ask(request("GET", "/nothing", bearer())).status, 404);
    EXPECT_EQ(ask(request("GET", "/api/v1/call/echo", bearer())).status, 405);
}

TEST_F(ui_http, foreign_hosts_and_origins_are_403_with_and_without_a_token) {
    host.start();
    const std::string own = "127.0.0.1:" + std::to_string(host.port());
    for (const std::string& auth : {std::string(), bearer(), sign_in()}) {
        for (const std::string path : {"/", "/app.js", "/api/v1/host", "/mcp", "/healthz", "/auth/exchange"}) {
            EXPECT_EQ(ask(request("GET", path, auth, {}, "evil.example")).status, 403) << path;
            EXPECT_EQ(ask(request("GET", path, auth + "Origin: http://evil.example\r\n")).status, 403) << path;
            EXPECT_EQ(ask(request("GET", path, auth + "Origin: null\r\n", {}, own)).status, 403) << path;
        }
        raw_client a(host.port());
        EXPECT_EQ(a.upgrade("/ws", auth, "evil.example"), 403);
        raw_client b(host.port());
        EXPECT_EQ(b.upgrade("/ws", auth + "Origin: http://127.0.0.1:1\r\n", own), 403) << "another port of this machine is another origin";
    }
    EXPECT_TRUE(host.calls("host.info").empty());
}

TEST_F(ui_http, listed_origins_and_hosts_pass) {
    host.start({{"listen", "127.0.0.1:0"}, {"allowed_origins", {"https://chat.example"}}, {"allowed_hosts", {"holdfast.example"}}});
    const auto r = ask(request("GET", "/api/v1/host", bearer() + "Origin: https://chat.example\r\n", {}, "holdfast.example"));
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.headers.at("access-control-allow-origin"), "https://chat.example");
    EXPECT_EQ(ask(request("OPTIONS", "/api/v1/call/echo", "Origin: https://chat.example\r\n")).status, 204);
    EXPECT_EQ(ask(request("GET", "/api/v1/host", bearer() + "Origin: http://chat.example\r\n")).status, 403);
}

TEST_F(ui_http, exchange_gives_a_strict_cookie_that_works_and_ends) {
    host.start();
    const std::string own = "127.0.0.1:" + std::to_string(host.port());
    const auto r = ask(request("POST", "/auth/exchange", json_type() + "Origin: http://" + own + "\r\n", R"({"token":")" + host.token + "\"}", own));
    ASSERT_EQ(r.status, 200);
    const std::string set = r.headers.at("set-cookie");
    EXPECT_NE(set.find("HttpOnly"), std::string::npos);
    EXPECT_NE(set.find("SameSite=Strict"), std::string::npos);
    EXPECT_EQ(set.find(host.token), std::string::npos);
    const std::string cookie = "Cookie: other=1; " + set.substr(0, set.find(';')) + "\r\n";
    const std::string origin = "Origin: http://" + own + "\r\n";
    EXPECT_EQ(ask(request("GET", "/api/v1/host", cookie, {}, own)).status, 200);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", cookie + json_type(), "{}", own)).status, 403) << "forgery: no origin";
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", cookie + origin + "Content-Type: text/plain\r\n", "{}", own)).status, 415);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", cookie + origin + json_type(), "{}", own)).status, 200);
    {
        raw_client c(host.port());
        EXPECT_EQ(c.upgrade("/ws", cookie, own), 403) << "a browser always says its origin";
        raw_client d(host.port());
        EXPECT_EQ(d.upgrade("/ws", cookie + origin, own), 101);
    }
    EXPECT_EQ(ask(request("POST", "/auth/logout", cookie + origin + json_type(), "{}", own)).status, 200);
    EXPECT_EQ(ask(request("GET", "/api/v1/host", cookie, {}, own)).status, 401);
}

TEST_F(ui_http, exchange_refuses_wrong_tokens_and_soon_the_one_who_tries) {
    host.start();
    int limited = 0;
    for (int i = 0; i < 15; ++i) {
        const auto r = ask(request("POST", "/auth/exchange", json_type(), R"({"token":"wrong"})"));
        EXPECT_TRUE(r.status == 401 || r.status == 429);
        EXPECT_EQ(r.headers.count("set-cookie"), 0u);
        limited += r.status == 429;
    }
    EXPECT_GT(limited, 0);
    EXPECT_EQ(ask(request("POST", "/auth/exchange", "Content-Type: text/plain\r\n", "{}")).status, 415);
}

TEST_F(ui_http, mode_none_serves_everyone_here_but_no_foreign_page) {
    host.start({{"listen", "127.0.0.1:0"}, {"auth", {{"mode", "none"}}}});
    EXPECT_EQ(ask(request("GET", "/api/v1/host")).status, 200);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", json_type(), "{}")).status, 200);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", "Content-Type: text/plain\r\n", "{}")).status, 415);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", json_type() + "Sec-Fetch-Site: cross-site\r\n", "{}")).status, 403);
    EXPECT_EQ(ask(request("GET", "/api/v1/host", "Origin: http://evil.example\r\n")).status, 403);
    raw_client c(host.port());
    EXPECT_EQ(c.upgrade(), 101);
}

TEST_F(ui_http, refuses_to_start_where_it_would_be_open_to_all_or_the_port_is_taken) {
    EXPECT_THROW(host.start({{"listen", "0.0.0.0:0"}, {"auth", {{"mode", "none"}}}}), sdk::plugin_error);
    host.no_listening = {HF_E_UNAVAILABLE, "cannot listen on 127.0.0.1:7777: taken"};
    try {
        host.start();
        FAIL() << "it runs without a socket";
    } catch (const sdk::plugin_error& e) {
        EXPECT_EQ(e.status().code, HF_E_UNAVAILABLE);
        EXPECT_STREQ(e.what(), "cannot listen on 127.0.0.1:7777: taken");
    }
}

TEST_F(ui_http, errors_of_the_api_become_statuses) {
    host.start();
    const auto r = ask(request("GET", "/api/v1/sessions/nope", bearer()));
    EXPECT_EQ(r.status, 404);
    EXPECT_EQ(code_of(r), "session_not_found");
    const std::string deep(100'000, '[');
    const auto d = ask(request("POST", "/api/v1/call/echo", bearer() + json_type(), deep));
    EXPECT_EQ(d.status, 400);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", bearer() + json_type(), "{\"a\":")).status, 400);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", bearer() + json_type(), "[]")).status, 400);
    EXPECT_EQ(ask(request("POST", "/api/v1/call/echo", bearer() + json_type(), std::string(4 * 1024 * 1024 + 1, ' '))).status, 413);
}

TEST_F(ui_http, paths_are_conveniences_over_methods) {
    for (const char* m : {"session.list", "session.create", "session.send", "session.history"})
        host.on(m, [](auto c) { c.done({{"method", c.method}, {"params", c.params}}); });
    host.start();
    const auto get = [&](const std::string& path) { return json::parse(ask(request("GET", path, bearer())).body); };
    const auto post = [&](const std::string& path, const std::string& body) { return json::parse(ask(request("POST", path, bearer() + json_type(), body)).body); };
    EXPECT_EQ(get("/api/v1/sessions?limit=5&after=s%201")["params"], json::parse(R"({"limit":5,"after":"s 1"})"));
    EXPECT_EQ(get("/api/v1/sessions/s%201/messages?before=9")["params"], json::parse(R"({"session_id":"s 1","before":9})"));
    const auto sent = post("/api/v1/sessions/s1/messages", R"({"content":"hi","session_id":"other"})");
    EXPECT_EQ(sent["method"], "session.send");
    EXPECT_EQ(sent["params"], json::parse(R"({"session_id":"s1","content":"hi"})")) << "the path decides";
    EXPECT_EQ(post("/api/v1/sessions", "{}")["method"], "session.create");
}

TEST_F(ui_http, omni_paths_answer_in_its_shapes) {
    host.on("server.list", [](auto c) {
        c.done(json::parse(R"({"servers":[{"name":"demo","status":"healthy","circuit_state":"closed","consecutive_failures":0,"last_recovery_attempt":null,"total_downtime_seconds":0,"tools":2}]})"));
    });
    host.on("tool.list", [](auto c) { c.done(json::parse(R"({"version":3,"tools":[{"server":"demo","name":"echo","description":"d","input_schema":{"type":"object"}}]})")); });
    host.on("tool.call", [](auto c) {
        if (c.params["server"] != "demo") return c.fail(HF_E_NOT_FOUND, {{"code", "server_not_found"}, {"message", "no such server"}});
        c.done({{"content", {{{"type", "text"}, {"text", c.params["arguments"]["text"]}}}}});
    });
    host.start();
    const auto servers = json::parse(ask(request("GET", "/api/v1/mcp/tools/servers", bearer())).body);
    const auto& row = servers["servers"][0];
    for (const char* key : {"name", "health_status", "circuit_state", "consecutive_failures", "last_recovery_attempt", "total_downtime_seconds", "tool_count"})
        EXPECT_TRUE(row.contains(key)) << key;
    EXPECT_EQ(row["health_status"], "healthy");
    const auto caps = json::parse(ask(request("GET", "/api/v1/mcp/tools/capabilities", bearer())).body);
    EXPECT_EQ(caps["capabilities"]["demo"]["tools"][0]["name"], "echo");
    for (const std::string body : {R"({"server":"demo","tool":"echo","arguments":{"text":"hi"}})", R"({"mcp_name":"demo","tool_name":"echo","arguments":{"text":"hi"}})"}) {
        const auto r = ask(request("POST", "/api/v1/mcp/tools/call", bearer() + json_type(), body));
        ASSERT_EQ(r.status, 200);
        EXPECT_EQ(json::parse(r.body)["result"]["content"][0]["text"], "hi");
        EXPECT_EQ(json::parse(r.body)["success"], true);
    }
    EXPECT_EQ(ask(request("POST", "/api/v1/mcp/tools/call", bearer() + json_type(), R"({"tool":"echo"})")).status, 400);
    EXPECT_EQ(ask(request("POST", "/api/v1/mcp/tools/call", bearer() + json_type(), R"({"server":"x","tool":"echo"})")).status, 404);
    EXPECT_EQ(ask(request("GET", "/api/v1/mcp/tools/call", bearer())).status, 405);
}

TEST_F(ui_http, logins_survive_a_successor_on_another_port) {
    host.start();
    const std::string cookie = sign_in();
    const std::string state = host.export_state();
    host.stop();
    host.start({{"listen", "127.0.0.1:0"}}, state);
    EXPECT_EQ(ask(request("GET", "/api/v1/host", cookie)).status, 200);
}

TEST_F(ui_http, a_call_that_never_ends_does_not_hold_up_others_and_ends_with_the_plugin) {
    std::mutex mutex;
    std::vector<scripted_host::call> hanging;
    host.on("hang", [&](auto c) {
        const std::lock_guard lock(mutex);
        hanging.push_back(std::move(c));
    });
    host.start();
    std::vector<std::unique_ptr<raw_client>> stuck;
    for (int i = 0; i < 50; ++i) {
        stuck.push_back(std::make_unique<raw_client>(host.port()));
        stuck.back()->send(request("POST", "/api/v1/call/hang", bearer() + json_type(), "{}"));
    }
    for (int i = 0; i < 20; ++i) EXPECT_EQ(ask(request("GET", "/api/v1/host", bearer())).status, 200);
    while (host.calls("hang").size() < 50) std::this_thread::yield();
    std::thread stopping([&] { host.stop(); });
    for (auto& c : stuck) {
        const auto r = c->read_response();
        ASSERT_TRUE(r);
        EXPECT_EQ(code_of(*r), "cancelled");
    }
    stopping.join();
}
}  // namespace
}  // namespace holdfast::test
