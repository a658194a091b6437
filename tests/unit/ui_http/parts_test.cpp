#include <gtest/gtest.h>

#include "holdfast/status.hpp"
#include "ui-http/access.hpp"
#include "ui-http/api_errors.hpp"
#include "ui-http/logins.hpp"
#include "ui-http/omni.hpp"

using namespace holdfast::ui_http;
namespace sdk = holdfast::sdk;
using holdfast::web::http_request;
using namespace std::chrono_literals;

namespace {
http_request with(holdfast::web::header_list headers, std::string method = "GET", std::string body = {}) {
    http_request r;
    r.method = std::move(method);
    r.headers = std::move(headers);
    r.body = std::move(body);
    return r;
}
std::string refusal_of(const std::string& text) {
    try {
        read_settings(text);
    } catch (const sdk::plugin_error& e) {
        return e.what();
    }
    return {};
}
}  // namespace

TEST(settings, defaults_are_loopback_and_token) {
    const auto s = read_settings("{}");
    EXPECT_EQ(s.listen.host, "127.0.0.1");
    EXPECT_EQ(s.listen.port, 7777);
    EXPECT_TRUE(s.token_auth);
}

TEST(settings, no_authentication_is_refused_beyond_loopback) {
    EXPECT_EQ(refusal_of(R"({"listen":"127.0.0.1:0","auth":{"mode":"none"}})"), "");
    EXPECT_EQ(refusal_of(R"({"listen":"[::1]:0","auth":{"mode":"none"}})"), "");
    for (const char* listen : {"0.0.0.0:1", "10.0.0.1:1", "[::]:1", "example.org:1"})
        EXPECT_NE(refusal_of(std::string(R"({"auth":{"mode":"none"},"listen":")") + listen + "\"}").find("loopback"), std::string::npos) << listen;
}

TEST(settings, limits_of_what_comes_in_are_the_documented_ones_unless_the_configuration_says_otherwise) {
    const auto s = read_settings("{}").limits;
    EXPECT_EQ(s.body_bytes, 4u << 20);
    EXPECT_EQ(s.message_bytes, 1u << 20);
    EXPECT_EQ(s.header_bytes, 16u << 10);
    EXPECT_EQ(s.header_time, 5s);
    EXPECT_EQ(s.queue_bytes, 256u << 10);
    EXPECT_EQ(s.stuck_time, 10s);
    const auto own = read_settings(R"({"limits":{"body_bytes":2000,"websocket_message_bytes":3000,"header_bytes":4000,"header_ms":500,"queue_bytes":60000,"stuck_ms":700}})").limits;
    EXPECT_EQ(own.body_bytes, 2000u);
    EXPECT_EQ(own.message_bytes, 3000u);
    EXPECT_EQ(own.header_bytes, 4000u);
    EXPECT_EQ(own.header_time, 500ms);
    EXPECT_EQ(own.queue_bytes, 60'000u);
    EXPECT_EQ(own.stuck_time, 700ms);
    for (const char* key : {"body_bytes", "websocket_message_bytes", "header_bytes", "header_ms", "queue_bytes", "stuck_ms"})
        for (const char* bad : {"0", "-1", "1000000000", "99999999999999999999", "\"5\"", "1.5"})
            EXPECT_NE(refusal_of(std::string(R"({"limits":{")") + key + "\":" + bad + "}}").find(std::string("limits.") + key + ":"), std::string::npos) << key << " " << bad;
}

TEST(settings, faults_name_the_setting) {
    EXPECT_NE(refusal_of(R"({"listen":"7777"})").find("listen:"), std::string::npos);
    EXPECT_NE(refusal_of(R"({"auth":{"mode":"jwt"}})").find("auth.mode:"), std::string::npos);
    EXPECT_NE(refusal_of(R"({"allowed_origins":["chat.example"]})").find("allowed_origins:"), std::string::npos);
    EXPECT_NE(refusal_of(R"({"allowed_hosts":["a b"]})").find("allowed_hosts:"), std::string::npos);
    EXPECT_NE(refusal_of(R"({"threads":0})").find("threads:"), std::string::npos);
}

TEST(access, hosts) {
    const auto local = read_settings(R"({"allowed_hosts":["Chat.Example","proxy:8443"]})");
    for (const char* ok : {"127.0.0.1:7777", "localhost", "LOCALHOST:9", "[::1]:7777", "chat.example", "chat.example:443", "proxy:8443"})
        EXPECT_FALSE(check_host(with({{"host", ok}}), local)) << ok;
    for (const char* bad : {"evil.example", "10.0.0.1", "proxy", "localhost.evil.example", "", "127.0.0.1@evil", "chat.example.evil"})
        EXPECT_TRUE(check_host(with({{"host", bad}}), local)) << bad;
    EXPECT_TRUE(check_host(with({}), local));
    EXPECT_TRUE(check_host(with({{"host", "localhost"}, {"host", "localhost"}}), local));
    const auto open = read_settings(R"({"listen":"0.0.0.0:1"})");
    EXPECT_FALSE(check_host(with({{"host", "10.0.0.1:1"}}), open));
    EXPECT_TRUE(check_host(with({{"host", "evil.example:1"}}), open));
}

TEST(access, origins) {
    const auto s = read_settings(R"({"allowed_origins":["https://chat.example/"]})");
    const auto judge = [&](const char* origin) { return check_origin(with({{"host", "localhost:7777"}, {"origin", origin}}), s).has_value(); };
    EXPECT_FALSE(check_origin(with({{"host", "localhost:7777"}}), s)) << "not a browser";
    EXPECT_FALSE(judge("http://localhost:7777"));
    EXPECT_FALSE(judge("https://chat.example"));
    for (const char* bad : {"null", "http://localhost:3000", "http://localhost", "http://127.0.0.1:7777", "https://chat.example.evil", "ftp://localhost:7777", "", "localhost:7777"})
        EXPECT_TRUE(judge(bad)) << bad;
    EXPECT_FALSE(check_origin(with({{"host", "h.example"}, {"origin", "https://h.example"}}), s)) << "default ports";
    EXPECT_TRUE(check_origin(with({{"host", "localhost:7777"}, {"origin", "http://localhost:7777"}, {"origin", "http://evil"}}), s));
}

TEST(access, forgery_table) {
    using enum proof;
    const holdfast::web::header_list type{{"content-type", "application/json"}};
    const auto add = [&](holdfast::web::header_list more) {
        auto all = type;
        all.insert(all.end(), more.begin(), more.end());
        return all;
    };
    struct row {
        const char* what;
        http_request request;
        proof how;
        bool websocket;
        int status;  // 0 = passes
    };
    const row rows[] = {
        {"token post json", with(type, "POST", "{}"), token, false, 0},
        {"token post without type", with({}, "POST", "{}"), token, false, 415},
        {"token post form", with({{"content-type", "application/x-www-form-urlencoded"}}, "POST", "a=b"), token, false, 415},
        {"cookie post, nothing said", with(type, "POST", "{}"), cookie, false, 403},
        {"cookie post, own origin", with(add({{"origin", "http://localhost"}}), "POST", "{}"), cookie, false, 0},
        {"cookie post, fetch metadata", with(add({{"sec-fetch-site", "same-origin"}}), "POST", "{}"), cookie, false, 0},
        {"cookie post, same site only", with(add({{"sec-fetch-site", "same-site"}}), "POST", "{}"), cookie, false, 403},
        {"cookie post, cross site", with(add({{"sec-fetch-site", "cross-site"}}), "POST", "{}"), cookie, false, 403},
        {"cookie post, typed by hand", with(add({{"sec-fetch-site", "none"}}), "POST", "{}"), cookie, false, 403},
        {"cookie post, text/plain", with({{"content-type", "text/plain"}, {"origin", "http://localhost"}}, "POST", "{}"), cookie, false, 415},
        {"cookie post, no body no type", with({{"origin", "http://localhost"}}, "POST"), cookie, false, 415},
        {"cookie get", with({}), cookie, false, 0},
        {"cookie get, address bar", with({{"sec-fetch-site", "none"}}), cookie, false, 0},
        {"cookie get, cross site", with({{"sec-fetch-site", "cross-site"}}), cookie, false, 403},
        {"open get, cross site", with({{"sec-fetch-site", "cross-site"}}), none_needed, false, 403},
        {"open post, curl", with(type, "POST", "{}"), none_needed, false, 0},
        {"open post, cross site", with(add({{"sec-fetch-site", "cross-site"}}), "POST", "{}"), none_needed, false, 403},
        {"token websocket", with({}), token, true, 0},
        {"cookie websocket, nothing said", with({}), cookie, true, 403},
        {"cookie websocket, own origin", with({{"origin", "http://localhost"}}), cookie, true, 0},
    };
    for (const auto& r : rows) {
        const auto refused = check_forgery(r.request, r.how, r.websocket);
        EXPECT_EQ(refused ? refused->status : 0, r.status) << r.what;
    }
}

TEST(logins, slide_and_expire) {
    logins all;
    const logins::clock::time_point t0{};
    const auto value = all.open({"ann", "operator"}, t0);
    EXPECT_EQ(value.size(), 64u);
    EXPECT_TRUE(all.use(value, t0 + 29min));
    EXPECT_TRUE(all.use(value, t0 + 58min)) << "each use extends it";
    EXPECT_TRUE(all.valid(value, t0 + 80min));
    EXPECT_FALSE(all.use(value, t0 + 89min)) << "looking does not";
    EXPECT_EQ(all.size(), 0u);
    EXPECT_FALSE(all.use("", t0));
}

TEST(logins, are_bounded_and_close) {
    logins all;
    const logins::clock::time_point t0{};
    const auto first = all.open({}, t0);
    for (std::size_t i = 0; i < logins::max_logins; ++i) all.open({}, t0 + 1s);
    EXPECT_EQ(all.size(), logins::max_logins);
    EXPECT_FALSE(all.use(first, t0 + 1s)) << "the oldest made room";
    const auto mine = all.open({}, t0 + 2s);
    all.close(mine);
    EXPECT_FALSE(all.use(mine, t0 + 2s));
}

TEST(logins, survive_a_successor) {
    logins a, b;
    const logins::clock::time_point t0{};
    const auto value = a.open({"ann", "operator"}, t0);
    b.import_state(a.export_state(t0 + 20min), t0 + 20min);
    const auto who = b.use(value, t0 + 29min);
    ASSERT_TRUE(who);
    EXPECT_EQ(who->user, "ann");
    EXPECT_EQ(who->role, "operator");
    logins c;
    c.import_state(a.export_state(t0 + 20min), t0 + 20min);
    EXPECT_FALSE(c.use(value, t0 + 31min)) << "time already unused counts";
    c.import_state(json::parse(R"([1,{"value":"short"},{"value":3}])"), t0);
    c.import_state(json("nonsense"), t0);
    EXPECT_EQ(c.size(), 0u);
}

TEST(api_errors, statuses_and_shapes) {
    EXPECT_EQ(http_status("session_not_found"), 404);
    EXPECT_EQ(http_status("unavailable"), 503);
    EXPECT_EQ(http_status("something new"), 500);
    const auto said = api_error_from({HF_E_NOT_FOUND, "x"}, R"({"code":"server_not_found","message":"no such server","retry_after_ms":5})");
    EXPECT_EQ(said.code, "server_not_found");
    EXPECT_EQ(said.retry_after_ms, 5);
    EXPECT_EQ(api_error_from({HF_E_TIMEOUT, "late"}, "").code, "timeout");
    EXPECT_EQ(api_error_from({HF_E_TIMEOUT, "late"}, "garbage").message, "late");
    const auto body = json::parse(*said.to_response().body);
    EXPECT_EQ(body["error"]["code"], "server_not_found");
}

TEST(omni, shapes_survive_missing_and_odd_fields) {
    const auto rows = omni::servers(json::parse(R"({"servers":[{"name":"a","status":"circuit_open","circuit_state":"open","consecutive_failures":5,
        "last_recovery_attempt":"2026-01-28T12:00:00Z","total_downtime_seconds":90,"tools":3},{"name":"b","tools":["x"]},"odd",{}]})"));
    EXPECT_EQ(rows["count"], 4);
    EXPECT_EQ(rows["servers"][0]["health_status"], "circuit_open");
    EXPECT_EQ(rows["servers"][0]["tool_count"], 3);
    EXPECT_EQ(rows["servers"][0]["total_downtime_seconds"], 90);
    EXPECT_EQ(rows["servers"][1]["tool_count"], 1);
    EXPECT_EQ(rows["servers"][1]["circuit_state"], "closed");
    EXPECT_EQ(omni::servers(json())["count"], 0);
    const auto caps = omni::capabilities(json::parse(R"({"servers":[{"name":"a","status":"healthy"}]})"),
                                         json::parse(R"({"version":7,"tools":[{"server":"a","name":"t","input_schema":{"type":"object"}},{"server":"new","name":"u"},3]})"));
    EXPECT_EQ(caps["capabilities"]["a"]["tools"][0]["inputSchema"]["type"], "object");
    EXPECT_TRUE(caps["capabilities"]["a"]["prompts"].is_array());
    EXPECT_EQ(caps["capabilities"]["new"]["tools"][0]["name"], "u");
    std::string why;
    EXPECT_EQ(omni::call_params(json::parse(R"({"mcp_name":"a","tool_name":"t","arguments":{"x":1}})"), why)["tool"], "t");
    EXPECT_TRUE(omni::call_params(json::parse(R"({"tool":"t"})"), why).is_null());
    EXPECT_NE(why.find("server"), std::string::npos);
    EXPECT_EQ(omni::call_answer({{"server", "a"}, {"tool", "t"}}, json::parse(R"({"isError":true,"content":[]})"))["success"], false);
}
