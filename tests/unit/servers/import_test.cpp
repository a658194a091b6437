#include "servers/import.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace holdfast::servers {
namespace {

// The fixtures follow the public documentation of each program; what a person would have written is unchanged in them.
struct import_test : testing::Test {
    std::map<std::string, std::string> env;
    import_place place;
    std::string dir = IMPORT_FIXTURES;

    import_result read(const std::string& file) {
        std::ifstream in(dir + "/" + file, std::ios::binary);
        EXPECT_TRUE(in) << file;
        return take(std::string(std::istreambuf_iterator<char>(in), {}), dir + "/" + file);
    }
    import_result take(const std::string& text, const std::string& file = "/p/x.json") {
        place.file = file;
        place.home = "/home/ada";
        place.sources = config::reference_sources::real();
        place.sources.env = [this](const std::string& n) { return env.count(n) ? std::optional(env[n]) : std::nullopt; };
        auto r = import_servers(text, place);
        resolve_imported(r, place);
        return r;
    }
    static const json& entry(const import_result& r, const std::string& name) {
        static const json none;
        for (const auto& s : r.servers)
            if (s.name == name) return s.entry;
        ADD_FAILURE() << "no server " << name << " in " << dump(r.to_json());
        return none;
    }
    static std::string problem(const import_result& r) { return r.problems.empty() ? "" : r.problems[0].to_string(); }
};

TEST_F(import_test, claude_desktop) {
    const auto r = read("claude_desktop_config.json");
    EXPECT_EQ(problem(r), "");
    ASSERT_EQ(r.servers.size(), 2u);
    EXPECT_EQ(entry(r, "filesystem"), (json{{"command", "npx"}, {"args", {"-y", "@modelcontextprotocol/server-filesystem", "/home/ada/Desktop", "/home/ada/Downloads"}}}));
    EXPECT_EQ(entry(r, "brave-search")["env"], (json{{"BRAVE_API_KEY", "literal-key"}, {"PORT", "8080"}}));
}

TEST_F(import_test, claude_code_with_variables_and_defaults) {
    env = {{"API_KEY", "k"}, {"DSN", "postgres://x"}, {"CACHE_DIR", "/var/cache"}};
    const auto r = read(".mcp.json");
    EXPECT_EQ(problem(r), "");
    EXPECT_EQ(entry(r, "api-server")["url"], "https://api.example.com/mcp");
    EXPECT_EQ(entry(r, "api-server")["headers"]["Authorization"], "Bearer k");
    EXPECT_EQ(entry(r, "db")["command"], "npx");
    EXPECT_EQ(entry(r, "db")["args"][3], "postgres://x");
    EXPECT_EQ(entry(r, "db")["env"]["CACHE_DIR"], "/var/cache");
    EXPECT_EQ(entry(r, "db")["cwd"], dir) << "a project's file: its folder is where the server is started";
    EXPECT_EQ(entry(r, "events")["url"], "https://example.com/sse");
}

TEST_F(import_test, a_variable_that_is_not_set_takes_its_server_out_and_no_other) {
    env = {{"DSN", "d"}};
    const auto r = read(".mcp.json");
    ASSERT_EQ(r.problems.size(), 1u);
    EXPECT_NE(problem(r).find(".mcp.json:3:5"), std::string::npos) << problem(r);
    EXPECT_NE(problem(r).find("API_KEY is not set"), std::string::npos) << problem(r);
    EXPECT_EQ(r.servers.size(), 2u);
}

TEST_F(import_test, vs_code_with_inputs_comments_and_an_environment_file) {
    env = {{"HOLDFAST_INPUT_PERPLEXITY_KEY", "secret"}};
    const auto r = read(".vscode/mcp.json");
    EXPECT_EQ(problem(r), "");
    EXPECT_EQ(r.format, "VS Code");
    const json& p = entry(r, "Perplexity");
    EXPECT_EQ(p["env"], (json{{"PERPLEXITY_API_KEY", "secret"}, {"REGION", "eu-west-1"}}));
    EXPECT_EQ(p["args"][2], "--mode=fast");
    EXPECT_EQ(p["cwd"], dir) << "the workspace, not .vscode";
    EXPECT_EQ(entry(r, "gistpad")["env"], (json{{"GIST_TOKEN", "from the file"}, {"MARKDOWN", "true"}, {"ODD", "a${b}c"}}));
    EXPECT_EQ(entry(r, "GitHub"), (json{{"type", "http"}, {"url", "https://api.githubcopilot.com/mcp"}}));
    EXPECT_EQ(entry(r, "io.github.upstash-context7")["headers"]["Authorization"], "Bearer secret");
    const auto gistpad = std::find_if(r.servers.begin(), r.servers.end(), [](const auto& s) { return s.name == "gistpad"; });
    EXPECT_EQ(gistpad->ignored, std::vector<std::string>{"dev"});
}

TEST_F(import_test, an_input_without_a_value_says_which_variable_would_hold_it) {
    const auto r = read(".vscode/mcp.json");
    ASSERT_EQ(r.problems.size(), 2u);
    EXPECT_NE(problem(r).find("HOLDFAST_INPUT_PERPLEXITY_KEY"), std::string::npos) << problem(r);
    EXPECT_EQ(r.servers.size(), 2u);
}

TEST_F(import_test, a_dollar_before_a_variable_is_a_dollar) {
    env = {{"PASS", "word"}};
    const auto r = take(R"({"servers": {"a": {"command": "x", "args": ["P$${PASS}", "$$$${env:PASS}", "$", "$$", "$${open", "a$b"]}}})");
    EXPECT_EQ(problem(r), "");
    EXPECT_EQ(entry(r, "a")["args"], (json{"P$word", "$$$word", "$", "$$", "$${open", "a$b"}));
}

TEST_F(import_test, cursor_with_interpolation) {
    env = {{"API_KEY", "k"}, {"MY_SERVICE_TOKEN", "t"}};
    const auto r = read(".cursor/mcp.json");
    EXPECT_EQ(problem(r), "");
    EXPECT_EQ(entry(r, "local-server")["args"], (json{dir + "/tools/mcp_server.py", "/home/ada/data", "imports"}));
    EXPECT_EQ(entry(r, "local-server")["env"]["API_KEY"], "k");
    EXPECT_EQ(entry(r, "web-api")["headers"]["Authorization"], "Bearer t");
}

TEST_F(import_test, other_places_of_the_same_thing) {
    EXPECT_EQ(entry(take(R"({"mcp":{"inputs":[],"servers":{"a":{"command":"x"}}}})"), "a")["command"], "x");
    EXPECT_EQ(entry(take(R"({"context_servers":{"a":{"command":"x"}}})"), "a")["command"], "x");
    EXPECT_EQ(entry(take(R"({"mcpServers":{"a":{"serverUrl":"https://x/mcp"}}})"), "a")["url"], "https://x/mcp");
    EXPECT_EQ(entry(take(R"({"command":"x","args":["--port","80"]})", "/p/my server.json"), "my-server")["args"][1], "80");
}

TEST_F(import_test, what_is_wrong_is_said_with_its_place_and_what_to_do) {
    const std::pair<const char*, const char*> cases[] = {
        {"{\n \"mcpServers\": {\n  \"a\": {\"command\": \"x\" \"args\": []}}}", "/p/x.json:3:24"},
        {"{\"mcpServers\": []}", "expected an object: a server's name"},
        {"{\"a\": 1}", "expected \"mcpServers\""},
        {"[]", "expected an object with \"mcpServers\""},
        {"{\"mcpServers\": {\"a\": {}}}", "expected \"command\" (a program to start) or \"url\""},
        {"{\"mcpServers\": {\"a\": 5}}", "expected an object with \"command\""},
        {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"args\": \"y\"}}}", "args must be a list of strings"},
        {"{\"mcpServers\": {\"a\": {\"type\": \"pigeon\", \"url\": \"x\"}}}", "expected stdio, http, sse or ws"},
        {"{\"mcpServers\": {\"a\": {\"command\": \"${odd.thing}\"}}}", "unknown variable ${odd.thing}"},
        {"{\"servers\": {\"a\": {\"command\": \"${input:who}\"}}}", "there is no input 'who'"},
        {"{\"mcpServers\": {\"a b\": {\"command\": \"x\"}, \"a-b\": {\"command\": \"y\"}}}", "two servers of this file are called 'a-b'"},
        {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"envFile\": \"/nowhere/.env\"}}}", "/nowhere/.env cannot be read"},
        {"{\"mcpServers\": {\"a\": {\"command\": \"x\", \"disabled\": \"no\"}}}", "expected true or false"},
        {"{ /* not ended", "/p/x.json:1:3"},
    };
    for (const auto& [text, expected] : cases) {
        const auto r = take(text);
        EXPECT_NE(problem(r).find(expected), std::string::npos) << text << " → " << problem(r);
    }
}

TEST_F(import_test, an_environment_that_is_no_object_costs_its_server_alone) {
    for (const char* env : {R"("A=1")", R"(["A=1"])", "5"}) {
        const auto r = take(std::string(R"({"servers": {"a": {"command": "x", "env": )") + env + R"(, "envFile": ".env"}, "b": {"command": "y"}}})", dir + "/.vscode/x.json");
        EXPECT_NE(problem(r).find("/servers/a/env: expected an object"), std::string::npos) << problem(r);
        EXPECT_EQ(r.servers.size(), 1u);
        EXPECT_EQ(entry(r, "b")["command"], "y");
    }
    const auto none = take(R"({"servers": {"a": {"command": "x", "env": null, "envFile": ".env"}}})", dir + "/.vscode/x.json");
    EXPECT_EQ(problem(none), "");
    EXPECT_EQ(entry(none, "a")["env"]["GIST_TOKEN"], "from the file");
}

TEST_F(import_test, comments_are_only_taken_for_comments_outside_of_strings) {
    const auto r = take("{\"mcpServers\": {\"a\": {\"url\": \"https://x/ /*y*/\", \"headers\": {\"q\": \"a\\\" // b,]\"}, }, }, } // end");
    EXPECT_EQ(problem(r), "");
    EXPECT_EQ(entry(r, "a")["url"], "https://x/ /*y*/");
    EXPECT_EQ(entry(r, "a")["headers"]["q"], "a\" // b,]");
}

}  // namespace
}  // namespace holdfast::servers
