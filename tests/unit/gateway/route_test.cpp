#include "gateway_fixture.hpp"
#include "mcp/gateway/route.hpp"

namespace holdfast::mcp::gateway::test {
namespace {

json meta_of(const std::string& version = "2026-07-28") {
    return {{meta::protocol_version, version}, {meta::client_capabilities, json::object()}};
}
request_headers headers_for(const std::string& method, std::optional<std::string> name = {}, const std::string& version = "2026-07-28") {
    request_headers h;
    h.present = true;
    h.version = version;
    h.method = method;
    h.name = std::move(name);
    return h;
}
int code(const std::optional<rpc_error>& e) { return e ? e->code : 0; }

TEST(route, a_call_goes_to_the_server_under_its_own_name) {
    world w;
    w.tool("a", "x");
    auto r = route(*w.make(), modern, "tools/call", {{"name", "a__x"}, {"arguments", {{"k", 1}}}});
    ASSERT_TRUE(std::holds_alternative<upstream_request>(r));
    const auto& u = std::get<upstream_request>(r);
    EXPECT_EQ(u.server, "a");
    EXPECT_EQ(u.params["name"], "x");
    EXPECT_EQ(u.params["arguments"]["k"], 1);
}
TEST(route, what_is_not_there_is_refused_in_the_words_of_the_era) {
    world w;
    w.tool("a", "held");
    w.tools[0].held = true;
    const auto o = w.make();
    const auto refused = [&](const dialect& d, const char* method, json params) {
        auto r = route(*o, d, method, std::move(params));
        return std::holds_alternative<rpc_error>(r) ? std::get<rpc_error>(r).code : 0;
    };
    EXPECT_EQ(refused(modern, "tools/call", {{"name", "none"}}), rpc_code::invalid_params);
    EXPECT_EQ(refused(modern, "tools/call", {{"name", "a__held"}}), rpc_code::invalid_params);
    EXPECT_EQ(refused(modern, "tools/call", {{"name", 7}}), rpc_code::invalid_params);
    EXPECT_EQ(refused(modern, "tools/call", {{"name", "a__held"}, {"arguments", "text"}}), rpc_code::invalid_params);
    EXPECT_EQ(refused(modern, "resources/read", {{"uri", "x://y"}}), rpc_code::invalid_params);
    EXPECT_EQ(refused(legacy, "resources/read", {{"uri", "x://y"}}), -32002);
    EXPECT_EQ(refused(legacy, "server/discover", json::object()), rpc_code::method_not_found);
    for (const char* gone : {"initialize", "ping", "logging/setLevel", "resources/subscribe", "unknown/method"})
        EXPECT_EQ(refused(modern, gone, json::object()), rpc_code::method_not_found) << gone;
    EXPECT_EQ(refused(modern, "tools/list", {{"cursor", 5}}), rpc_code::invalid_params);
    EXPECT_EQ(refused(modern, "completion/complete", {{"argument", {{"name", "a"}}}}), rpc_code::invalid_params);
}
TEST(route, a_completion_asks_the_server_of_its_prompt_or_template) {
    world w;
    w.prompt("a", "p");
    w.uri_template("b", "x://{id}");
    const json argument{{"name", "n"}, {"value", "v"}};
    auto p = route(*w.make(), modern, "completion/complete", {{"ref", {{"type", "ref/prompt"}, {"name", "a__p"}}}, {"argument", argument}});
    ASSERT_TRUE(std::holds_alternative<upstream_request>(p));
    EXPECT_EQ(std::get<upstream_request>(p).params["ref"]["name"], "p");
    auto t = route(*w.make(), modern, "completion/complete", {{"ref", {{"type", "ref/resource"}, {"uri", "x://{id}"}}}, {"argument", argument}});
    ASSERT_TRUE(std::holds_alternative<upstream_request>(t));
    EXPECT_EQ(std::get<upstream_request>(t).server, "b");
}

TEST(check_modern, header_and_body_agree_or_the_request_is_refused) {
    const json params{{"name", "a__x"}, {"_meta", meta_of()}};
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/call", "a__x"))), 0);
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/list", "a__x"))), rpc_code::header_mismatch);
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/call", "a__y"))), rpc_code::header_mismatch);
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/call"))), rpc_code::header_mismatch);
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/call", "a__x", "2025-11-25"))), rpc_code::header_mismatch);
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/call", "=?base64?YV9feA==?="))), 0);
    EXPECT_EQ(code(check_modern("tools/call", params, headers_for("tools/call", "=?base64?###?="))), rpc_code::header_mismatch);
    request_headers nothing;
    nothing.present = true;
    EXPECT_EQ(code(check_modern("tools/call", params, nothing)), rpc_code::header_mismatch);
    EXPECT_EQ(code(check_modern("tools/call", params, {})), 0) << "stdio has no headers";
}
TEST(check_modern, every_request_says_who_it_is_from) {
    const auto check = [](json m) { return check_modern("tools/list", {{"_meta", std::move(m)}}, {}); };
    EXPECT_EQ(code(check_modern("tools/list", json::object(), headers_for("tools/list"))), rpc_code::invalid_params);
    json m = meta_of();
    EXPECT_EQ(code(check(m)), 0);
    m.erase(meta::client_capabilities);
    EXPECT_EQ(code(check(m)), rpc_code::invalid_params);
    m = meta_of("v999");
    const auto unknown = check(m);
    EXPECT_EQ(code(unknown), rpc_code::unsupported_version);
    EXPECT_EQ(unknown->data["requested"], "v999");
    EXPECT_EQ(unknown->data["supported"], json::array({"2026-07-28"}));
    m = meta_of();
    m[meta::log_level] = "loud";
    EXPECT_EQ(code(check(m)), rpc_code::invalid_params);
    m = meta_of();
    m["progressToken"] = json::object();
    EXPECT_EQ(code(check(m)), rpc_code::invalid_params);
}
TEST(check_param_headers, compare_by_value_and_expect_nothing_for_nothing) {
    world w;
    w.tool("a", "x", json::parse(R"({"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},
        "inner":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"},"b":{"type":"boolean","x-mcp-header":"B"}}}}})"));
    const auto o = w.make();
    const auto check = [&](json arguments, json sent) {
        request_headers h;
        h.present = true;
        h.params = std::move(sent);
        return code(check_param_headers(*o->tool("a__x"), arguments, h));
    };
    EXPECT_EQ(check({{"region", "eu"}}, {{"Mcp-Param-Region", "eu"}}), 0);
    EXPECT_EQ(check({{"region", "eu"}}, {{"mcp-param-region", "eu"}}), 0);
    EXPECT_EQ(check({{"region", "eu"}}, json::object()), rpc_code::header_mismatch);
    EXPECT_EQ(check({{"region", nullptr}}, json::object()), 0);
    EXPECT_EQ(check(json::object(), {{"Mcp-Param-Region", "eu"}}), rpc_code::header_mismatch);
    EXPECT_EQ(check({{"inner", {{"n", 42}}}}, {{"Mcp-Param-N", "42.0"}}), 0);
    EXPECT_EQ(check({{"inner", {{"n", 42}}}}, {{"Mcp-Param-N", "43"}}), rpc_code::header_mismatch);
    EXPECT_EQ(check({{"inner", {{"n", 9007199254740993}}}}, {{"Mcp-Param-N", "9007199254740993"}}), 0);
    EXPECT_EQ(check({{"inner", {{"b", true}}}}, {{"Mcp-Param-B", "true"}}), 0);
    EXPECT_EQ(check({{"inner", {{"b", true}}}}, {{"Mcp-Param-B", "True"}}), rpc_code::header_mismatch);
    EXPECT_EQ(check({{"region", " é"}}, {{"Mcp-Param-Region", "=?base64?IMOp?="}}), 0);
    EXPECT_EQ(check(json::object(), {{"Mcp-Param-Unknown", "x"}}), 0) << "somebody else's";
}
TEST(is_modern_message, by_what_it_carries) {
    request_headers old_version, new_version, odd;
    old_version.version = "2025-11-25";
    new_version.version = "2026-07-28";
    odd.version = "v999";
    const json with{{"_meta", meta_of()}};
    EXPECT_TRUE(is_modern_message("initialize", with, new_version, false)) << "a removed method is refused as one";
    EXPECT_FALSE(is_modern_message("initialize", json::object(), {}, false));
    EXPECT_TRUE(is_modern_message("tools/list", json::object(), new_version, false));
    EXPECT_TRUE(is_modern_message("server/discover", json::object(), odd, false));
    EXPECT_FALSE(is_modern_message("tools/list", json::object(), old_version, true));
    EXPECT_TRUE(is_modern_message("tools/list", with, old_version, true)) << "both eras on one endpoint, whatever session is named";
}
TEST(route, a_call_is_no_task_whatever_its_client_says) {
    world w;
    w.tool("a", "x");
    auto r = route(*w.make(), legacy, "tools/call", {{"name", "a__x"}, {"task", {{"ttl", 1}}}});
    ASSERT_TRUE(std::holds_alternative<upstream_request>(r));
    EXPECT_FALSE(std::get<upstream_request>(r).params.contains("task"));
}

}  // namespace
}  // namespace holdfast::mcp::gateway::test
