#pragma once
// The bundled MCP server started on a scratch directory, and the words the tests about it share.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "integration/demo_server_process.hpp"

namespace holdfast::test {
namespace fs = std::filesystem;
using process = server_process;

inline const json all_capabilities = {{"elicitation", json::object()}, {"sampling", json::object()}, {"roots", json::object()}};

inline json modern(json params = json::object(), json capabilities = all_capabilities) {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28";
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = std::move(capabilities);
    return params;
}

inline json tool(const std::string& name, json arguments = json::object()) {
    return {{"name", name}, {"arguments", std::move(arguments)}};
}

inline std::string text_of(const json& answer) {
    const json& content = member(member(answer, "result"), "content");
    return content.is_array() && !content.empty() ? string_or(content[0], "text") : "no text in " + dump(answer);
}

inline std::int64_t error_code(const json& answer) { return int_or(member(answer, "error"), "code", 0); }

class demo_server : public testing::Test {
  protected:
    void SetUp() override {
        char pattern[] = "/tmp/holdfast-demo-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern), nullptr);
        root = pattern;
    }
    void TearDown() override { fs::remove_all(root); }

    std::vector<std::string> command() const {
        return {HOLDFAST_DEMO_SERVER, "--root", (root / "files").string(), "--count-file", (root / "count").string(), "--conformance"};
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

}  // namespace holdfast::test
