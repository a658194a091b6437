// What a dying process says, and what is made of it.
#include <dlfcn.h>

#include "fixture.hpp"
#include "kernel/plugins/crash_history.hpp"

namespace holdfast::plugins::testing {
namespace {

const char* const trace = "noise\n\nholdfast-crash: SIGSEGV address 0x0000000000000008 thread 4711 in submit\n"
                          "/run/x.so(+0x1234)[0x7f0000001234]\n/lib/libc.so.6(abort+0xd3)[0x7f0000005678]\nnot a frame\n"
                          "/run/x.so(_ZN3abc3defEv+0x10)[0x7f0000001250]\nholdfast-crash-end\nmore noise\n";

TEST(CrashTrace, is_found_in_the_noise_and_read) {
    const auto r = parse_crash_trace(trace);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->signal, "SIGSEGV");
    EXPECT_EQ(r->address, "0x0000000000000008");
    EXPECT_EQ(r->thread, 4711);
    EXPECT_EQ(r->call, "submit");
    ASSERT_EQ(r->frames.size(), 3u);
    EXPECT_EQ(r->frames[0].module, "/run/x.so");
    EXPECT_EQ(r->frames[0].offset, 0x1234u);
    EXPECT_EQ(r->frames[1].function, "abort");
    EXPECT_EQ(r->frames[2].function, "abc::def()");
}

TEST(CrashTrace, garbage_is_no_trace_and_no_crash) {
    EXPECT_FALSE(parse_crash_trace(""));
    EXPECT_FALSE(parse_crash_trace("holdfast"));
    for (std::size_t cut = 0; cut < std::strlen(trace); ++cut) {
        (void)parse_crash_trace(std::string_view(trace).substr(0, cut));
        (void)parse_crash_trace(std::string_view(trace).substr(cut));
    }
    EXPECT_TRUE(parse_crash_trace("holdfast-crash:"));
    EXPECT_TRUE(parse_crash_trace("holdfast-crash: SIGSEGV address thread in\n(((+++)))\n[x](+0xzz)"));
}

/// With one frame: the function that makes an instance of that plugin.
crash_report report_in_create_of(const std::string& file) {
    crash_report r;
    void* library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
    Dl_info at{};
    const auto* entry = library ? static_cast<const hf_entry*>(dlsym(library, "hf_plugin_entry_v1")) : nullptr;
    if (entry != nullptr && dladdr(entry, &at) != 0) {
        r.frames.resize(1);
        r.frames[0].module = file;
        r.frames[0].offset = reinterpret_cast<std::uintptr_t>(entry->create) - reinterpret_cast<std::uintptr_t>(at.dli_fbase);
    }
    if (library) dlclose(library);
    return r;
}

TEST(CrashTrace, names_function_and_line_with_and_without_the_index_of_addresses) {
    scratch dir;
    const std::string with = std::string(HF_TEST_PLUGINS) + "/bad_dies.so", without = dir.path + "/bad_dies.so";
    ASSERT_EQ(std::system(("objcopy --remove-section=.debug_aranges " + with + " " + without).c_str()), 0);  // as clang leaves it
    for (const auto& file : {with, without}) {
        auto r = report_in_create_of(file);
        ASSERT_EQ(r.frames.size(), 1u) << file;
        symbolise(r);
        EXPECT_NE(r.frames[0].function.find("::create("), std::string::npos) << file << ": " << r.frames[0].function;
        EXPECT_NE(r.frames[0].source.find("holdfast/plugin.hpp:"), std::string::npos) << file << ": " << r.frames[0].source;
    }
}

TEST(CrashTrace, its_own_functions_are_not_the_place) {
    crash_report r;
    r.signal = "exit(3)";
    for (const char* function : {"say_stack()", "on_unexpected_exit(int, void*)"}) {
        auto& f = r.frames.emplace_back();
        f.module = "/usr/bin/holdfast", f.function = function, f.source = "../host/kernel/plugins/isolation/crash_trace.cpp:50";
    }
    auto& f = r.frames.emplace_back();
    f.module = "/run/x.so", f.function = "abc::def()", f.source = "/src/x.cpp:7";
    EXPECT_EQ(r.summary(), "exit(3) at abc::def() (/src/x.cpp:7)");
}

TEST(CrashTrace, a_damaged_heap_is_nobodys) {
    auto r = *parse_crash_trace("holdfast-crash: SIGABRT thread 1 in submit\n/lib/x86_64-linux-gnu/libc.so.6(abort+0x1)[0x1]\n"
                                "/lib/x86_64-linux-gnu/libc.so.6(cfree+0x1)[0x1]\nholdfast-crash-end\n");
    EXPECT_TRUE(found_by_the_allocator(r));
    r.signal = "SIGSEGV";
    EXPECT_FALSE(found_by_the_allocator(r));
}

TEST(CrashVerdict, isolates_then_quarantines) {
    EXPECT_EQ(verdict_on({0, "", {}}), crash_verdict::none);
    EXPECT_EQ(verdict_on({1, "", {}}), crash_verdict::isolate);
    EXPECT_EQ(verdict_on({2, "", {}}), crash_verdict::isolate);
    EXPECT_EQ(verdict_on({3, "", {}}), crash_verdict::quarantine);
}

class crash_histories : public ::testing::Test {
  protected:
    std::size_t reports() const {
        std::size_t n = 0;
        for (const auto& f : fs::directory_iterator(dir.path + "/crashes")) n += f.path().filename().string().starts_with("crash-");
        return n;
    }
    scratch dir;
};

TEST_F(crash_histories, remembers_across_hosts_until_released) {
    crash_report r;
    r.plugin = "bad";
    r.signal = "SIGSEGV";
    {
        auto h = *crash_history::open(dir.path);
        EXPECT_EQ(h->count(r), crash_verdict::isolate);
        EXPECT_EQ(h->count(r), crash_verdict::isolate);
    }
    auto h = *crash_history::open(dir.path);
    EXPECT_EQ(h->record("bad").crashes, 2u);
    EXPECT_EQ(h->verdict("other"), crash_verdict::none);
    EXPECT_EQ(h->count(r), crash_verdict::quarantine);
    EXPECT_TRUE(h->release("bad"));
    EXPECT_FALSE(h->release("bad"));
    EXPECT_EQ((*crash_history::open(dir.path))->verdict("bad"), crash_verdict::none);
}

TEST_F(crash_histories, damaged_verdicts_are_put_aside_and_said) {
    fs::create_directories(dir.path + "/crashes");
    std::ofstream(dir.path + "/crashes/verdicts.json") << "{\"bad\": ";
    auto h = crash_history::open(dir.path);
    ASSERT_TRUE(h);
    EXPECT_EQ((*h)->warnings().size(), 1u);
    EXPECT_TRUE(fs::exists(dir.path + "/crashes/verdicts.json.damaged"));
}

TEST_F(crash_histories, keeps_a_bounded_number_of_reports) {
    auto h = *crash_history::open(dir.path);
    crash_report r;
    r.plugin = "bad";
    for (std::size_t i = 0; i < kept_crash_reports + 5; ++i) {
        r.at = wall_time(seconds(1'000'000 + static_cast<long>(i)));
        h->write(r);
    }
    EXPECT_EQ(reports(), kept_crash_reports);
}

TEST_F(crash_histories, no_trace_is_no_crash_and_one_without_marks_blames_nobody) {
    auto h = *crash_history::open(dir.path);
    EXPECT_FALSE(h->learn(dir.path + "/trace", dir.path + "/marks", {}, wall_time{}));
    std::ofstream(dir.path + "/trace") << "";
    EXPECT_FALSE(h->learn(dir.path + "/trace", dir.path + "/marks", {}, wall_time{})) << "a host that was killed leaves an empty one";
    std::ofstream(dir.path + "/trace") << trace;
    const auto r = h->learn(dir.path + "/trace", dir.path + "/marks", {}, wall_time{});
    ASSERT_TRUE(r);
    EXPECT_EQ(r->plugin, "");
    EXPECT_FALSE(r->why_not.empty());
    EXPECT_FALSE(fs::exists(dir.path + "/trace"));
    EXPECT_EQ(reports(), 1u);
}

TEST_F(crash_histories, a_host_that_ended_by_itself_is_a_crash_without_a_trace) {
    auto h = *crash_history::open(dir.path);
    const auto r = h->learn(dir.path + "/trace", dir.path + "/marks", "_exit(0)", wall_time{});
    ASSERT_TRUE(r);
    EXPECT_EQ(r->signal, "_exit(0)");
    EXPECT_EQ(r->plugin, "");
    EXPECT_EQ(reports(), 1u);
}

}  // namespace
}  // namespace holdfast::plugins::testing
