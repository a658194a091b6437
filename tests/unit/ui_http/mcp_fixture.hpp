#pragma once
#include "unit/ui_http/fixture.hpp"

namespace holdfast::test {

/// A gateway that tests script: mcp.post is answered by `answer` with what it was asked.
class mcp_http : public ui_http {
  protected:
    void SetUp() override {
        ui_http::SetUp();
        host.on("mcp.post", [this](auto c) { answer(std::move(c)); });
    }
    void start(json settings = json::object()) {
        settings["listen"] = "127.0.0.1:0";
        host.start(settings);
    }
    std::string accept() const { return "Accept: application/json, text/event-stream\r\n"; }
    std::string post_text(const std::string& body, const std::string& headers = {}) { return request("POST", "/mcp", bearer() + json_type() + accept() + headers, body); }
    raw_response post(const std::string& body, const std::string& headers = {}) { return ask(post_text(body, headers)); }
    json params_of_last() {
        const auto all = host.calls("mcp.post");
        return all.empty() ? json() : all.back()["params"];
    }
    static std::string error_of(const raw_response& r) {
        const json body = json::parse(r.body, nullptr, false);
        return body.is_object() && body.contains("error") ? body["error"].value("message", "") : "";
    }
    std::function<void(scripted_host::call)> answer = [](scripted_host::call c) {
        c.chunk(R"({"status":200,"stream":false})");
        c.chunk("\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
        c.done(json::object());
    };
    const std::string ping = R"({"jsonrpc":"2.0","id":1,"method":"ping"})";
};

}  // namespace holdfast::test
