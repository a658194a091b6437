#include <gtest/gtest.h>

#include "mcp/definition.hpp"
#include "mcp/json_rpc.hpp"

namespace holdfast::mcp {
namespace {

TEST(codec, tells_the_three_kinds_apart) {
    EXPECT_TRUE(std::holds_alternative<rpc_request>(*decode(R"({"jsonrpc":"2.0","id":"a","method":"ping"})")));
    EXPECT_TRUE(std::holds_alternative<rpc_notification>(*decode(R"({"jsonrpc":"2.0","method":"x","params":{}})")));
    EXPECT_TRUE(std::holds_alternative<rpc_response>(*decode(R"({"jsonrpc":"2.0","id":1,"result":{}})")));
    auto e = decode(R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}})");
    ASSERT_TRUE(e);
    EXPECT_EQ(std::get<rpc_response>(*e).error->code, -32700);
}
TEST(codec, refuses_what_is_not_a_message_and_never_throws) {
    for (const char* text : {"", "x", "[]", "5", "{}", R"({"jsonrpc":"1.0","method":"x"})", R"([{"jsonrpc":"2.0","method":"x"}])",
                             R"({"jsonrpc":"2.0","id":1})", R"({"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1}})",
                             R"({"jsonrpc":"2.0","id":1.5,"method":"x"})", R"({"jsonrpc":"2.0","id":null,"method":"x"})",
                             R"({"jsonrpc":"2.0","id":{},"result":{}})", R"({"jsonrpc":"2.0","id":1,"result":[]})",
                             R"({"jsonrpc":"2.0","id":1,"error":{"code":"x"}})", R"({"jsonrpc":"2.0","method":5})",
                             R"({"jsonrpc":"2.0","method":"x","params":[1]})", R"({"jsonrpc":"2.0","id":null,"result":{}})"})
        EXPECT_FALSE(decode(std::string_view(text))) << text;
    EXPECT_FALSE(decode(R"({"jsonrpc":"2.0","id":1,"result":{"a":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}}"));
    EXPECT_FALSE(decode(R"({"jsonrpc":"2.0","id":1,"method":")" + std::string(max_method_bytes + 1, 'm') + "\"}"));
    EXPECT_FALSE(decode(R"({"jsonrpc":"2.0","id":")" + std::string(max_id_bytes + 1, 'i') + R"(","method":"m"})"));
}
TEST(codec, what_is_encoded_is_decoded) {
    auto r = decode(encode_request(7, "tools/call", {{"a", "line\nbreak"}}));
    ASSERT_TRUE(r);
    EXPECT_EQ(std::get<rpc_request>(*r).params["a"], "line\nbreak");
    EXPECT_EQ(encode_request(7, "x", {}).find('\n'), std::string::npos);
    EXPECT_TRUE(decode(encode_notification("n", {})));
    EXPECT_EQ(std::get<rpc_response>(*decode(encode_error("id", {-1, "m", {}}))).error->message, "m");
    EXPECT_EQ(std::get<rpc_response>(*decode(encode_result(3, {{"x", 1}}))).result["x"], 1);
}

TEST(definition, the_hash_ignores_key_order_and_meta_and_notices_everything_else) {
    const json a = json::parse(R"({"name":"t","description":"d","inputSchema":{"type":"object","properties":{}}})");
    const json b = json::parse(R"({"inputSchema":{"properties":{},"type":"object"},"description":"d","name":"t","_meta":{"x":1}})");
    EXPECT_EQ(definition_hash(a), definition_hash(b));
    EXPECT_EQ(definition_hash(a).size(), 64u);
    json c = a;
    c["description"] = "d ";
    EXPECT_NE(definition_hash(a), definition_hash(c));
    EXPECT_EQ(definition_hash(json::object()), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");  // sha256 of {}
}

struct header_case {
    const char* schema;
    bool good;
};
TEST(definition, x_mcp_header_rules) {
    const header_case cases[] = {
        {R"({"type":"object","properties":{"a":{"type":"string","x-mcp-header":"Region"}}})", true},
        {R"({"type":"object","properties":{"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"B"}}}}})", true},
        {R"({"type":"object","properties":{"x-mcp-header":{"type":"number"}}})", true},
        {R"({"type":"object","properties":{"a":{"type":"string","default":{"x-mcp-header":""}}}})", true},
        {R"({"type":"object","properties":{"a":{"type":"string","x-mcp-header":""}}})", false},
        {R"({"type":"object","properties":{"a":{"type":"string","x-mcp-header":"a b"}}})", false},
        {R"({"type":"object","properties":{"a":{"type":"string","x-mcp-header":"a\r\nb"}}})", false},
        {R"({"type":"object","properties":{"a":{"type":"string","x-mcp-header":5}}})", false},
        {R"({"type":"object","properties":{"a":{"type":"number","x-mcp-header":"A"}}})", false},
        {R"({"type":"object","properties":{"a":{"type":"array","x-mcp-header":"A"}}})", false},
        {R"({"type":"object","x-mcp-header":"A"})", false},
        {R"({"type":"object","properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}})", false},
        {R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}})", false},
        {R"({"type":"object","anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]})", false},
        {R"({"type":"object","$defs":{"d":{"type":"string","x-mcp-header":"A"}}})", false},
        {R"({"type":"object","if":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}})", false},
    };
    for (const auto& c : cases) EXPECT_EQ(check_tool({{"name", "t"}, {"inputSchema", json::parse(c.schema)}}).has_value(), c.good) << c.schema;
}
TEST(definition, refuses_tools_nobody_could_call) {
    EXPECT_FALSE(check_tool(json::object()));
    EXPECT_FALSE(check_tool({{"name", ""}, {"inputSchema", json::object()}}));
    EXPECT_FALSE(check_tool({{"name", "a\nb"}, {"inputSchema", json::object()}}));
    EXPECT_FALSE(check_tool({{"name", "a"}}));
    EXPECT_FALSE(check_tool({{"name", std::string(300, 'x')}, {"inputSchema", json::object()}}));
    EXPECT_FALSE(check_tool({{"name", "a"}, {"description", std::string(300'000, 'x')}, {"inputSchema", json::object()}}));
}

}  // namespace
}  // namespace holdfast::mcp
