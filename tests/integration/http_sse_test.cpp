// HTTP with SSE (2024-11-05) as the host runs it: asked for, and as what is left when a server refuses everything newer.
#include "integration/transport_connection.hpp"
#include "unit/net_client/script_server.hpp"

namespace {

using namespace holdfast::testing;

const plugin_file& file() {
    static const plugin_file f(TRANSPORT_HTTP_PLUGIN);
    return f;
}
struct connection : transport_connection {
    explicit connection(const json& config, const json& settings = json::object()) : transport_connection(file(), config, settings) {}
};

std::string request(int id, const std::string& method, json params = json::object()) { return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}}.dump(); }
std::string notification(const std::string& method) { return json{{"jsonrpc", "2.0"}, {"method", method}}.dump(); }
std::string event(const std::string& name, const std::string& data) { return "event: " + name + "\ndata: " + data + "\n\n"; }

/// An old server: the stream at /sse, messages at /messages. Answers stream out as they are asked for; `endpoint` is what it calls itself.
class old_server {
  public:
    explicit old_server(std::string endpoint = "/messages?session=1", int refusal = 405)
        : endpoint_(std::move(endpoint)), server_([this, refusal](const heard_request& q, script_server::peer& p) {
              if (q.method == "GET" && q.target.starts_with("/sse")) return stream(p);
              if (q.method == "POST" && q.target == "/messages?session=1") return take(q, p);
              p.answer(refusal, "text/html", "<h1>no</h1>");
          }) {}
    ~old_server() { hang_up(); }
    std::string url() const { return server_.url("/sse?key=secret"); }
    script_server& server() { return server_; }
    void say(const std::string& bytes) {
        std::lock_guard lock(mutex_);
        out_.push_back(bytes);
        changed_.notify_all();
    }
    void hang_up() {
        std::lock_guard lock(mutex_);
        over_ = true;
        changed_.notify_all();
    }

  private:
    void stream(script_server::peer& p) {
        p.events();
        p.chunk(": hello\n\n" + event("endpoint", endpoint_));
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return over_ || !out_.empty(); });
            if (out_.empty()) break;
            const std::string next = out_.front();
            out_.erase(out_.begin());
            p.chunk(next);
        }
        lock.unlock();
        p.last_chunk();
        p.hang_up();
    }
    void take(const heard_request& q, script_server::peer& p) {
        const json m = json::parse(q.body);
        const std::string method = m.value("method", "");
        if (method == "refuse") return void(p.answer(500, "text/plain", "no"));
        p.answer(202, "text/plain", "Accepted");
        if (method == "garbage") return say(event("message", "no JSON") + event("other", "{}"));
        if (method == "large") return say("data: " + std::string(10 << 20, 'x'));
        if (m.contains("id") && method != "silence") say(event("message", json{{"jsonrpc", "2.0"}, {"id", m["id"]}, {"result", {{"method", method}}}}.dump()));
    }
    const std::string endpoint_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::string> out_;
    bool over_ = false;
    script_server server_;  // ends first
};

TEST(http_sse, speaks_when_told_to) {
    old_server s;
    connection c(json{{"url", s.url()}, {"type", "sse"}, {"headers", {{"Authorization", "Bearer t"}}}});
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    c.send(request(1, "initialize"));
    ASSERT_TRUE(c.wait_messages(1));
    c.send(notification("notifications/initialized"));
    for (int i = 2; i < 12; ++i) c.send(request(i, "tools/list"));
    ASSERT_TRUE(c.wait_messages(11));
    const auto heard = s.server().heard();
    EXPECT_EQ(heard[0].method, "GET");
    EXPECT_EQ(heard[0].header("accept"), "text/event-stream");
    for (const auto& q : heard) EXPECT_EQ(q.header("authorization"), "Bearer t");
    EXPECT_EQ(heard[2].body, notification("notifications/initialized")) << "nothing overtakes it";
    EXPECT_TRUE(c.close());
    EXPECT_TRUE(c.why.ok());
    s.hang_up();
}

TEST(http_sse, is_found_when_initialize_is_refused) {
    for (const int refusal : {400, 404, 405}) {
        old_server s("/messages?session=1", refusal);
        connection c(json{{"url", s.url()}});
        ASSERT_TRUE(c.wait_open());
        c.send(request(1, "initialize"));
        ASSERT_TRUE(c.wait_messages(1)) << refusal;
        EXPECT_EQ(json::parse(c.messages[0])["result"]["method"], "initialize");
        c.send(notification("notifications/initialized"));
        c.send(request(2, "tools/list"));
        ASSERT_TRUE(c.wait_messages(2));
        EXPECT_TRUE(c.failed.empty());
        EXPECT_EQ(c.opened, 1);
        s.hang_up();
        ASSERT_TRUE(c.wait_closed()) << "the stream has ended";
        EXPECT_EQ(c.why.code, HF_E_TRANSPORT);
        EXPECT_TRUE(c.why.retryable);
    }
}

TEST(http_sse, is_not_tried_for_answers_that_mean_something_else) {
    for (const int refusal : {401, 403, 406, 429, 500, 503}) {
        old_server s("/messages?session=1", refusal);
        connection c(json{{"url", s.url()}});
        c.send(request(1, "initialize"));
        ASSERT_TRUE(c.wait([](auto& x) { return x.failed.count("1") > 0; })) << refusal;
        EXPECT_EQ(s.server().heard().size(), 1u) << refusal;
    }
    script_server modern([](const heard_request&, script_server::peer& p) {
        p.answer(400, "application/json", R"({"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"unsupported","data":{"supported":["2026-07-28"]}}})");
    });
    connection c(json{{"url", modern.url("/mcp")}});
    c.send(request(1, "initialize"));
    ASSERT_TRUE(c.wait_messages(1));
    EXPECT_EQ(modern.heard().size(), 1u) << "a server that answers in JSON-RPC is no old one";
}

TEST(http_sse, an_error_about_no_request_is_no_answer) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        if (q.method == "GET" && q.target == "/old") {
            p.events();
            p.chunk(event("endpoint", "/post"));
            p.wait_gone();
        } else if (q.target == "/post") {
            p.answer(202, "", "");
        } else {
            p.answer(405, "application/json", R"({"jsonrpc":"2.0","error":{"code":-32000,"message":"use GET"}})");
        }
    });
    connection c(json{{"url", s.url("/old")}});
    c.send(request(1, "initialize"));
    ASSERT_TRUE(s.wait_heard(3));
    EXPECT_EQ(s.heard()[2].target, "/post");
    connection d(json{{"url", s.url("/other")}});
    d.send(request(1, "initialize"));
    ASSERT_TRUE(d.wait_messages(1)) << "neither: the server's own words";
    EXPECT_EQ(json::parse(d.messages[0])["error"]["message"], "use GET");
}

TEST(http_sse, what_is_neither_fails_as_it_would_have) {
    script_server s([](const heard_request& q, script_server::peer& p) { p.answer(q.method == "GET" ? 405 : 404, "text/plain", "no"); });
    connection c(json{{"url", s.url("/")}});
    c.send(request(1, "initialize"));
    ASSERT_TRUE(c.wait([](auto& x) { return x.failed.count("1") > 0; }));
    EXPECT_EQ(c.failed["1"].peer_status, 404) << "not the GET's 405";
    c.send(request(2, "server/discover", {{"_meta", {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"}}}}));
    ASSERT_TRUE(c.wait([](auto& x) { return x.failed.count("2") > 0; })) << "the connection can still be used";
    EXPECT_EQ(s.heard().back().method, "POST");
    EXPECT_TRUE(c.close());
}

TEST(http_sse, a_stream_that_names_no_endpoint_first_is_not_it) {
    script_server s([](const heard_request& q, script_server::peer& p) {
        if (q.method != "GET") return void(p.answer(405, "text/plain", "no"));
        p.events();
        p.chunk(event("message", "{}"));
        p.wait_gone();
    });
    connection c(json{{"url", s.url("/")}});
    c.send(request(1, "initialize"));
    ASSERT_TRUE(c.wait([](auto& x) { return x.failed.count("1") > 0; }));
    EXPECT_EQ(c.failed["1"].peer_status, 405);
}

TEST(http_sse, an_endpoint_elsewhere_is_never_used) {
    script_server thief([](const heard_request&, script_server::peer& p) { p.answer(202, "", ""); });
    for (const std::string& endpoint : {thief.url("/messages"), std::string("//example.com/messages"), std::string("https://127.0.0.1/messages"), std::string("http://user:pw@127.0.0.1/m"), std::string("file:///etc/passwd"), std::string("ftp://x/")}) {
        old_server s(endpoint);
        connection c(json{{"url", s.url()}, {"type", "sse"}, {"headers", {{"Authorization", "Bearer t"}}}});
        c.send(request(1, "initialize"));
        ASSERT_TRUE(c.wait_closed()) << endpoint;
        EXPECT_EQ(c.opened, 0);
        EXPECT_EQ(c.why.code, HF_E_PROTOCOL) << c.why.message;
        s.hang_up();
    }
    EXPECT_TRUE(thief.heard().empty());
}

TEST(http_sse, the_newest_era_is_refused_without_asking) {
    old_server s;
    connection c(json{{"url", s.url()}, {"type", "sse"}});
    ASSERT_TRUE(c.wait_open());
    c.send(request(1, "server/discover", {{"_meta", {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"}}}}));
    ASSERT_TRUE(c.wait([](auto& x) { return x.failed.count("1") > 0; }));
    EXPECT_EQ(c.failed["1"].peer_status, 405) << "which sends the client to initialize";
    EXPECT_EQ(s.server().heard().size(), 1u);
    s.hang_up();
}

TEST(http_sse, faults) {
    {
        old_server s;
        connection c(json{{"url", s.url()}, {"type", "sse"}});
        ASSERT_TRUE(c.wait_open());
        c.send(request(1, "refuse"));
        ASSERT_TRUE(c.wait([](auto& x) { return x.failed.count("1") > 0; }));
        EXPECT_EQ(c.failed["1"].code, HF_E_UNAVAILABLE);
        c.send(notification("garbage"));
        c.send(request(2, "ping"));
        ASSERT_TRUE(c.wait_messages(1)) << "garbage harms nothing";
        EXPECT_EQ(c.messages.size(), 1u);
        c.send(notification("large"));
        ASSERT_TRUE(c.wait_closed());
        EXPECT_EQ(c.why.code, HF_E_PROTOCOL) << c.why.message;
        s.hang_up();
    }
    script_server silent([](const heard_request&, script_server::peer& p) { p.events(), p.wait_gone(); });
    connection c(json{{"url", silent.url("/sse")}, {"type", "sse"}, {"connect_timeout_s", 0.2}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.why.code, HF_E_TIMEOUT) << c.why.message;
    script_server page([](const heard_request&, script_server::peer& p) { p.answer(200, "text/html", "<h1>hello</h1>"); });
    connection d(json{{"url", page.url("/sse")}, {"type", "sse"}});
    ASSERT_TRUE(d.wait_closed());
    EXPECT_EQ(d.why.code, HF_E_PROTOCOL) << d.why.message;
    connection e(json{{"url", "http://127.0.0.1:9/sse"}, {"type", "sse"}});
    ASSERT_TRUE(e.wait_closed());
    EXPECT_TRUE(e.why.retryable) << e.why.message;
}

}  // namespace
