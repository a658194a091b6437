// The bundled MCP server, spoken to as a client would: the real program on real pipes, in both protocol eras.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "integration/demo_server_process.hpp"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;
using process = server_process;

const json all_capabilities = {{"elicitation", json::object()}, {"sampling", json::object()}, {"roots", json::object()}};

json modern(json params = json::object(), json capabilities = all_capabilities) {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28";
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = std::move(capabilities);
    return params;
}

json tool(const std::string& name, json arguments = json::object()) {
    return {{"name", name}, {"arguments", std::move(arguments)}};
}

std::string text_of(const json& answer) {
    const json& content = member(member(answer, "result"), "content");
    return content.is_array() && !content.empty() ? string_or(content[0], "text") : "no text in " + dump(answer);
}

std::int64_t error_code(const json& answer) { return int_or(member(answer, "error"), "code", 0); }

class demo_server : public testing::Test {
  protected:
    void SetUp() override {
        char pattern[] = "/tmp/holdfast-demo-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern), nullptr);
        root = pattern;
    }
    void TearDown() override { fs::remove_all(root); }

    std::vector<std::string> command() const {
        return {HOLDFAST_DEMO_SERVER, "--root", (root / "files").string(), "--count-file", (root / "count").string()};
    }
    process& start() {
        fs::create_directories(root / "files");
        running = std::make_unique<process>(command());
        return *running;
    }
    process& start_legacy(const char* version = "2025-11-25", json capabilities = all_capabilities) {
        process& s = start();
        hello = s.request("init", "initialize", {{"protocolVersion", version},
                                                 {"capabilities", std::move(capabilities)},
                                                 {"clientInfo", {{"name", "test"}, {"version", "1"}}}});
        s.notify("notifications/initialized");
        return s;
    }
    void write(const std::string& name, const std::string& text) {
        fs::create_directories((root / "files" / name).parent_path());
        std::ofstream(root / "files" / name, std::ios::binary) << text;
    }

    fs::path root;
    std::unique_ptr<process> running;
    json hello;
};

// --- modern ---------------------------------------------------------------------------------------------------------

TEST_F(demo_server, discovers_without_a_handshake) {
    const json answer = start().request(1, "server/discover", modern());
    const json& result = member(answer, "result");
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
    const json answer = start().request(1, "tools/list", params);
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
    const json answer = start().request(1, "tools/list", modern());
    std::set<std::string> names;
    for (const auto& t : answer["result"]["tools"]) {
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
    const json first = s.request(1, "tools/call", modern(tool("ask_name")));
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
    for (const auto& other : s.others) EXPECT_FALSE(other.contains("id")) << "a request to a modern client: " << other;
}

TEST_F(demo_server, carries_state_through_two_rounds) {
    process& s = start();
    const json round1 = s.request(1, "tools/call", modern(tool("test_input_required_result_multi_round")));
    json retry = modern(tool("test_input_required_result_multi_round"));
    retry["requestState"] = round1["result"]["requestState"];
    retry["inputResponses"]["step1"] = {{"action", "accept"}, {"content", {{"name", "Ada"}}}};
    const json round2 = s.request(2, "tools/call", retry);
    EXPECT_TRUE(round2["result"]["inputRequests"].contains("step2"));
    EXPECT_NE(round2["result"]["requestState"], round1["result"]["requestState"]);
    retry["requestState"] = round2["result"]["requestState"];
    retry["inputResponses"] = {{"step2", {{"action", "accept"}, {"content", {{"color", "blue"}}}}}};
    EXPECT_EQ(text_of(s.request(3, "tools/call", retry)), "Multi-round complete for Ada who likes blue");
}

TEST_F(demo_server, refuses_a_state_that_was_changed_or_moved) {
    process& s = start();
    const json first = s.request(1, "tools/call", modern(tool("test_input_required_result_tampered_state")));
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
    const json answer = s.request(1, "tools/call", modern(tool("test_input_required_result_capabilities"), only_sampling));
    EXPECT_FALSE(answer["result"]["inputRequests"].contains("elicit_input"));
    EXPECT_TRUE(answer["result"]["inputRequests"].contains("sample_input"));
    const json refused = s.request(2, "tools/call", modern(tool("test_missing_capability"), json::object()));
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
    const json ack = s.receive();
    EXPECT_EQ(ack["method"], "notifications/subscriptions/acknowledged");
    EXPECT_EQ(ack["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "sub");
    EXPECT_EQ(ack["params"]["notifications"],
              json({{"toolsListChanged", true}, {"resourceSubscriptions", {"test://watched-resource"}}}));

    s.request(1, "tools/call", modern(tool("test_trigger_prompt_change")));
    s.request(2, "tools/call", modern(tool("test_trigger_tool_change")));
    s.request(3, "tools/call", modern(tool("test_trigger_resource_change")));
    const json tools = s.request(4, "tools/list", modern());
    EXPECT_EQ(tools["result"]["tools"].back()["name"], "test_dynamic_tool");
    std::vector<std::string> methods;
    for (const auto& other : s.others) {
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
    const json end = s.receive();
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
        const json answer = s.request(method, method, modern());
        EXPECT_TRUE(answer["result"].contains("ttlMs")) << method;
        EXPECT_EQ(answer["result"]["cacheScope"], "public") << method;
    }
    const json read = s.request(1, "resources/read", modern({{"uri", "test://static-text"}}));
    EXPECT_TRUE(read["result"].contains("ttlMs"));
    const json missing = s.request(2, "resources/read", modern({{"uri", "test://nothing"}}));
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
    const json answer = s.request(1, "tools/call", tool("echo", {{"text", "plain"}}));
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
    const json question = s.receive();
    EXPECT_EQ(question["method"], "elicitation/create");
    EXPECT_EQ(question["params"]["requestedSchema"]["required"], json::array({"name"}));
    EXPECT_EQ(text_of(s.request(2, "tools/call", tool("echo", {{"text", "meanwhile"}}))), "meanwhile");
    s.send({{"jsonrpc", "2.0"}, {"id", question["id"]}, {"result", {{"action", "accept"}, {"content", {{"name", "Ada"}}}}}});
    EXPECT_EQ(text_of(s.answer_to(1)), "Hello, Ada!");

    s.send({{"jsonrpc", "2.0"}, {"id", 3}, {"method", "tools/call"}, {"params", tool("test_sampling", {{"prompt", "hi"}})}});
    const json sampling = s.receive();
    EXPECT_EQ(sampling["method"], "sampling/createMessage");
    s.send({{"jsonrpc", "2.0"}, {"id", sampling["id"]}, {"error", {{"code", -1}, {"message", "not today"}}}});
    const json refused = s.answer_to(3);
    EXPECT_EQ(refused["result"]["isError"], true);
    EXPECT_NE(text_of(refused).find("not today"), std::string::npos);
}

TEST_F(demo_server, does_not_ask_a_legacy_client_that_cannot_answer) {
    process& s = start_legacy("2025-11-25", json::object());
    const json answer = s.request(1, "tools/call", tool("ask_name"));
    EXPECT_EQ(answer["result"]["isError"], true);
    EXPECT_NE(text_of(answer).find("elicitation"), std::string::npos);
    EXPECT_TRUE(s.others.empty());
}

TEST_F(demo_server, withdraws_its_question_when_the_call_is_cancelled) {
    process& s = start_legacy();
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", tool("ask_name")}});
    const json question = s.receive();
    s.notify("notifications/cancelled", {{"requestId", 1}});
    const json withdrawn = s.receive();
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
    const json answers = s.receive();
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
    const json answer = s.request(1, "completion/complete", {{"ref", {{"type", "ref/prompt"}, {"name", "test_prompt_with_arguments"}}},
                                                             {"argument", {{"name", "arg1"}, {"value", "par"}}}});
    EXPECT_EQ(answer["result"]["completion"]["values"], json({"paris", "park", "party"}));
    EXPECT_EQ(error_code(s.request(2, "completion/complete", {{"ref", {{"type", "ref/prompt"}, {"name", "none"}}},
                                                              {"argument", {{"name", "a"}, {"value", ""}}}})),
              -32602);
}

// --- tools ----------------------------------------------------------------------------------------------------------

TEST_F(demo_server, tells_the_time) {
    process& s = start();
    const json utc = s.request(1, "tools/call", modern(tool("get_time")));
    EXPECT_EQ(text_of(utc).substr(0, 20), string_or(utc["result"]["structuredContent"], "utc"));
    const json tokyo = s.request(2, "tools/call", modern(tool("get_time", {{"timezone", "Asia/Tokyo"}})));
    if (fs::exists("/usr/share/zoneinfo/Asia/Tokyo")) {
        const auto local = tokyo["result"]["structuredContent"]["local"].get<std::string>();
        EXPECT_EQ(local.substr(19), "+09:00");
    }
    for (const char* bad : {"../../etc/passwd", "/etc/localtime", "Mars/Olympus"})
        EXPECT_EQ(s.request(bad, "tools/call", modern(tool("get_time", {{"timezone", bad}})))["result"]["isError"], true) << bad;
}

TEST_F(demo_server, reads_files_in_parts_of_whole_characters) {
    std::string all;
    for (int i = 0; i < 500; ++i) all += "zwölf Bäume " + std::to_string(i) + "\n";
    write("sub/text.txt", all);
    process& s = start();
    std::string got;
    for (std::int64_t offset = 0, id = 1;; ++id) {
        const json part = s.request(id, "tools/call", modern(tool("read_file", {{"path", "sub/text.txt"}, {"offset", offset}, {"limit", 101}})));
        ASSERT_FALSE(part["result"].contains("isError")) << part;
        got += text_of(part);
        const json& where = part["result"]["structuredContent"];
        if (where["end"] == true) break;
        ASSERT_GT(where["next_offset"].get<std::int64_t>(), offset);
        offset = where["next_offset"];
    }
    EXPECT_EQ(got, all);
    const json listing = s.request("l", "tools/call", modern(tool("list_files", {{"path", "sub"}})));
    EXPECT_EQ(listing["result"]["structuredContent"]["entries"],
              json::array({{{"name", "text.txt"}, {"type", "file"}, {"size", all.size()}}}));
}

TEST_F(demo_server, never_leaves_its_root) {
    write("inside.txt", "fine");
    write("binary", std::string("\x00\xff\x01", 3));
    std::ofstream(root / "secret.txt") << "secret";
    fs::create_symlink(root / "secret.txt", root / "files/link");
    fs::create_symlink("..", root / "files/up");
    fs::create_symlink("inside.txt", root / "files/good");
    ASSERT_EQ(::mkfifo((root / "files/pipe").c_str(), 0600), 0);
    process& s = start();
    EXPECT_EQ(text_of(s.request(1, "tools/call", modern(tool("read_file", {{"path", "good"}})))), "fine");
    for (const std::string path : {"../secret.txt", "link", "up/secret.txt", "sub/../../secret.txt", "/etc/passwd", "pipe", "binary",
                                   "nothing", ".", "inside.txt/x"}) {
        const json answer = s.request(path, "tools/call", modern(tool("read_file", {{"path", path}})));
        EXPECT_EQ(answer["result"]["isError"], true) << path;
        EXPECT_EQ(text_of(answer).find("secret\n"), std::string::npos);
        EXPECT_NE(text_of(answer), "secret") << path;
    }
    for (const char* path : {"..", "up", "/", "inside.txt", "nothing"})
        EXPECT_EQ(s.request(path, "tools/call", modern(tool("list_files", {{"path", path}})))["result"]["isError"], true) << path;
}

TEST_F(demo_server, reports_progress_and_stays_responsive) {
    process& s = start();
    json params = modern(tool("slow", {{"duration_ms", 200}, {"steps", 4}}));
    params["_meta"]["progressToken"] = "tok";
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", params}});
    s.send({{"jsonrpc", "2.0"}, {"id", 2}, {"method", "tools/call"}, {"params", modern(tool("echo", {{"text", "quick"}}))}});
    EXPECT_EQ(s.receive()["id"], 2) << "a slow tool blocked a quick one";
    EXPECT_EQ(text_of(s.answer_to(1)), "Took 200 ms in 4 steps.");
    ASSERT_EQ(s.others.size(), 4u);
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(s.others[i]["params"]["progressToken"], "tok");
        EXPECT_EQ(s.others[i]["params"]["progress"], i + 1);
        EXPECT_EQ(s.others[i]["params"]["total"], 4);
    }
}

TEST_F(demo_server, says_nothing_more_after_a_cancellation) {
    process& s = start();
    json params = modern(tool("slow", {{"duration_ms", 600000}, {"steps", 1}}));
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", params}});
    EXPECT_EQ(error_code(s.request(1, "tools/call", modern(tool("echo", {{"text", "x"}})))), -32600) << "the id is in use";
    s.notify("notifications/cancelled", {{"requestId", 1}});
    s.notify("notifications/cancelled", {{"requestId", 99}});
    s.close_input();
    EXPECT_EQ(s.receive(), nullptr);
    EXPECT_EQ(s.wait_for_exit(), 0);
}

TEST_F(demo_server, counts_every_call_once) {
    process& s = start();
    EXPECT_EQ(text_of(s.request(1, "tools/call", modern(tool("count", {{"id", "a"}})))), "1");
    for (int i = 10; i < 30; ++i)
        s.send({{"jsonrpc", "2.0"}, {"id", i}, {"method", "tools/call"}, {"params", modern(tool("count", {{"id", "b"}}))}});
    for (int i = 10; i < 30; ++i) EXPECT_FALSE(s.receive().is_null());
    s.close_input();
    EXPECT_EQ(s.wait_for_exit(), 0);
    std::ifstream in(root / "count");
    std::string text{std::istreambuf_iterator<char>(in), {}};
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 21);
    EXPECT_EQ(text.substr(0, 4), "a\nb\n");
}

TEST_F(demo_server, takes_the_count_file_from_the_environment) {
    process s({HOLDFAST_DEMO_SERVER}, {"HOLDFAST_COUNT_FILE=" + (root / "env-count").string()});
    EXPECT_EQ(text_of(s.request(1, "tools/call", modern(tool("count")))), "1");
    EXPECT_TRUE(fs::exists(root / "env-count"));
}

// --- bad input ------------------------------------------------------------------------------------------------------

TEST_F(demo_server, survives_garbage) {
    process& s = start();
    const auto refused = [&](std::string_view text, int code) {
        s.send_text(std::string(text) + "\n");
        const json answer = s.receive();
        EXPECT_EQ(error_code(answer), code) << text.substr(0, 80);
        EXPECT_TRUE(answer.contains("id")) << text.substr(0, 80);
        return answer;
    };
    EXPECT_EQ(refused("hello there", -32700)["id"], nullptr);
    refused("{\"jsonrpc\":\"2.0\",\"id\":1", -32700);
    refused("\"\xff\xfe\"", -32700);
    refused(std::string(100'000, '['), -32700);
    refused("42", -32600);
    refused("[]", -32600);
    refused(R"({"id":1,"method":"ping"})", -32600);
    refused(R"({"jsonrpc":"2.0","id":null,"method":"ping"})", -32600);
    refused(R"({"jsonrpc":"2.0","id":1.5,"method":"ping"})", -32600);
    refused(R"({"jsonrpc":"2.0","id":1,"method":7})", -32600);
    refused(R"({"jsonrpc":"2.0","id":1,"method":"ping","params":[1]})", -32600);
    refused(R"({"jsonrpc":"2.0","id":1})", -32600);
    s.send_text("\n  \r\n{\"jsonrpc\":\"2.0\",\"id\":\"nobody\",\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"method\":\"no/such\"}\n");
    EXPECT_EQ(s.request(9, "ping")["result"], json::object());
}

TEST_F(demo_server, survives_a_line_that_is_too_long) {
    process& s = start();
    const std::string block(1024 * 1024, 'x');
    for (int i = 0; i < 5; ++i) s.send_text(block);
    s.send_text("\n");
    EXPECT_EQ(error_code(s.receive()), -32700);
    EXPECT_EQ(s.request(1, "ping")["result"], json::object());
    const std::string large(3 * 1024 * 1024, 'y');
    EXPECT_EQ(text_of(s.request(2, "tools/call", modern(tool("echo", {{"text", large}})))), large);
}

TEST_F(demo_server, answers_what_it_got_before_input_ended) {
    process& s = start();
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", modern(tool("count"))}});
    s.send_text(R"({"jsonrpc":"2.0","id":2,"method":"ping"})");  // no newline
    s.close_input();
    std::set<int> ids;
    while (auto text = s.line()) ids.insert(json::parse(*text)["id"].get<int>());
    EXPECT_EQ(ids, (std::set<int>{1, 2}));
    EXPECT_EQ(s.wait_for_exit(), 0);
}

TEST_F(demo_server, bounds_concurrent_work) {
    process& s = start();
    const int sent = 400;  // above 64 workers and 256 waiting
    for (int i = 0; i < sent; ++i)
        s.send({{"jsonrpc", "2.0"}, {"id", i}, {"method", "tools/call"}, {"params", modern(tool("slow", {{"duration_ms", 600000}}))}});
    const json refused = s.receive();
    EXPECT_EQ(refused["result"]["isError"], true);
    EXPECT_NE(text_of(refused).find("busy"), std::string::npos);
    s.close_input();
    int answers = 1;
    while (s.line()) ++answers;
    EXPECT_EQ(answers, sent);
    EXPECT_EQ(s.wait_for_exit(), 0);
}

TEST_F(demo_server, explains_wrong_usage) {
    process unknown({HOLDFAST_DEMO_SERVER, "--nonsense"});
    EXPECT_EQ(unknown.wait_for_exit(), 2);
    process no_root({HOLDFAST_DEMO_SERVER, "--root", (root / "missing").string()});
    EXPECT_EQ(no_root.wait_for_exit(), 1);
    process help({HOLDFAST_DEMO_SERVER, "--help"});
    EXPECT_NE(help.line().value_or("").find("Usage"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::test
