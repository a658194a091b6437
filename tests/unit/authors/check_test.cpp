// `plugin check` must be able to fail: each misbehaving plugin fails the check that is meant for it, and no plugin takes the
// checker with it.
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "authors/check.hpp"
#include "authors/child_run.hpp"

namespace holdfast::authors {
namespace {

std::string plugin(const std::string& name) { return std::string(HF_TEST_PLUGINS) + "/" + name + ".so"; }

result<check_report> run(const std::string& name, const std::string& settings, const std::string& only, milliseconds limit = seconds(10)) {
    check_options o;
    o.file = plugin(name);
    o.only = only;
    o.limit = limit;
    if (!settings.empty()) o.settings = settings;
    o.targets = {in_process(), isolated(HF_TEST_RUNNER)};
    o.host_version = "0";
    return check_plugin(o, [](const check_result&) {});
}

struct caught {
    const char* plugin;
    const char* settings;
    const char* check;  // must fail
    const char* words;  // in its details
    int limit_s = 10;
    const char* words_isolated = nullptr;  // where they are others there
};
std::ostream& operator<<(std::ostream& out, const caught& c) { return out << c.plugin << " " << c.settings << " " << c.check; }

class misbehaviour : public ::testing::TestWithParam<caught> {};

TEST_P(misbehaviour, is_found_by_its_check) {
    const caught& c = GetParam();
    const auto report = run(c.plugin, c.settings, c.check, seconds(c.limit_s));
    ASSERT_TRUE(report) << report.error().message;
    const bool of_the_file = std::string_view(c.check).starts_with("file.");
    ASSERT_EQ(report->results.size(), of_the_file ? 1u : 2u);
    for (const check_result& r : report->results) {
        EXPECT_EQ(r.is, check_result::verdict::failed) << r.target;
        std::string details;
        for (const auto& d : r.details) details += d + "\n";
        EXPECT_NE(details.find(r.target == "isolated" && c.words_isolated ? c.words_isolated : c.words), std::string::npos) << r.target << ": " << details;
    }
    EXPECT_TRUE(report->differences().empty());
    EXPECT_FALSE(report->passed());
}

INSTANTIATE_TEST_SUITE_P(
    all, misbehaviour,
    ::testing::Values(
        caught{"bad_abi", "", "file.speaks_this_abi", "supports ABI 99"},
        caught{"bad_no_entry", "", "file.exports_an_entry", "hf_plugin_entry_v1"},
        caught{"bad_no_manifest", "", "file.exports_a_manifest", "hf_plugin_manifest"},
        caught{"bad_manifest_garbage", "", "file.manifest_is_valid", "not JSON"},
        caught{"bad_no_manifest", "", "file.exports_the_two_symbols_only", "more are visible"},
        caught{"bad_no_interface", "", "lifecycle.promised_interfaces_are_there", "get_ext has nothing"},
        caught{"bad_create_null", "", "lifecycle.a_whole_life", "no instance", 10, "without an instance"},
        caught{"bad_short_instance", "", "lifecycle.entry_and_instance_tables_are_full", "ends before its functions"},
        caught{"bad_init_fails", "", "lifecycle.a_whole_life", "this init always fails"},
        caught{"bad_throws", R"({"throw_in":"init"})", "lifecycle.a_whole_life", "an exception left the plugin: bad_throws in init"},
        caught{"bad_throws", R"({"throw_in":"start","not_std_exception":true})", "lifecycle.a_whole_life", "no std::exception", 10, "of an unknown type"},
        caught{"bad_throws", R"({"throw_in":"submit"})", "llm.describe_says_what_it_is", "an exception left"},
        caught{"bad_throws", R"({"throw_in":"get_ext"})", "lifecycle.unknown_interfaces_are_null", "an exception left"},
        caught{"bad_throws", R"({"throw_in":"cancel"})", "llm.unknown_cancels_are_ignored", "an exception left"},
        caught{"bad_throws_caught", R"({"throw_in":"start"})", "lifecycle.a_whole_life", "start"},
        caught{"bad_leaks_thread", "", "host.many_lives_leave_no_threads", "threads were left behind"},
        caught{"bad_leaks_thread", "", "host.start_uses_the_hosts_threads_only", "ask for a worker"},
        caught{"bad_slow", R"({"stop_ms":5200})", "lifecycle.stop_without_quiesce", "more than 5 s"},
        caught{"bad_slow", R"({"quiesce_ms":1800})", "lifecycle.a_passed_deadline_is_no_reason_to_wait", "beyond its deadline"},
        caught{"bad_calls", R"({"mode":"twice"})", "llm.chat_streams_and_completes_once", "a second completion"},
        caught{"bad_calls", R"({"mode":"chunk_after_done"})", "llm.chat_streams_and_completes_once", "after the completion"},
        caught{"bad_calls", R"({"mode":"done_and_error"})", "llm.chat_streams_and_completes_once", "did not return HF_PENDING"},
        caught{"bad_calls", R"({"mode":"returns_ok"})", "llm.chat_streams_and_completes_once", "a result has no way back"},
        caught{"bad_calls", R"({"mode":"garbage"})", "llm.chat_streams_and_completes_once", "{not json"},
        caught{"bad_calls", R"({"mode":"late"})", "llm.deadlines_are_honoured", "after its deadline"},
        caught{"bad_calls", R"({"mode":"never"})", "llm.calls_after_stop_are_not_kept", "never completed", 20},
        caught{"bad_dies", R"({"at":"create","how":"abort"})", "lifecycle.destroy_without_init", "SIGABRT"},
        caught{"bad_dies", R"({"at":"start","how":"segv"})", "lifecycle.a_whole_life", "SIGSEGV in start"},
        caught{"bad_dies", R"({"at":"start","how":"loop"})", "lifecycle.a_whole_life", "no end within 2 s in start", 2},
        caught{"bad_dies", R"({"at":"worker","how":"segv"})", "lifecycle.a_whole_life", "SIGSEGV"},
        caught{"bad_dies", R"({"at":"stop","how":"exit"})", "lifecycle.a_whole_life", "exit code 3"},
        caught{"bad_workers", R"({"workers":[{"name":"w","mode":"stuck"}]})", "lifecycle.a_whole_life", "no end within 2 s", 2},
        caught{"example-first", "", "file.id_is_the_file_name", "its id is 'first'"},
        caught{"example-first", "", "breaker.C1_failures_open_it_and_it_refuses", "never opened"}));

TEST(check, a_good_plugin_passes_at_least_forty_both_ways) {
    const auto report = run("example-echo-llm", "", "");
    ASSERT_TRUE(report) << report.error().message;
    for (const auto& r : report->results) {
        if (r.name == "file.id_is_the_file_name") continue;  // the file is called example-…
        EXPECT_NE(r.is, check_result::verdict::failed) << r.name << " " << r.target << ": " << (r.details.empty() ? "" : r.details.front());
    }
    const auto tallies = report->tallies();
    ASSERT_EQ(tallies.size(), 2u);
    EXPECT_GE(tallies[0].passed, 40u);
    EXPECT_EQ(tallies[0].of, tallies[0].passed + 1);
    EXPECT_EQ(tallies[1].passed, tallies[0].passed);
    EXPECT_EQ(tallies[1].of, tallies[0].of);
    EXPECT_EQ(report->differences(), std::vector<std::string>());
    const std::string both = "in-process: " + std::to_string(tallies[0].passed) + " of " + std::to_string(tallies[0].of) + ", isolated: " + std::to_string(tallies[0].passed) + " of ";
    EXPECT_NE(report->verdict().find(both), std::string::npos) << report->verdict();
    EXPECT_NE(report->verdict().find("echo-llm 1.0.0"), std::string::npos);
}
TEST(check, what_cannot_be_run_is_not_run) {
    const auto report = run("bad_abi", "", "");
    ASSERT_TRUE(report);
    for (const auto& r : report->results) {
        if (!r.name.starts_with("file.")) {
            EXPECT_EQ(r.is, check_result::verdict::not_run) << r.name;
        }
    }
}
TEST(check, a_name_that_does_not_exist_is_refused_with_the_nearest) {
    const auto report = run("counting", "", "lifecycle.a_hole_life");
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().message.find("lifecycle.a_whole_life"), std::string::npos) << report.error().message;
}

TEST(child_run, says_how_the_child_ended) {
    const auto crash = run_in_child([]() -> std::string {
        testing::note_step("submit");
        ::raise(SIGSEGV);
        return "";
    }, seconds(5));
    EXPECT_EQ(crash.died, "SIGSEGV in submit");
    const auto gone = run_in_child([]() -> std::string { ::_exit(3); }, seconds(5));
    EXPECT_EQ(gone.died, "the process ended with exit code 3");
    const auto hung = run_in_child([]() -> std::string { for (;;) ::pause(); }, milliseconds(1000));
    EXPECT_NE(hung.died.find("no end within 1 s"), std::string::npos) << hung.died;
    const auto words = run_in_child([]() -> std::string {
        std::fprintf(stderr, "the reason\n");
        std::abort();
    }, seconds(5));
    EXPECT_EQ(words.died, "SIGABRT");
    EXPECT_NE(words.words.find("the reason"), std::string::npos);
}
TEST(child_run, leaves_no_process_behind) {
    const auto forked = run_in_child([]() -> std::string {
        if (::fork() == 0) {
            ::setsid();
            for (;;) ::pause();
        }
        return "done";
    }, seconds(5));
    EXPECT_EQ(forked.said, "done");
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

}  // namespace
}  // namespace holdfast::authors
