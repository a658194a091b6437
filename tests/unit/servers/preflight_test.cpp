#include "servers/preflight.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace holdfast::servers {
namespace {

errc code_of(const json& entry) {
    auto spec = make_spec("a", entry, {}, {});
    EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
    const auto ok = preflight(**spec);
    return ok ? errc::internal : ok.error().code;  // internal: nothing is wrong
}

TEST(preflight_test, the_program_and_its_directory_have_to_be_there) {
    const auto dir = std::filesystem::temp_directory_path() / ("holdfast-preflight-" + std::to_string(::getpid()));
    std::filesystem::create_directories(dir);
    std::ofstream(dir / "text") << "no program\n";
    EXPECT_EQ(code_of({{"command", "sh"}}), errc::internal);
    EXPECT_EQ(code_of({{"command", "/bin/sh"}, {"cwd", "/tmp"}}), errc::internal);
    EXPECT_EQ(code_of({{"command", "holdfast-no-such-program"}}), errc::command_not_found);
    EXPECT_EQ(code_of({{"command", "/nowhere/program"}}), errc::command_not_found);
    EXPECT_EQ(code_of({{"command", (dir / "text").string()}}), errc::forbidden);
    EXPECT_EQ(code_of({{"command", "./text"}, {"cwd", dir.string()}}), errc::forbidden) << "relative to cwd";
    EXPECT_EQ(code_of({{"command", "sh"}, {"env", {{"PATH", dir.string()}}}}), errc::command_not_found) << "in the server's own PATH";
    EXPECT_EQ(code_of({{"command", "sh"}, {"cwd", "/nowhere"}}), errc::not_found);
    EXPECT_EQ(code_of({{"command", "sh"}, {"working_dir", (dir / "text").string()}}), errc::not_found);
    std::filesystem::remove_all(dir);
}

TEST(preflight_test, an_address_has_to_be_able_to_be_one) {
    for (const char* good : {"http://h/", "https://h:443/mcp", "http://[::1]:80/", "http://user:pw@h:80/"}) EXPECT_EQ(code_of({{"url", good}}), errc::internal) << good;
    for (const char* bad : {"http://", "http:///mcp", "http://:80/", "http://h:0/", "http://h:70000/", "http://h:x/", "http://[::1]:/"}) EXPECT_EQ(code_of({{"url", bad}}), errc::invalid_argument) << bad;
}

TEST(preflight_test, presets_write_the_address_out) {
    const auto url = [](json entry) { return string_or(*with_preset(entry), "url"); };
    EXPECT_EQ(url({{"preset", "tcp"}, {"port", 3333}}), "tcp://127.0.0.1:3333");
    EXPECT_EQ(url({{"preset", "websocket"}, {"port", 8080}, {"path", "/ws"}}), "ws://127.0.0.1:8080/ws");
    EXPECT_EQ(url({{"preset", "http"}, {"port", 80}, {"host", "::1"}}), "http://[::1]:80/mcp");
    EXPECT_EQ(*with_preset({{"preset", "stdio"}, {"command", "x"}}), (json{{"command", "x"}, {"transport", "stdio"}}));
    EXPECT_EQ(*with_preset({{"command", "x"}}), (json{{"command", "x"}}));
    for (const json& bad : {json{{"preset", "tcp"}}, json{{"preset", "tcp"}, {"port", 0}}, json{{"preset", "pigeon"}}, json{{"preset", 5}}, json{{"preset", "stdio"}},
                            json{{"preset", "http"}, {"port", 80}, {"path", "x"}}, json{{"preset", "http"}, {"port", 80}, {"url", "http://x/"}}})
        EXPECT_FALSE(with_preset(bad)) << bad;
    const auto spec = make_spec("a", {{"preset", "http"}, {"port", 80}}, {}, {});
    ASSERT_TRUE(spec);
    EXPECT_EQ((*spec)->transport, "http");
    EXPECT_EQ((*spec)->connection["url"], "http://127.0.0.1:80/mcp");
}

}  // namespace
}  // namespace holdfast::servers
