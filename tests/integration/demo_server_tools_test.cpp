// What the tools of the bundled MCP server do, and what it does with bad input.
#include "integration/demo_server_fixture.hpp"

namespace holdfast::test {
namespace {

// --- tools ----------------------------------------------------------------------------------------------------------

TEST_F(demo_server, tells_the_time) {
    process& s = start();
    json utc = s.request(1, "tools/call", modern(tool("get_time")));
    EXPECT_EQ(text_of(utc).substr(0, 20), string_or(utc["result"]["structuredContent"], "utc"));
    json tokyo = s.request(2, "tools/call", modern(tool("get_time", {{"timezone", "Asia/Tokyo"}})));
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
        json part = s.request(id, "tools/call", modern(tool("read_file", {{"path", "sub/text.txt"}, {"offset", offset}, {"limit", 101}})));
        ASSERT_FALSE(part["result"].contains("isError")) << part;
        got += text_of(part);
        json where = part["result"]["structuredContent"];
        if (where["end"] == true) break;
        ASSERT_GT(where["next_offset"].get<std::int64_t>(), offset);
        offset = where["next_offset"];
    }
    EXPECT_EQ(got, all);
    json listing = s.request("l", "tools/call", modern(tool("list_files", {{"path", "sub"}})));
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
        json answer = s.request(path, "tools/call", modern(tool("read_file", {{"path", path}})));
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

TEST_F(demo_server, offers_a_model_nothing_that_only_the_conformance_suite_wants) {
    process s({HOLDFAST_DEMO_SERVER});
    std::set<std::string> names;
    const json tools = s.request(1, "tools/list", modern())["result"]["tools"];
    for (const json& t : tools) names.insert(string_or(t, "name"));
    EXPECT_EQ(names, (std::set<std::string>{"ask_name", "count", "echo", "get_time", "list_files", "read_file", "slow"}));
    EXPECT_EQ(error_code(s.request(2, "tools/call", modern(tool("test_simple_text")))), -32602);
    EXPECT_TRUE(s.request(3, "prompts/list", modern())["result"]["prompts"].empty());
}
TEST_F(demo_server, survives_garbage) {
    process& s = start();
    const auto refused = [&](std::string_view text, int code) {
        s.send_text(std::string(text) + "\n");
        json answer = s.receive();
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
    json refused = s.receive();
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
