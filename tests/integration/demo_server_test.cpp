// The bundled MCP server, spoken to as a client would: the real program on real pipes, in both protocol eras.
#include "integration/demo_server_fixture.hpp"

namespace holdfast::test {
namespace {

// --- modern ---------------------------------------------------------------------------------------------------------

TEST_F(demo_server, discovers_without_a_handshake) {
    json answer = start().request(1, "server/discover", modern());
    json result = member(answer, "result");
    EXPECT_EQ(result["resultType"], "complete");
    EXPECT_EQ(result["supportedVersions"], json::array({"2026-07-28"}));
    EXPECT_TRUE(result["capabilities"].contains("tools"));
    EXPECT_TRUE(result["ttlMs"].is_number_unsigned());
    EXPECT_EQ(result["cacheScope"], "public");
    EXPECT_EQ(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "holdfast-demo-server");
}

TEST_F(demo_server, refuses_requests_without_required_metadata) {
    process& s = start();
    EXPECT_EQ(error_code(s.request(1, "server/discover")), -32602);
    EXPECT_EQ(error_code(s.request(2, "tools/list")), -32602);
    json only_version = {{"_meta", {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"}}}};
    EXPECT_EQ(error_code(s.request(3, "tools/list", only_version)), -32602);
    json only_capabilities = {{"_meta", {{"io.modelcontextprotocol/clientCapabilities", json::object()}}}};
    EXPECT_EQ(error_code(s.request(4, "tools/list", only_capabilities)), -32602);
    json bad_level = modern();
    bad_level["_meta"]["io.modelcontextprotocol/logLevel"] = "loud";
    EXPECT_EQ(error_code(s.request(5, "tools/list", bad_level)), -32602);
}

TEST_F(demo_server, names_the_versions_it_supports) {
    json params = modern();
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "1900-01-01";
    json answer = start().request(1, "tools/list", params);
    EXPECT_EQ(error_code(answer), -32022);
    EXPECT_EQ(answer["error"]["data"]["supported"], json::array({"2026-07-28"}));
    EXPECT_EQ(answer["error"]["data"]["requested"], "1900-01-01");
}

TEST_F(demo_server, does_not_know_methods_of_the_other_era) {
    process& s = start();
    for (const char* method : {"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "no/such"})
        EXPECT_EQ(error_code(s.request(method, method, modern())), -32601) << method;
}

TEST_F(demo_server, describes_every_tool_fully) {
    json answer = start().request(1, "tools/list", modern());
    std::set<std::string> names;
    for (auto& t : answer["result"]["tools"]) {
        EXPECT_TRUE(names.insert(t["name"]).second) << t["name"];
        for (const char* key : {"title", "description"}) EXPECT_FALSE(string_or(t, key).empty()) << t["name"] << key;
        EXPECT_EQ(t["inputSchema"]["type"], "object");
        for (const char* key : {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"})
            EXPECT_TRUE(t["annotations"][key].is_boolean()) << t["name"] << key;
    }
    for (const char* name : {"get_time", "echo", "list_files", "read_file", "slow", "ask_name", "count", "test_simple_text",
                             "test_image_content", "test_audio_content", "test_embedded_resource", "test_multiple_content_types",
                             "test_tool_with_logging", "test_error_handling", "test_tool_with_progress", "test_sampling",
                             "test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums",
                             "json_schema_2020_12_tool", "test_reconnection", "test_missing_capability"})
        EXPECT_EQ(names.count(name), 1u) << name;
}

TEST_F(demo_server, asks_by_result_and_finishes_on_the_retry) {
    process& s = start();
    json first = s.request(1, "tools/call", modern(tool("ask_name")));
    EXPECT_EQ(first["result"]["resultType"], "input_required");
    EXPECT_EQ(first["result"]["inputRequests"]["name"]["method"], "elicitation/create");
    json retry = modern(tool("ask_name"));
    retry["inputResponses"]["name"] = {{"action", "accept"}, {"content", {{"name", "Ada"}}}};
    EXPECT_EQ(text_of(s.request(2, "tools/call", retry)), "Hello, Ada!");
    retry["inputResponses"] = {{"other", {{"action", "accept"}}}};
    EXPECT_EQ(s.request(3, "tools/call", retry)["result"]["resultType"], "input_required");
    retry["inputResponses"] = {{"name", 12345}};
    EXPECT_EQ(error_code(s.request(4, "tools/call", retry)), -32602);
    retry["inputResponses"] = nullptr;
    EXPECT_EQ(error_code(s.request(5, "tools/call", retry)), -32602);
    for (auto& other : s.others) EXPECT_FALSE(other.contains("id")) << "a request to a modern client: " << other;
}

TEST_F(demo_server, carries_state_through_two_rounds) {
    process& s = start();
    json round1 = s.request(1, "tools/call", modern(tool("test_input_required_result_multi_round")));
    json retry = modern(tool("test_input_required_result_multi_round"));
    retry["requestState"] = round1["result"]["requestState"];
    retry["inputResponses"]["step1"] = {{"action", "accept"}, {"content", {{"name", "Ada"}}}};
    json round2 = s.request(2, "tools/call", retry);
    EXPECT_TRUE(round2["result"]["inputRequests"].contains("step2"));
    EXPECT_NE(round2["result"]["requestState"], round1["result"]["requestState"]);
    retry["requestState"] = round2["result"]["requestState"];
    retry["inputResponses"] = {{"step2", {{"action", "accept"}, {"content", {{"color", "blue"}}}}}};
    EXPECT_EQ(text_of(s.request(3, "tools/call", retry)), "Multi-round complete for Ada who likes blue");
}

TEST_F(demo_server, refuses_a_state_that_was_changed_or_moved) {
    process& s = start();
    json first = s.request(1, "tools/call", modern(tool("test_input_required_result_tampered_state")));
    const auto state = first["result"]["requestState"].get<std::string>();
    json retry = modern(tool("test_input_required_result_tampered_state"));
    retry["inputResponses"]["confirm"] = {{"action", "accept"}, {"content", {{"ok", true}}}};
    retry["requestState"] = state + "-TAMPERED";
    EXPECT_EQ(error_code(s.request(2, "tools/call", retry)), -32602);
    std::string flipped = state;
    flipped[0] = flipped[0] == '0' ? '1' : '0';
    retry["requestState"] = flipped;
    EXPECT_EQ(error_code(s.request(3, "tools/call", retry)), -32602);
    retry["requestState"] = state;
    EXPECT_EQ(text_of(s.request(4, "tools/call", retry)), "integrity-ok: state verified");
    retry["name"] = "test_input_required_result_request_state";
    EXPECT_EQ(error_code(s.request(5, "tools/call", retry)), -32602) << "state of another tool";
}

TEST_F(demo_server, asks_only_what_the_client_declared) {
    process& s = start();
    const json only_sampling = {{"sampling", json::object()}};
    json answer = s.request(1, "tools/call", modern(tool("test_input_required_result_capabilities"), only_sampling));
    EXPECT_FALSE(answer["result"]["inputRequests"].contains("elicit_input"));
    EXPECT_TRUE(answer["result"]["inputRequests"].contains("sample_input"));
    json refused = s.request(2, "tools/call", modern(tool("test_missing_capability"), json::object()));
    EXPECT_EQ(error_code(refused), -32021);
    EXPECT_EQ(refused["error"]["data"]["requiredCapabilities"], json({{"sampling", json::object()}}));
    const json urls_only = {{"elicitation", {{"url", json::object()}}}};
    EXPECT_EQ(error_code(s.request(3, "tools/call", modern(tool("ask_name"), urls_only))), -32021);
}

TEST_F(demo_server, delivers_only_what_was_subscribed) {
    process& s = start();
    json params = modern();
    params["notifications"] = {{"toolsListChanged", true}, {"resourcesListChanged", true},
                               {"resourceSubscriptions", {"test://watched-resource", "test://unknown"}}};
    s.send({{"jsonrpc", "2.0"}, {"id", "sub"}, {"method", "subscriptions/listen"}, {"params", params}});
    json ack = s.receive();
    EXPECT_EQ(ack["method"], "notifications/subscriptions/acknowledged");
    EXPECT_EQ(ack["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "sub");
    EXPECT_EQ(ack["params"]["notifications"],
              json({{"toolsListChanged", true}, {"resourceSubscriptions", {"test://watched-resource"}}}));

    s.request(1, "tools/call", modern(tool("test_trigger_prompt_change")));
    s.request(2, "tools/call", modern(tool("test_trigger_tool_change")));
    s.request(3, "tools/call", modern(tool("test_trigger_resource_change")));
    json tools = s.request(4, "tools/list", modern());
    EXPECT_EQ(tools["result"]["tools"].back()["name"], "test_dynamic_tool");
    std::vector<std::string> methods;
    for (auto& other : s.others) {
        methods.push_back(other["method"]);
        EXPECT_EQ(other["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "sub");
    }
    EXPECT_EQ(methods, (std::vector<std::string>{"notifications/tools/list_changed", "notifications/resources/updated"}));

    s.others.clear();
    s.notify("notifications/cancelled", {{"requestId", "sub"}});
    s.request(5, "tools/call", modern(tool("test_trigger_tool_change")));
    s.request(6, "tools/list", modern());
    EXPECT_TRUE(s.others.empty()) << s.others.front();
}

TEST_F(demo_server, ends_subscriptions_with_a_result_when_input_ends) {
    process& s = start();
    json params = modern();
    params["notifications"] = json::object();
    s.send({{"jsonrpc", "2.0"}, {"id", 7}, {"method", "subscriptions/listen"}, {"params", params}});
    s.receive();
    s.close_input();
    json end = s.receive();
    EXPECT_EQ(end["id"], 7);
    EXPECT_EQ(end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
    EXPECT_EQ(s.wait_for_exit(), 0);
}

TEST_F(demo_server, logs_only_on_request) {
    process& s = start();
    s.request(1, "tools/call", modern(tool("test_tool_with_logging")));
    EXPECT_TRUE(s.others.empty());
    json params = modern(tool("test_tool_with_logging"));
    params["_meta"]["io.modelcontextprotocol/logLevel"] = "info";
    s.request(2, "tools/call", params);
    EXPECT_EQ(s.others.size(), 3u);
    s.others.clear();
    params["_meta"]["io.modelcontextprotocol/logLevel"] = "error";
    s.request(3, "tools/call", params);
    EXPECT_TRUE(s.others.empty());
}

TEST_F(demo_server, hints_at_caching_where_it_must) {
    process& s = start();
    for (const char* method : {"tools/list", "prompts/list", "resources/list", "resources/templates/list"}) {
        json answer = s.request(method, method, modern());
        EXPECT_TRUE(answer["result"].contains("ttlMs")) << method;
        EXPECT_EQ(answer["result"]["cacheScope"], "public") << method;
    }
    json read = s.request(1, "resources/read", modern({{"uri", "test://static-text"}}));
    EXPECT_TRUE(read["result"].contains("ttlMs"));
    json missing = s.request(2, "resources/read", modern({{"uri", "test://nothing"}}));
    EXPECT_EQ(error_code(missing), -32602);
    EXPECT_EQ(missing["error"]["data"]["uri"], "test://nothing");
    EXPECT_FALSE(s.request(3, "tools/call", modern(tool("echo", {{"text", "x"}})))["result"].contains("ttlMs"));
}

// --- legacy ---------------------------------------------------------------------------------------------------------

TEST_F(demo_server, agrees_on_a_legacy_version) {
    for (const char* version : {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}) {
        start_legacy(version);
        EXPECT_EQ(hello["result"]["protocolVersion"], version);
    }
    process& s = start_legacy("2099-01-01");
    EXPECT_EQ(hello["result"]["protocolVersion"], "2025-11-25");
    EXPECT_EQ(hello["result"]["serverInfo"]["name"], "holdfast-demo-server");
    json answer = s.request(1, "tools/call", tool("echo", {{"text", "plain"}}));
    EXPECT_EQ(text_of(answer), "plain");
    EXPECT_FALSE(answer["result"].contains("resultType")) << "a modern field in a legacy result";
    EXPECT_EQ(s.request(2, "ping")["result"], json::object());
    EXPECT_EQ(error_code(s.request(3, "resources/read", {{"uri", "test://nothing"}})), -32002);
    EXPECT_EQ(error_code(s.request(4, "subscriptions/listen", json::object())), -32602);
}

TEST_F(demo_server, serves_modern_requests_beside_a_legacy_session) {
    process& s = start_legacy();
    EXPECT_EQ(s.request(1, "tools/call", modern(tool("echo", {{"text", "x"}})))["result"]["resultType"], "complete");
    EXPECT_FALSE(s.request(2, "tools/call", tool("echo", {{"text", "x"}}))["result"].contains("resultType"));
}

TEST_F(demo_server, asks_a_legacy_client_by_request) {
    process& s = start_legacy();
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", tool("ask_name")}});
    json question = s.receive();
    EXPECT_EQ(question["method"], "elicitation/create");
    EXPECT_EQ(question["params"]["requestedSchema"]["required"], json::array({"name"}));
    EXPECT_EQ(text_of(s.request(2, "tools/call", tool("echo", {{"text", "meanwhile"}}))), "meanwhile");
    s.send({{"jsonrpc", "2.0"}, {"id", question["id"]}, {"result", {{"action", "accept"}, {"content", {{"name", "Ada"}}}}}});
    EXPECT_EQ(text_of(s.answer_to(1)), "Hello, Ada!");

    s.send({{"jsonrpc", "2.0"}, {"id", 3}, {"method", "tools/call"}, {"params", tool("test_sampling", {{"prompt", "hi"}})}});
    json sampling = s.receive();
    EXPECT_EQ(sampling["method"], "sampling/createMessage");
    s.send({{"jsonrpc", "2.0"}, {"id", sampling["id"]}, {"error", {{"code", -1}, {"message", "not today"}}}});
    json refused = s.answer_to(3);
    EXPECT_EQ(refused["result"]["isError"], true);
    EXPECT_NE(text_of(refused).find("not today"), std::string::npos);
}

TEST_F(demo_server, does_not_ask_a_legacy_client_that_cannot_answer) {
    process& s = start_legacy("2025-11-25", json::object());
    json answer = s.request(1, "tools/call", tool("ask_name"));
    EXPECT_EQ(answer["result"]["isError"], true);
    EXPECT_NE(text_of(answer).find("elicitation"), std::string::npos);
    EXPECT_TRUE(s.others.empty());
}

TEST_F(demo_server, withdraws_its_question_when_the_call_is_cancelled) {
    process& s = start_legacy();
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", tool("ask_name")}});
    json question = s.receive();
    s.notify("notifications/cancelled", {{"requestId", 1}});
    json withdrawn = s.receive();
    EXPECT_EQ(withdrawn["method"], "notifications/cancelled");
    EXPECT_EQ(withdrawn["params"]["requestId"], question["id"]);
    s.request(2, "ping");
    EXPECT_TRUE(s.others.empty()) << "an answer to a cancelled call: " << s.others.front();
}

TEST_F(demo_server, filters_logs_by_the_level_that_was_set) {
    process& s = start_legacy();
    EXPECT_EQ(s.request(1, "logging/setLevel", {{"level", "debug"}})["result"], json::object());
    s.request(2, "tools/call", tool("test_tool_with_logging"));
    EXPECT_EQ(s.others.size(), 3u);
    s.others.clear();
    s.request(3, "logging/setLevel", {{"level", "warning"}});
    s.request(4, "tools/call", tool("test_tool_with_logging"));
    EXPECT_TRUE(s.others.empty());
    EXPECT_EQ(error_code(s.request(5, "logging/setLevel", {{"level", "loud"}})), -32602);
}

TEST_F(demo_server, announces_changes_to_a_legacy_client) {
    process& s = start_legacy();
    s.request(1, "tools/call", tool("test_trigger_resource_change"));
    s.request(2, "ping");
    EXPECT_TRUE(s.others.empty()) << "nobody subscribed";
    EXPECT_EQ(s.request(3, "resources/subscribe", {{"uri", "test://watched-resource"}})["result"], json::object());
    EXPECT_EQ(error_code(s.request(4, "resources/subscribe", {{"uri", "test://nothing"}})), -32002);
    s.request(5, "tools/call", tool("test_trigger_resource_change"));
    s.request(6, "tools/call", tool("test_trigger_tool_change"));
    s.request(7, "resources/unsubscribe", {{"uri", "test://watched-resource"}});
    s.request(8, "tools/call", tool("test_trigger_resource_change"));
    s.request(9, "ping");
    ASSERT_EQ(s.others.size(), 2u);
    EXPECT_EQ(s.others[0]["method"], "notifications/resources/updated");
    EXPECT_EQ(s.others[0]["params"], json({{"uri", "test://watched-resource"}}));
    EXPECT_EQ(s.others[1]["method"], "notifications/tools/list_changed");
}

TEST_F(demo_server, answers_batches_of_the_version_that_has_them) {
    const json batch = json::parse(R"([{"jsonrpc":"2.0","id":1,"method":"ping"},
        {"jsonrpc":"2.0","method":"notifications/roots/list_changed"},
        {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"slow","arguments":{"duration_ms":20}}},
        {"jsonrpc":"2.0","id":3,"method":"no/such"}])");
    process& s = start_legacy("2025-03-26");
    s.send(batch);
    json answers = s.receive();
    ASSERT_TRUE(answers.is_array());
    EXPECT_EQ(answers.size(), 3u);
    process& newer = start_legacy("2025-11-25");
    newer.send(batch);
    EXPECT_EQ(error_code(newer.receive()), -32600);
}

TEST_F(demo_server, reports_bad_arguments_as_the_version_wants) {
    EXPECT_EQ(start_legacy("2025-11-25").request(1, "tools/call", tool("echo"))["result"]["isError"], true);
    EXPECT_EQ(error_code(start_legacy("2025-06-18").request(1, "tools/call", tool("echo"))), -32602);
    process& s = start_legacy();
    EXPECT_EQ(error_code(s.request(1, "tools/call", tool("no_such_tool"))), -32602);
    EXPECT_EQ(error_code(s.request(2, "tools/call", {{"name", "echo"}, {"arguments", "text"}})), -32602);
    EXPECT_EQ(error_code(s.request(3, "prompts/get", {{"name", "test_prompt_with_arguments"}})), -32602);
    EXPECT_EQ(error_code(s.request(4, "tools/list", {{"cursor", "x"}})), -32602);
    EXPECT_EQ(s.request(5, "tools/call", tool("slow", {{"steps", 0}}))["result"]["isError"], true);
}

TEST_F(demo_server, completes_arguments) {
    process& s = start_legacy();
    json answer = s.request(1, "completion/complete", {{"ref", {{"type", "ref/prompt"}, {"name", "test_prompt_with_arguments"}}},
                                                             {"argument", {{"name", "arg1"}, {"value", "par"}}}});
    EXPECT_EQ(answer["result"]["completion"]["values"], json({"paris", "park", "party"}));
    EXPECT_EQ(error_code(s.request(2, "completion/complete", {{"ref", {{"type", "ref/prompt"}, {"name", "none"}}},
                                                              {"argument", {{"name", "a"}, {"value", ""}}}})),
              -32602);
}

}  // namespace
}  // namespace holdfast::test
