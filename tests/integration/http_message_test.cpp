// What the Streamable HTTP binding reads and writes of messages and configuration, without a network.
#include <gtest/gtest.h>

#include "holdfast/status.hpp"
#include "transport-http/http_config.hpp"
#include "transport-http/message.hpp"
#include "transport-http/param_headers.hpp"

namespace holdfast::transport_http {
namespace {

std::string modern(const std::string& method, const std::string& params) {
    return R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"})" + params + "}}";
}

TEST(http_message, encodes_header_values_as_the_specification_shows) {
    EXPECT_EQ(header_value("us-west1"), "us-west1");
    EXPECT_EQ(header_value("Hello, 世界"), "=?base64?SGVsbG8sIOS4lueVjA==?=");
    EXPECT_EQ(header_value(" padded "), "=?base64?IHBhZGRlZCA=?=");
    EXPECT_EQ(header_value("line1\nline2"), "=?base64?bGluZTEKbGluZTI=?=");
    EXPECT_EQ(header_value("=?base64?literal?="), "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
    EXPECT_EQ(header_value("=?base64?literal"), "=?base64?literal");
    EXPECT_EQ(header_value("\x7F"), "=?base64?fw==?=");
    EXPECT_EQ(header_value("a\tb c"), "a\tb c");
}

TEST(http_message, mirrors_method_name_and_version_of_modern_messages) {
    const auto call = read_outgoing(modern("tools/call", R"(,"name":"wetter_für")"));
    EXPECT_TRUE(call.modern);
    EXPECT_EQ(call.kind, message_kind::request);
    EXPECT_EQ(call.id, "1");
    EXPECT_EQ(net::find_header(call.headers, "mcp-protocol-version"), "2026-07-28");
    EXPECT_EQ(net::find_header(call.headers, "mcp-method"), "tools/call");
    EXPECT_EQ(net::find_header(call.headers, "mcp-name"), "=?base64?d2V0dGVyX2bDvHI=?=");
    EXPECT_EQ(net::find_header(read_outgoing(modern("resources/read", R"(,"uri":"file:///a","name":"x")")).headers, "mcp-name"), "file:///a");
    EXPECT_EQ(net::find_header(read_outgoing(modern("prompts/get", R"(,"name":"p")")).headers, "mcp-name"), "p");
    EXPECT_EQ(read_outgoing(modern("tools/list", R"(,"name":"x")")).headers.size(), 2u);
    EXPECT_THROW(read_outgoing(modern("a\\r\\nEvil: 1", "")), sdk::plugin_error);
}

TEST(http_message, tells_requests_notifications_and_responses_apart) {
    EXPECT_EQ(read_outgoing(R"({"method":"x"})").kind, message_kind::notification);
    EXPECT_FALSE(read_outgoing(R"({"method":"x","params":[1]})").modern);
    EXPECT_EQ(read_outgoing(R"({"id":1,"result":{}})").kind, message_kind::response);
    EXPECT_EQ(read_outgoing(R"({"id":"a b","method":"x"})").id, R"("a b")");
    EXPECT_EQ(canonical_id(R"( "\u0061" )"), R"("a")");
    for (const std::string& bad : {std::string(), std::string("[]"), std::string("{}"), std::string("7"), std::string("{"), std::string(200'000, '[')})
        EXPECT_THROW(read_outgoing(bad), sdk::plugin_error) << bad.substr(0, 20);
}

TEST(http_message, takes_error_bodies_that_belong_to_the_request) {
    EXPECT_EQ(error_response(R"({"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"m"}})", "7", 503), R"({"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"m"}})");
    for (const char* body : {R"({"jsonrpc":"2.0","id":null,"error":{"code":1}})", R"({"jsonrpc":"2.0","error":{"code":1}})"}) {
        const auto r = error_response(body, "\"x\"", 400);
        ASSERT_TRUE(r) << body;
        EXPECT_EQ(read_incoming(*r).id, "\"x\"");
        for (const int plain : {401, 403, 429, 500, 503}) EXPECT_FALSE(error_response(body, "\"x\"", plain)) << plain << " says more than that";
    }
    for (const char* body : {"", "<html>", "[]", R"({"error":"no"})", R"({"error":{"code":1}})", R"({"jsonrpc":"2.0","id":8,"error":{"code":1}})", R"({"jsonrpc":"2.0","id":7,"result":{}})"})
        EXPECT_FALSE(error_response(body, "7", 400)) << body;
}

TEST(http_message, splits_batches_of_old_servers) {
    EXPECT_EQ(split_body(R"([{"id":1},{"id":2},3])").size(), 2u);
    EXPECT_EQ(split_body(R"({"id":1})").size(), 1u);
    EXPECT_TRUE(split_body("nonsense").empty());
}

TEST(http_message, mirrors_the_parameters_a_schema_names) {
    param_headers p;
    p.learn(R"({"id":1,"result":{"tools":[{"name":"sql","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},"query":{"type":"string"},"n":{"type":"integer","x-mcp-header":"N"},"dry":{"type":"boolean","x-mcp-header":"Dry"},
        "deep":{"type":"object","properties":{"er":{"type":"string","x-mcp-header":"Deeper"}}},"list":{"items":{"properties":{"x":{"x-mcp-header":"Never"}}}},
        "bad":{"type":"string","x-mcp-header":"a\r\nEvil: 1"}}}},{"name":"plain","inputSchema":{"type":"object"}}]}})");
    EXPECT_FALSE(p.knows("plain"));
    ASSERT_TRUE(p.knows("sql"));
    const auto of = [&](const std::string& arguments) { return p.of("sql", R"({"params":{"name":"sql","arguments":)" + arguments + "}}"); };
    const auto all = of(R"({"region":"zür ich","query":"q","n":-7,"dry":false,"deep":{"er":"x"},"list":[{"x":1}],"bad":"b"})");
    EXPECT_EQ(all.size(), 4u);
    EXPECT_EQ(net::find_header(all, "mcp-param-region"), "=?base64?esO8ciBpY2g=?=");
    EXPECT_EQ(net::find_header(all, "mcp-param-n"), "-7");
    EXPECT_EQ(net::find_header(all, "mcp-param-dry"), "false");
    EXPECT_EQ(net::find_header(all, "mcp-param-deeper"), "x");
    EXPECT_TRUE(of(R"({"region":null,"n":1.5,"deep":7})").empty());
    EXPECT_EQ(of(R"({"n":42.0})").at(0).value, "42");
    p.learn(R"({"result":{"tools":[{"name":"sql","inputSchema":{"type":"object"}}]}})");
    EXPECT_FALSE(p.knows("sql"));
}

TEST(http_config, refuses_what_cannot_be_used) {
    EXPECT_EQ(read_server(R"({"url":"https://X.example/mcp","headers":{"Authorization":"Bearer t"},"connect_timeout_s":1.5})").connect_timeout.count(), 1500);
    for (const char* bad : {"", "[]", "{}", R"({"url":7})", R"({"url":"stdio:x"})", R"({"url":"http://u:p@x/"})", R"({"url":"http://x/","headers":{"a":1}})",
                            R"({"url":"http://x/","headers":{"Mcp-Session-Id":"1"}})", R"({"url":"http://x/","headers":{"MCP-Param-Region":"1"}})",
                            R"({"url":"http://x/","headers":{"a":"secret\n"}})", R"({"url":"http://x/","connect_timeout_s":0})"}) {
        try {
            read_server(bad);
            ADD_FAILURE() << bad;
        } catch (const sdk::plugin_error& e) {
            EXPECT_EQ(e.status().code, HF_E_INVALID);
            EXPECT_EQ(std::string(e.what()).find("secret"), std::string::npos);
        }
    }
}

}  // namespace
}  // namespace holdfast::transport_http
