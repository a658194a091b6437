// Which era a server belongs to: MCP 2026-07-28 basic/versioning and the two transport pages, "Backward Compatibility".
#include "scripted_server.hpp"

namespace holdfast::mcp::test {
namespace {

TEST(era, the_official_discover_answer_makes_it_modern) {
    script s;
    s.on(in::opened{});
    const json probe = s.expect("server/discover");
    EXPECT_EQ(probe["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    EXPECT_EQ(probe["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"], "test");
    EXPECT_TRUE(probe["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_object());
    json answer = example("discover-result-response.json");
    answer["id"] = probe["id"];
    s.says(answer);
    EXPECT_EQ(s.machine.identity().detected, era::modern);
    EXPECT_EQ(s.machine.identity().info["name"], "ExampleServer");
    const json list = s.expect("tools/list");
    EXPECT_EQ(list["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
}
TEST(era, any_error_that_is_not_modern_means_legacy) {
    for (int code : {-32601, -32602, -32600, -32700, -32000, -32001, -1, 404}) {
        script s;
        s.on(in::opened{});
        s.refuses(s.expect("server/discover"), code);
        const json init = s.expect("initialize");
        EXPECT_EQ(init["params"]["protocolVersion"], "2025-11-25") << code;
        EXPECT_FALSE(init["params"].contains("_meta"));
        s.replies(init, {{"protocolVersion", "2025-11-25"}, {"capabilities", json::object()}});
        s.expect("notifications/initialized");
        EXPECT_TRUE(s.machine.is_ready());
        EXPECT_EQ(s.machine.identity().detected, era::legacy);
    }
}
TEST(era, silence_means_legacy_on_stdio) {
    script s;
    s.on(in::opened{});
    s.expect("server/discover");
    s.wait(milliseconds(4'999));
    EXPECT_TRUE(s.sent.empty());
    s.wait(milliseconds(1));
    s.replies(s.expect("initialize"), {{"protocolVersion", "2024-11-05"}, {"capabilities", json::object()}});
    EXPECT_EQ(s.machine.identity().version, "2024-11-05");
}
TEST(era, a_slow_modern_server_is_still_recognised) {
    script s;
    s.on(in::opened{});
    const json probe = s.expect("server/discover");
    s.wait(seconds(5));
    const json init = s.expect("initialize");
    s.replies(probe, {{"supportedVersions", {"2026-07-28"}}, {"capabilities", json::object()}});
    EXPECT_EQ(s.machine.identity().detected, era::modern);
    EXPECT_TRUE(s.machine.is_ready());
    s.refuses(init, -32601);  // the answer to our second guess: late, and no harm
    EXPECT_TRUE(s.machine.is_ready());
    EXPECT_EQ(s.machine.counters().late, 1u);
}
TEST(era, a_slow_modern_server_that_refuses_initialize_first) {
    script s;
    s.on(in::opened{});
    const json probe = s.expect("server/discover");
    s.wait(seconds(5));
    s.refuses(s.expect("initialize"), -32601);
    EXPECT_FALSE(s.machine.is_over());
    s.replies(probe, {{"supportedVersions", {"2026-07-28"}}, {"capabilities", json::object()}});
    EXPECT_TRUE(s.machine.is_ready());
}
TEST(era, unsupported_version_is_retried_with_a_common_one) {
    script s;
    s.on(in::opened{});
    const json probe = s.expect("server/discover");
    json answer = example("unsupported-version.json");
    answer["id"] = probe["id"];
    s.says(answer);  // supports 2026-07-28 and 2025-11-25, yet refused the first
    EXPECT_EQ(s.expect("initialize")["params"]["protocolVersion"], "2025-11-25");
}
TEST(era, a_server_that_refuses_the_version_it_supports_is_asked_once_more) {
    script s;
    s.on(in::opened{});
    s.refuses(s.expect("server/discover"), -32022, {{"supported", {"2026-07-28"}}});
    s.refuses(s.expect("server/discover"), -32022, {{"supported", {"2026-07-28"}}});
    EXPECT_TRUE(s.sent.empty());
    EXPECT_TRUE(s.find<out::failed>());
}
TEST(era, no_common_version_is_said_and_not_guessed) {
    script s;
    s.on(in::opened{});
    s.refuses(s.expect("server/discover"), -32022, {{"supported", {"2099-01-01"}}, {"requested", "2026-07-28"}});
    ASSERT_TRUE(s.find<out::failed>());
    EXPECT_NE(s.find<out::failed>()->why.message.find("2099-01-01"), std::string::npos);
    EXPECT_TRUE(s.sent.empty()) << "a modern error must not lead to initialize";
}
TEST(era, other_modern_errors_do_not_lead_to_initialize) {
    for (int code : {-32020, -32021}) {
        script s;
        s.on(in::opened{});
        s.refuses(s.expect("server/discover"), code);
        EXPECT_TRUE(s.find<out::failed>());
        EXPECT_TRUE(s.sent.empty());
    }
}
TEST(era, http_4xx_without_a_modern_body_means_legacy_but_not_every_status) {
    for (int status : {400, 404, 405, 406, 415}) {
        client_options o;
        o.http = true;
        script s(o);
        s.on(in::opened{});
        s.on(in::request_failed{dump(s.expect("server/discover")["id"]), {errc::protocol_error, "HTTP"}, status});
        s.expect("initialize");
    }
    for (int status : {0, 401, 403, 429, 500, 503}) {
        client_options o;
        o.http = true;
        script s(o);
        s.on(in::opened{});
        s.on(in::request_failed{dump(s.expect("server/discover")["id"]), {errc::unauthorized, "HTTP"}, status});
        EXPECT_TRUE(s.sent.empty()) << status;
        ASSERT_TRUE(s.find<out::failed>()) << status;
        EXPECT_EQ(s.find<out::failed>()->why.code, errc::unauthorized);
    }
}
TEST(era, http_silence_is_a_timeout) {
    client_options o;
    o.http = true;
    script s(o);
    s.on(in::opened{});
    s.expect("server/discover");
    s.wait(seconds(30));
    ASSERT_TRUE(s.find<out::failed>());
    EXPECT_EQ(s.find<out::failed>()->why.code, errc::timeout);
}
TEST(era, each_older_revision_is_accepted_and_an_unknown_one_is_not) {
    for (auto version : legacy_versions) {
        script s;
        s.on(in::opened{});
        s.refuses(s.expect("server/discover"), -32601);
        s.replies(s.expect("initialize"), {{"protocolVersion", version}, {"capabilities", json::object()}});
        EXPECT_TRUE(s.machine.is_ready()) << version;
    }
    script s;
    s.on(in::opened{});
    s.refuses(s.expect("server/discover"), -32601);
    s.replies(s.expect("initialize"), {{"protocolVersion", "1.0.0"}, {"capabilities", json::object()}});
    ASSERT_TRUE(s.find<out::failed>());
    EXPECT_EQ(s.find<out::failed>()->why.code, errc::protocol_error);
}
TEST(era, a_refused_initialize_is_retried_once_with_a_version_the_server_names) {
    script s;
    s.on(in::opened{});
    s.refuses(s.expect("server/discover"), -32601);
    s.refuses(s.expect("initialize"), -32602, {{"supported", {"2024-11-05"}}});
    const json again = s.expect("initialize");
    EXPECT_EQ(again["params"]["protocolVersion"], "2024-11-05");
    s.refuses(again, -32602, {{"supported", {"2025-03-26"}}});
    EXPECT_TRUE(s.find<out::failed>());
}
TEST(era, a_server_known_as_legacy_is_not_probed_again_but_may_have_been_upgraded) {
    client_options o;
    o.known = era::legacy;
    script s(o);
    s.on(in::opened{});
    s.refuses(s.expect("initialize"), -32601);
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", json::object()}});
    EXPECT_EQ(s.machine.identity().detected, era::modern);
}
TEST(era, a_success_that_is_no_discover_result_is_not_taken_for_modern) {
    script s;
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), json::object());
    s.expect("initialize");
    EXPECT_NE(s.machine.identity().detected, era::modern);
}
TEST(era, never_answers_at_all) {
    script s;
    s.on(in::opened{});
    s.wait(seconds(5));
    s.wait(seconds(30));
    ASSERT_TRUE(s.find<out::failed>());
    EXPECT_EQ(s.find<out::failed>()->why.code, errc::timeout);
    EXPECT_FALSE(s.machine.next_deadline());
}
TEST(era, tools_that_cannot_be_listed_are_a_failed_start) {
    script s;
    s.become_legacy({{"tools", json::object()}, {"prompts", json::object()}}, json::array());
    EXPECT_FALSE(s.machine.is_ready());
    s.refuses(s.expect("prompts/list"), -32601);
    EXPECT_TRUE(s.machine.is_ready()) << "prompts are a matter of taste";
    script t;
    t.on(in::opened{});
    t.replies(t.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
    t.refuses(t.expect("tools/list"), -32603);
    EXPECT_TRUE(t.find<out::failed>());
}

}  // namespace
}  // namespace holdfast::mcp::test
