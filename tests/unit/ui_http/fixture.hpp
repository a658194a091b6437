#pragma once
#include <gtest/gtest.h>

#include "unit/net_server/raw_client.hpp"
#include "unit/ui_http/scripted_host.hpp"

namespace holdfast::test {

class ui_http : public ::testing::Test {
  protected:
    ~ui_http() override { EXPECT_EQ(host.repeated_keys(), 0); }
    void SetUp() override {
        host.on("host.info", [](auto c) { c.done({{"name", "holdfast"}}); });
        host.on("host.health", [](auto c) { c.done({{"status", "ok"}}); });
        host.on("events.read", [](auto c) { c.done({{"events", json::array()}, {"seq", 0}, {"epoch", 1}, {"first", 1}}); });
        host.on("echo", [](auto c) { c.done({{"params", c.params}, {"identity", c.identity}}); });
        host.on("session.get", [](auto c) { c.fail(HF_E_NOT_FOUND, {{"code", "session_not_found"}, {"message", "no such session"}}); });
    }
    std::string bearer() { return "Authorization: Bearer " + host.token + "\r\n"; }
    static std::string request(const std::string& method, const std::string& path, const std::string& headers = {}, const std::string& body = {},
                               const std::string& host_name = "127.0.0.1") {
        return method + " " + path + " HTTP/1.1\r\nHost: " + host_name + "\r\n" + headers +
               (method == "POST" ? "Content-Length: " + std::to_string(body.size()) + "\r\n" : "") + "\r\n" + body;
    }
    raw_response ask(const std::string& text) {
        raw_client c(host.port());
        const auto r = c.ask(text);
        EXPECT_TRUE(r) << text;
        return r ? *r : raw_response{};
    }
    std::string json_type() { return "Content-Type: application/json\r\n"; }
    /// The cookie header of a fresh login.
    std::string sign_in() {
        const auto r = ask(request("POST", "/auth/exchange", json_type(), R"({"token":")" + host.token + "\"}"));
        EXPECT_EQ(r.status, 200);
        const std::string cookie = r.headers.count("set-cookie") ? r.headers.at("set-cookie") : "";
        return "Cookie: " + cookie.substr(0, cookie.find(';')) + "\r\n";
    }
    static std::string code_of(const raw_response& r) {
        const auto body = json::parse(r.body, nullptr, false);
        return body.is_object() && body.contains("error") ? body["error"].value("code", "") : "";
    }
    static json frame_json(raw_client& c) {
        const auto f = c.read_frame();
        if (!f || f->opcode != 1) return {{"no_frame", f ? f->close_code() : -1}};
        return json::parse(f->payload);
    }
    scripted_host host;
};

}  // namespace holdfast::test
