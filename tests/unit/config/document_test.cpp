#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "kernel/config/difference.hpp"
#include "kernel/config/document.hpp"

namespace holdfast::config {
namespace {

load_options options() {
    load_options o;
    o.root_schema = json::parse(R"({"type":"object","additionalProperties":false,"properties":{
        "host":{"type":"object","default":{},"properties":{"level":{"type":"string","default":"info"}}},
        "plugins":{"type":"object","additionalProperties":{"type":"object","required":["use"],"additionalProperties":false,
            "properties":{"use":{"type":"string"},"settings":{"type":"object"}}}}}})");
    o.plugins = {{"llm-openai", "llm", json::parse(R"({"type":"object","additionalProperties":false,"properties":{"api_key":{"type":"string"},"timeout_s":{"type":"integer"}}})")}};
    o.sources.env = [](const std::string& name) { return name == "KEY" ? std::optional<std::string>("s3cret") : std::nullopt; };
    o.sources.file = [](const std::string& path) -> result<std::string> {
        if (path == "/etc/k") return std::string("from file\n");
        return fail(errc::io_error, "No such file or directory");
    };
    return o;
}

std::string problem_of(const std::string& text) {
    auto r = load_text(text, "c.json", options());
    return r ? "(accepted)" : r.error()[0].to_string();
}

TEST(Document, resolves_references_and_remembers_the_secrets) {
    auto r = load_text(R"({"plugins":{"a":{"use":"llm-openai","settings":{"api_key":"Bearer ${env:KEY}"}},"b":{"use":"llm-openai","settings":{"api_key":"${file:/etc/k}"}},
        "c":{"use":"llm-openai","settings":{"api_key":"${env:NONE:-fallback}"}},"d":{"use":"llm-openai","settings":{"api_key":"$${literal}"}}}})", "c.json", options());
    ASSERT_TRUE(r);
    EXPECT_EQ(r->resolved["plugins"]["a"]["settings"]["api_key"], "Bearer s3cret");
    EXPECT_EQ(r->resolved["plugins"]["b"]["settings"]["api_key"], "from file");
    EXPECT_EQ(r->resolved["plugins"]["c"]["settings"]["api_key"], "fallback");
    EXPECT_EQ(r->resolved["plugins"]["d"]["settings"]["api_key"], "${literal}");
    EXPECT_EQ(r->resolved["host"]["level"], "info") << "defaults are filled in";
    EXPECT_EQ(r->secrets.count("/plugins/a/settings/api_key"), 1u);
    EXPECT_EQ(dump(r->redacted()).find("s3cret"), std::string::npos);
    EXPECT_EQ(r->redacted()["plugins"]["b"]["settings"]["api_key"], "${file:/etc/k}");
}

TEST(Document, names_place_pointer_and_reason_of_every_fault) {
    EXPECT_EQ(problem_of("{\"plugns\": {}}"), "c.json:1:2: /plugns: unknown member 'plugns': did you mean 'plugins'?");
    EXPECT_EQ(problem_of("{\"plugins\": {\"a\": {\"use\": \"llm-opnai\"}}}"),
              "c.json:1:27: /plugins/a/use: no plugin 'llm-opnai' on the search path: did you mean 'llm-openai'?");
    EXPECT_EQ(problem_of("{\"plugins\": {\"a\": {\"use\": \"llm-openai\",\n \"settings\": {\"timeout_s\": \"5\"}}}}"),
              "c.json:2:28: /plugins/a/settings/timeout_s: expected an integer, found the string \"5\"");
    EXPECT_EQ(problem_of("{\"plugins\": {\"a\": {\"use\": \"llm-openai\", \"settings\": {\"api_key\": \"${env:NOPE}\"}}}}"),
              "c.json:1:65: /plugins/a/settings/api_key: the environment variable NOPE is not set: export it, or write ${env:NOPE:-} for an empty default");
    EXPECT_EQ(problem_of("{\"plugins\": {\"a\": {\"use\": \"llm-openai\", \"settings\": {\"api_key\": \"${file:/no}\"}}}}"),
              "c.json:1:65: /plugins/a/settings/api_key: the file /no cannot be read: No such file or directory");
    EXPECT_EQ(problem_of("{\"plugins\": {\"a\": {\"use\": \"llm-openai\", \"settings\": {\"api_key\": \"${sec:x}\"}}}}"),
              "c.json:1:65: /plugins/a/settings/api_key: unknown reference ${sec:x}: expected ${env:NAME} or ${file:path}; write $${ for a literal ${");
}

TEST(Document, reports_all_problems_in_the_order_of_the_file) {
    auto r = load_text("{\"x\": 1,\n\"plugins\": {\"a\": {}},\n\"y\": 2}", "c.json", options());
    ASSERT_FALSE(r);
    ASSERT_EQ(r.error().size(), 3u);
    EXPECT_EQ(r.error()[0].at.line, 1u);
    EXPECT_EQ(r.error()[1].at.line, 2u);
    EXPECT_EQ(r.error()[2].at.line, 3u);
}

TEST(Document, an_unreadable_file_is_a_problem_of_its_own) {
    auto r = load_file("/no/such/file.json", options());
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error()[0].to_string(), "/no/such/file.json:1:1: the configuration cannot be read: No such file or directory; name another with --config");
    auto d = load_file("/tmp", options());
    ASSERT_FALSE(d);
    EXPECT_NE(d.error()[0].message.find("is a directory"), std::string::npos);
}

TEST(Document, semantic_checks_run_only_on_a_sound_document) {
    auto o = options();
    int ran = 0;
    o.checks.push_back([&](const json&, std::vector<violation>& found) {
        ++ran;
        found.push_back({"/plugins", "no", false});
    });
    EXPECT_FALSE(load_text("{\"x\":1}", "c", o));
    EXPECT_EQ(ran, 0);
    auto r = load_text("{\"plugins\":{}}", "c", o);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error()[0].to_string(), "c:1:12: /plugins: no");
}

TEST(Document, the_composed_schema_carries_every_plugins_settings) {
    const json s = compose_schema(options().root_schema, options().plugins);
    const json bad = {{"plugins", {{"a", {{"use", "llm-openai"}, {"settings", {{"timeout_s", "x"}}}}}}}};
    EXPECT_FALSE(validate(s, bad).empty());
    EXPECT_TRUE(validate(s, {{"plugins", {{"a", {{"use", "llm-openai"}}}}}}).empty());
}

TEST(Difference, names_exactly_what_changed) {
    const json before = json::parse(R"({"llm":{"default":"a"},"mcpServers":{"one":{"command":"x"},"two":{"command":"y"}},"plugins":{"p":{"use":"q"}}})");
    json after = before;
    after["mcpServers"]["one"]["args"] = {"z"};
    after["mcpServers"].erase("two");
    after["plugins"]["n"] = {{"use", "r"}};
    after["llm"]["default"] = "b";
    std::vector<std::string> names;
    for (const change& c : difference(before, after, {"mcpServers", "plugins"})) names.push_back(c.to_string());
    EXPECT_EQ(names, (std::vector<std::string>{"changed llm", "changed mcpServers/one", "removed mcpServers/two", "added plugins/n"}));
    EXPECT_TRUE(difference(before, before, {"mcpServers", "plugins"}).empty());
}

}  // namespace
}  // namespace holdfast::config
