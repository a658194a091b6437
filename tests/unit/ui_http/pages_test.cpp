#include "unit/ui_http/fixture.hpp"

namespace holdfast::test {
namespace {
TEST_F(ui_http, pages_are_served_without_a_token_under_a_strict_policy) {
    host.start();
    for (const std::string path : {"/", "/index.html", "/app.css", "/app.js", "/chat.js", "/status.js", "/store.js", "/link.js", "/markdown.js", "/icon.svg", "/favicon.ico"}) {
        const auto r = ask(request("GET", path));
        EXPECT_EQ(r.status, 200) << path;
        const std::string policy = r.headers.count("content-security-policy") ? r.headers.at("content-security-policy") : "";
        EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
        EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
        EXPECT_EQ(policy.find("unsafe"), std::string::npos);
        EXPECT_EQ(r.headers.at("x-content-type-options"), "nosniff");
        EXPECT_EQ(r.headers.at("referrer-policy"), "no-referrer");
        raw_client c(host.port());
        const auto again = c.ask(request("GET", path, "If-None-Match: " + r.headers.at("etag") + "\r\n"));
        EXPECT_EQ(again->status, 304) << path;
    }
    EXPECT_EQ(ask(request("POST", "/", json_type(), "{}")).status, 405);
    EXPECT_EQ(ask(request("GET", "/healthz")).body, R"({"status":"ok"})");
}

TEST_F(ui_http, pages_hold_nothing_inline_and_never_parse_data_as_html) {
    host.start();
    const std::string page = ask(request("GET", "/")).body;
    EXPECT_EQ(page.find("<style"), std::string::npos);
    EXPECT_EQ(page.find("onclick"), std::string::npos);
    EXPECT_EQ(page.find("http://"), std::string::npos) << "nothing from elsewhere";
    for (const std::string path : {"/app.js", "/chat.js", "/status.js", "/markdown.js", "/forms.js", "/dom.js", "/server_log.js", "/link.js", "/store.js"}) {
        const std::string code = ask(request("GET", path)).body;
        for (const char* bad : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"})
            EXPECT_EQ(code.find(bad), std::string::npos) << path << " uses " << bad;
    }
}

TEST_F(ui_http, describes_itself) {
    host.start();
    const auto d = host.describe();
    EXPECT_EQ(d["url"], "http://127.0.0.1:" + std::to_string(host.port()) + "/");
    EXPECT_EQ(d["terminal"], false);
    EXPECT_EQ(d["clients"], 0);
}
}  // namespace
}  // namespace holdfast::test
