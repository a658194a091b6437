// The Streamable HTTP transport as the host runs it, against scripted and against real servers.
#include <gtest/gtest.h>

#include <condition_variable>
#include <nlohmann/json.hpp>

#include "holdfast/ext/transport.h"
#include "holdfast/testing/loader.hpp"
#include "peers/peer_process.hpp"
#include "unit/net_client/script_server.hpp"

namespace {

using namespace holdfast::testing;
using nlohmann::json;
namespace sdk = holdfast::sdk;

const plugin_file& file() {
    static const plugin_file f(TRANSPORT_HTTP_PLUGIN);
    return f;
}

/// One connection, and everything it reported.
class connection {
  public:
    explicit connection(const json& config, const json& settings = json::object()) : instance_(file(), {.settings = settings.dump()}) {
        const auto up = instance_.up();
        if (!up.ok()) throw std::runtime_error(up.message);
        table_ = instance_.ext<hf_transport>(HF_EXT_TRANSPORT);
        open(1, config);
    }
    /// Another connection of the same plugin; what it reports is noted with the rest.
    void open(std::uint64_t conn, const json& config) {
        ++asked_;
        hf_transport_sink sink{};
        sink.size = sizeof sink;
        sink.ctx = this;
        sink.on_open = [](void* c, hf_bytes) { at(c).note([](connection& me) { ++me.opened; }); };
        sink.on_message = [](void* c, hf_bytes m) { at(c).note([&](connection& me) { me.take(sdk::view(m)); }); };
        sink.on_request_failed = [](void* c, hf_bytes id, const hf_error* e) {
            at(c).note([&](connection& me) { me.failed[std::string(sdk::view(id))] = sdk::from_error(e); });
        };
        sink.on_log = [](void* c, hf_str line) { at(c).note([&](connection& me) { me.lines.emplace_back(sdk::view(line)); }); };
        sink.on_closed = [](void* c, const hf_error* e) { at(c).note([&](connection& me) { ++me.closed, me.why = sdk::from_error(e); }); };
        hf_error err = sdk::empty_error();
        const std::string text = config.dump();
        if (table_->open(instance_.self(), conn, sdk::bytes(text), &sink, &err) != HF_OK) throw std::runtime_error(err.message);
    }
    std::int32_t send(const json& m, std::uint64_t conn = 1) {
        hf_error err = sdk::empty_error();
        const std::string text = m.dump();
        return table_->send(instance_.self(), conn, sdk::bytes(text), &err);
    }
    void abandon(const std::string& id) { table_->abandon(instance_.self(), 1, sdk::bytes(id)); }
    bool close(milliseconds within = milliseconds(5000)) {
        table_->close(instance_.self(), 1, sdk::to_ns(std::chrono::steady_clock::now() + within));
        return wait([](connection& c) { return c.closed > 0; });
    }
    template <class F>
    bool wait(F is) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(15), [&] { return is(*this); });
    }
    bool wait_messages(std::size_t n) {
        return wait([n](connection& c) { return c.messages.size() >= n; });
    }
    sdk::status wait_failed(const std::string& id) {
        EXPECT_TRUE(wait([&](connection& c) { return c.failed.count(id) > 0; })) << "request " << id << " did not fail";
        std::lock_guard lock(mutex_);
        return failed[id];
    }
    /// Sends a request and waits for its answer.
    json call(const json& m) {
        send(m);
        json answer;
        EXPECT_TRUE(wait([&](connection& c) {
            for (const auto& got : c.messages)
                if (got.contains("id") && got["id"] == m["id"] && !got.contains("method")) answer = got;
            return !answer.is_null() || c.failed.count(m["id"].dump()) > 0;
        })) << m;
        return answer;
    }
    int opened = 0, closed = 0;
    sdk::status why;
    std::vector<json> messages;
    std::vector<std::string> streams;  ///< of each: the request on whose stream it came, if that was said
    std::map<std::string, sdk::status> failed;
    std::vector<std::string> lines;

  private:
    void take(std::string_view text) {
        const auto end = text.front() == '{' ? std::string_view::npos : text.find('\n');
        streams.emplace_back(end == std::string_view::npos ? std::string_view() : text.substr(0, end));
        messages.push_back(json::parse(end == std::string_view::npos ? text : text.substr(end + 1)));
    }
    static connection& at(void* c) { return *static_cast<connection*>(c); }
    template <class F>
    void note(F f) {
        std::lock_guard lock(mutex_);
        EXPECT_LT(closed, asked_) << "a report after closed";
        f(*this);
        changed_.notify_all();
    }
    int asked_ = 0;  // for connections
    std::mutex mutex_;
    std::condition_variable changed_;
    plugin_instance instance_;  // destroyed first: its callbacks use the rest
    const hf_transport* table_ = nullptr;
};

json request(int id, const std::string& method, json params = json::object()) { return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}}; }
json modern(int id, const std::string& method, json params = json::object()) {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28";
    return request(id, method, std::move(params));
}
json notification(const std::string& method) { return {{"jsonrpc", "2.0"}, {"method", method}}; }
std::string answer_to(const json& id, const json& result = json::object()) { return json{{"jsonrpc", "2.0"}, {"id", id}, {"result", result}}.dump(); }
std::string event(const std::string& data, const std::string& id = "") { return (id.empty() ? "" : "id: " + id + "\n") + "data: " + data + "\n\n"; }

/// The legacy handshake as a server plays it; what else comes goes to `rest`.
script_server::script legacy(script_server::script rest, bool listens = false) {
    return [rest, listens](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body, nullptr, false);
        if (m.is_object() && m.value("method", "") == "initialize") {
            p.answer(200, "application/json", answer_to(m["id"], {{"protocolVersion", "2025-11-25"}, {"capabilities", json::object()}}), "Mcp-Session-Id: s-1\r\n");
        } else if (m.is_object() && m.value("method", "") == "notifications/initialized") {
            p.answer(202, "", "");
        } else if (q.method == "GET" && !listens && !q.has("last-event-id")) {
            p.answer(405, "", "");
        } else if (q.method == "DELETE") {
            p.answer(200, "", "");
        } else {
            rest(q, p);
        }
    };
}
void handshake(connection& c) {
    ASSERT_EQ(c.call(request(100, "initialize", {{"protocolVersion", "2025-11-25"}}))["result"]["protocolVersion"], "2025-11-25");
    ASSERT_EQ(c.send(notification("notifications/initialized")), HF_OK);
}

TEST(http_transport, modern_messages_carry_their_headers_and_no_session) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body);
        p.answer(200, "application/json", answer_to(m["id"]), "Mcp-Session-Id: ignored\r\n");
    });
    connection c(json{{"url", s.url("/mcp?key=secret")}, {"headers", {{"Authorization", "Bearer t"}}}});
    EXPECT_EQ(c.call(modern(1, "tools/call", {{"name", "größe"}}))["result"], json::object());
    c.call(modern(2, "tools/list"));
    const auto heard = s.heard();
    EXPECT_EQ(heard[0].target, "/mcp?key=secret");
    EXPECT_EQ(heard[0].header("accept"), "application/json, text/event-stream");
    EXPECT_EQ(heard[0].header("content-type"), "application/json");
    EXPECT_EQ(heard[0].header("authorization"), "Bearer t");
    EXPECT_EQ(heard[0].header("mcp-protocol-version"), "2026-07-28");
    EXPECT_EQ(heard[0].header("mcp-method"), "tools/call");
    EXPECT_EQ(heard[0].header("mcp-name"), "=?base64?Z3LDtsOfZQ==?=");
    EXPECT_FALSE(heard[1].has("mcp-session-id"));
    EXPECT_FALSE(heard[1].has("mcp-name"));
    ASSERT_TRUE(c.close());
    EXPECT_TRUE(c.why.ok());
    EXPECT_EQ(s.heard().size(), 2u) << "no session: no DELETE";
}

TEST(http_transport, parameters_are_mirrored_once_the_tools_have_been_listed) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body);
        const json schema = {{"type", "object"}, {"properties", {{"region", {{"type", "string"}, {"x-mcp-header", "Region"}}}}}};
        p.answer(200, "application/json", answer_to(m["id"], {{"tools", {{{"name", "sql"}, {"inputSchema", schema}}}}}));
    });
    connection c(json{{"url", s.url()}});
    const json call = {{"name", "sql"}, {"arguments", {{"region", "us-west1"}}}};
    c.call(modern(1, "tools/call", call));
    c.call(modern(2, "tools/list"));
    c.call(modern(3, "tools/call", call));
    EXPECT_FALSE(s.heard()[0].has("mcp-param-region"));
    EXPECT_EQ(s.heard()[2].header("mcp-param-region"), "us-west1");
}

TEST(http_transport, a_stream_gives_notifications_then_the_answer) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        p.events();
        p.chunk(": keep-alive\r\n\r\n" + event(R"({"jsonrpc":"2.0","method":"notifications/progress","params":{}})"));
        p.chunk(event("not json") + "event: endpoint\ndata: {\"method\":\"ignored\"}\n\n" + event(answer_to(json::parse(q.body)["id"])));
        p.chunk(event(R"({"jsonrpc":"2.0","method":"late"})"));
        p.wait_gone();  // the server forgets to end the stream
    });
    connection c(json{{"url", s.url()}});
    ASSERT_FALSE(c.call(modern(1, "tools/call", {{"name", "x"}})).is_null());
    ASSERT_TRUE(c.close());
    ASSERT_EQ(c.messages.size(), 2u);
    EXPECT_EQ(c.messages[0]["method"], "notifications/progress");
    EXPECT_EQ(c.streams[0], c.messages[1]["id"].dump()) << "it is about the request on whose stream it came";
    EXPECT_EQ(c.streams[1], "") << "an answer names its request itself";
}

TEST(http_transport, error_bodies_are_answers_so_that_the_era_can_be_told) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body);
        switch (m["id"].get<int>()) {
            case 1: p.answer(400, "application/json", R"({"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"v"}})"); break;
            case 2: p.answer(404, "application/json", R"({"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"m"}})"); break;
            case 3: p.answer(400, "text/html", "<html>"); break;
            case 4: p.answer(401, "application/json", "{}"); break;
            case 5: p.answer(503, "", ""); break;
            case 6: p.answer(307, "", "", "Location: /x\r\n"); break;
            case 7: p.answer(202, "", ""); break;
            default: p.answer(200, "application/json", answer_to(999));
        }
    });
    connection c(json{{"url", s.url()}});
    EXPECT_EQ(c.call(modern(1, "server/discover"))["error"]["code"], -32022);
    EXPECT_EQ(c.call(modern(2, "x"))["error"]["code"], -32601);
    for (int i = 3; i <= 8; ++i) c.send(modern(i, "x"));
    EXPECT_EQ(c.wait_failed("3").peer_status, 400);
    EXPECT_EQ(c.wait_failed("4").code, HF_E_AUTH);
    EXPECT_EQ(c.wait_failed("5").code, HF_E_UNAVAILABLE);
    EXPECT_EQ(c.wait_failed("6").peer_status, 307);
    EXPECT_EQ(c.wait_failed("7").code, HF_E_PROTOCOL);
    EXPECT_EQ(c.wait_failed("8").code, HF_E_PROTOCOL);
    EXPECT_EQ(c.closed, 0);
}

TEST(http_transport, an_error_of_no_request_in_particular_does_not_hide_a_status_that_says_more) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        const int status = json::parse(q.body)["id"].get<int>();
        p.answer(status, "application/json", R"({"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Unauthorized"}})", status == 429 ? "Retry-After: 7\r\n" : "");
    });
    connection c(json{{"url", s.url()}});
    for (const int status : {401, 403, 407, 408, 429, 500, 502, 503}) {
        c.send(modern(status, "server/discover"));
        EXPECT_EQ(c.wait_failed(std::to_string(status)).peer_status, status);
    }
    EXPECT_EQ(c.failed["401"].code, HF_E_AUTH);
    EXPECT_NE(c.failed["401"].message.find("\"auth\""), std::string::npos) << c.failed["401"].message;
    EXPECT_EQ(c.failed["429"].code, HF_E_RATE_LIMITED);
    EXPECT_EQ(c.failed["429"].retry_after, std::chrono::seconds(7));
    EXPECT_EQ(c.failed["503"].code, HF_E_UNAVAILABLE);
    EXPECT_TRUE(c.failed["503"].retryable);
    for (const int status : {400, 404, 405, 406, 415}) EXPECT_EQ(c.call(modern(status, "server/discover"))["error"]["code"], -32001) << status;
}

TEST(http_transport, an_error_with_the_requests_own_id_is_its_answer_whatever_the_status) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        const json id = json::parse(q.body)["id"];
        p.answer(id.get<int>(), "application/json", json{{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", -32603}, {"message", "m"}}}}.dump());
    });
    connection c(json{{"url", s.url()}});
    for (const int status : {403, 429, 500, 503}) EXPECT_EQ(c.call(modern(status, "tools/list"))["error"]["code"], -32603) << status;
}

TEST(http_transport, a_legacy_session_is_kept_and_ended) {
    script_server s(legacy([](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body);
        if (m.contains("id") && m.contains("method")) p.answer(200, "application/json", answer_to(m["id"]));
        else p.answer(202, "", "");
    }));
    connection c(json{{"url", s.url()}});
    handshake(c);
    c.call(request(2, "tools/list"));
    ASSERT_EQ(c.send({{"jsonrpc", "2.0"}, {"id", 5}, {"result", json::object()}}), HF_OK);
    ASSERT_TRUE(s.wait_heard(5));
    ASSERT_TRUE(c.close());
    EXPECT_TRUE(c.why.ok());
    EXPECT_EQ(c.send(request(3, "x")), HF_E_NOT_FOUND);
    const auto heard = s.heard();
    EXPECT_FALSE(heard[0].has("mcp-session-id"));
    EXPECT_FALSE(heard[0].has("mcp-protocol-version"));
    bool listened = false;
    for (std::size_t i = 1; i < heard.size(); ++i) {
        EXPECT_EQ(heard[i].header("mcp-session-id"), "s-1") << heard[i].head;
        EXPECT_EQ(heard[i].header("mcp-protocol-version"), "2025-11-25");
        listened |= heard[i].method == "GET";
    }
    EXPECT_TRUE(listened);
    EXPECT_EQ(heard.back().method, "DELETE");
}

TEST(http_transport, nothing_overtakes_the_initialized_notification) {
    std::atomic<bool> accepted{false};
    script_server s([&](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body, nullptr, false);
        const std::string method = m.is_object() ? m.value("method", "") : "";
        if (method == "initialize") return void(p.answer(200, "application/json", answer_to(m["id"], {{"protocolVersion", "2025-03-26"}})));
        if (method == "notifications/initialized") {
            for (int i = 0; i < 200; ++i) std::this_thread::yield();  // room for the others to be first, if they could
            accepted = true;
            return void(p.answer(202, "", ""));
        }
        if (q.method != "POST") return void(p.answer(405, "", ""));
        p.answer(200, "application/json", answer_to(m["id"], {{"accepted", accepted.load()}}));
    });
    connection c(json{{"url", s.url()}});
    c.call(request(1, "initialize"));
    c.send(notification("notifications/initialized"));
    for (int i = 2; i < 10; ++i) c.send(request(i, "tools/list"));
    ASSERT_TRUE(c.wait_messages(9));
    for (std::size_t i = 1; i < 9; ++i) EXPECT_EQ(c.messages[i]["result"]["accepted"], true);
}

TEST(http_transport, listens_to_a_legacy_server_and_reconnects_where_it_left_off) {
    std::atomic<int> gets{0};
    script_server s(legacy(
        [&](const heard_request& q, script_server::peer& p) {
            if (q.method != "GET") return void(p.answer(202, "", ""));
            p.events();
            if (++gets == 1) {
                p.chunk("retry: 10\n" + event(R"({"jsonrpc":"2.0","id":1,"method":"roots/list"})", "e-7"));
                p.last_chunk();
            } else {
                p.chunk(event(R"({"jsonrpc":"2.0","method":"n","params":{"after":")" + q.header("last-event-id") + "\"}}"));
                p.wait_gone();
            }
        },
        true));
    connection c(json{{"url", s.url()}});
    handshake(c);
    ASSERT_TRUE(c.wait_messages(3));
    EXPECT_EQ(c.messages[1]["method"], "roots/list");
    EXPECT_EQ(c.streams[1], "") << "the listening stream is no request's";
    EXPECT_EQ(c.messages[2]["params"]["after"], "e-7");
    EXPECT_TRUE(c.close());
}

TEST(http_transport, resumes_a_broken_answer_of_a_legacy_server_only) {
    script_server s(legacy([](const heard_request& q, script_server::peer& p) {
        if (q.method == "GET" && q.has("last-event-id")) {
            p.events();
            p.chunk(event(answer_to(q.header("last-event-id") == "e-1" ? 2 : -1, {{"resumed", true}})));
            p.last_chunk();
            return;
        }
        p.events();
        p.chunk("id: e-1\nretry: 10\ndata:\n\n");
        p.hang_up();
    }));
    connection c(json{{"url", s.url()}});
    handshake(c);
    EXPECT_EQ(c.call(request(2, "tools/call"))["result"]["resumed"], true);
    c.send(modern(3, "tools/call", {{"name", "x"}}));
    EXPECT_EQ(c.wait_failed("3").code, HF_E_TRANSPORT);
}

TEST(http_transport, gives_up_resuming_a_stream_that_never_goes_on) {
    std::atomic<int> resumed{0};
    script_server s(legacy([&](const heard_request& q, script_server::peer& p) {
        if (q.method == "GET") ++resumed;
        p.events();
        p.chunk("retry: 1\nid: e-1\ndata:\n\n");
        p.hang_up();
    }));
    connection c(json{{"url", s.url()}});
    handshake(c);
    c.send(request(2, "tools/call"));
    EXPECT_EQ(c.wait_failed("2").code, HF_E_TRANSPORT);
    EXPECT_EQ(resumed, 5);
}

TEST(http_transport, a_forgotten_session_closes_the_connection) {
    script_server s(legacy([](const heard_request&, script_server::peer& p) { p.answer(404, "application/json", R"({"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}})"); }));
    connection c(json{{"url", s.url()}});
    handshake(c);
    c.send(request(2, "tools/list"));
    EXPECT_EQ(c.wait_failed("2").peer_status, 404);
    ASSERT_TRUE(c.wait([](connection& x) { return x.closed > 0; }));
    EXPECT_EQ(c.why.code, HF_E_TRANSPORT);
    EXPECT_EQ(c.why.peer_status, 404);
    EXPECT_EQ(c.send(request(3, "x")), HF_E_NOT_FOUND);
}

TEST(http_transport, abandoning_closes_the_stream_of_that_request_only) {
    std::atomic<bool> gone{false};
    script_server s([&](const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body);
        if (m["id"] == 2) return void(p.answer(200, "application/json", answer_to(2)));
        p.events();
        gone = p.wait_gone();
    });
    connection c(json{{"url", s.url()}});
    c.send(modern(1, "tools/call", {{"name", "slow"}}));
    ASSERT_TRUE(s.wait_heard(1));
    c.abandon(" 1 ");
    EXPECT_FALSE(c.call(modern(2, "tools/list")).is_null());
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!gone && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_TRUE(gone);
    EXPECT_TRUE(c.close());
    EXPECT_TRUE(c.failed.empty()) << "nobody waits for it: nothing is reported";
}

TEST(http_transport, nobody_there_fails_the_request_and_the_first_one_the_connection) {
    connection c(json{{"url", "http://127.0.0.1:9/mcp"}});
    c.send(modern(1, "server/discover"));
    EXPECT_EQ(c.wait_failed("1").code, HF_E_TRANSPORT);
    ASSERT_TRUE(c.wait([](connection& x) { return x.closed > 0; }));
    EXPECT_EQ(c.why.code, HF_E_TRANSPORT);
    EXPECT_EQ(c.opened, 1);
}

TEST(http_transport, a_server_that_accepts_nothing_takes_nothing_from_another) {
    script_server stuck([](const heard_request&, script_server::peer& p) { p.wait_gone(); });
    script_server well([](const heard_request& q, script_server::peer& p) { p.answer(200, "application/json", json{{"jsonrpc", "2.0"}, {"id", json::parse(q.body)["id"]}, {"result", json::object()}}.dump()); });
    connection c(json{{"url", stuck.url("/mcp")}});
    c.open(2, json{{"url", well.url("/mcp")}});
    for (int i = 0; i < 600; ++i) ASSERT_EQ(c.send(notification("notifications/cancelled")), HF_OK);
    ASSERT_TRUE(stuck.wait_heard(600));
    ASSERT_EQ(c.send(modern(1, "tools/list"), 2), HF_OK);
    EXPECT_TRUE(c.wait_messages(1));
}
TEST(http_transport, messages_are_bounded) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        const json id = json::parse(q.body)["id"];
        const std::string big = answer_to(id, {{"x", std::string(5000, 'x')}});
        if (id == 1) return void(p.answer(200, "application/json", big));
        p.events();
        p.chunk(event(big));
        p.wait_gone();
    });
    connection c(json{{"url", s.url()}}, json{{"max_message_bytes", 2000}});
    c.send(modern(1, "x"));
    c.send(modern(2, "x"));
    EXPECT_EQ(c.wait_failed("1").code, HF_E_PROTOCOL);
    EXPECT_EQ(c.wait_failed("2").code, HF_E_PROTOCOL);
    EXPECT_TRUE(c.close());
}

TEST(http_transport, close_does_not_wait_for_a_server_that_hangs) {
    script_server hanging([](const heard_request& q, script_server::peer& p) {
        if (q.method == "DELETE") return void(p.wait_gone());
        legacy([](const heard_request&, script_server::peer& x) { x.wait_gone(); }, true)(q, p);
    });
    connection c(json{{"url", hanging.url()}});
    handshake(c);
    EXPECT_TRUE(c.close(milliseconds(50)));
    EXPECT_TRUE(c.why.ok());
}

TEST(http_transport, speaks_with_the_reference_server) {
    if (!has_peer("@modelcontextprotocol/server-everything"))
        GTEST_SKIP() << "@modelcontextprotocol/server-everything is not installed: run tests/peers/install.sh";
    const int port = free_port();
    peer_process server({"node", peers_dir() + "/node_modules/@modelcontextprotocol/server-everything/dist/index.js", "streamableHttp"}, {"PORT=" + std::to_string(port)});
    ASSERT_TRUE(server.wait_line("listening on port")) << server.output();
    connection c(json{{"url", "http://127.0.0.1:" + std::to_string(port) + "/mcp"}});

    // The host asks in the modern way first; the answer is an error it can read.
    const json probe = c.call(modern(1, "server/discover"));
    EXPECT_TRUE(probe.contains("error") || c.failed.count("1")) << probe;

    const json init = c.call(request(2, "initialize", {{"protocolVersion", "2025-11-25"}, {"capabilities", {{"sampling", json::object()}, {"roots", json::object()}}},
                                                       {"clientInfo", {{"name", "t"}, {"version", "1"}}}}));
    ASSERT_TRUE(init.contains("result")) << init;
    c.send(notification("notifications/initialized"));
    const json tools = c.call(request(3, "tools/list"));
    ASSERT_GT(tools["result"]["tools"].size(), 3u);
    const json echo = c.call(request(4, "tools/call", {{"name", "echo"}, {"arguments", {{"message", "grüße"}}}}));
    EXPECT_EQ(echo["result"]["content"][0]["text"], "Echo: grüße");
    const json sum = c.call(request(5, "tools/call", {{"name", "get-sum"}, {"arguments", {{"a", 2}, {"b", 40}}}}));
    EXPECT_NE(sum.dump().find("42"), std::string::npos) << sum;

    // Progress comes on the stream of the call.
    const json slow = c.call(request(6, "tools/call", {{"name", "trigger-long-running-operation"}, {"arguments", {{"duration", 1}, {"steps", 4}}}, {"_meta", {{"progressToken", "p"}}}}));
    EXPECT_TRUE(slow.contains("result")) << slow;
    std::size_t progress = 0;
    for (const auto& m : c.messages) progress += m.value("method", "") == "notifications/progress";
    EXPECT_EQ(progress, 4u);
    ASSERT_TRUE(c.close());
    EXPECT_TRUE(c.why.ok()) << c.why.message;
    EXPECT_TRUE(server.wait_line("Received session termination request")) << "the session was not ended";
}

}  // namespace
