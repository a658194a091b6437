#include <dirent.h>

#include <set>
#include <thread>

#include "contract_suite.hpp"
#include "holdfast/json.hpp"

namespace holdfast::testing::contract {
namespace {

std::size_t entries(const char* dir) {
    std::size_t n = 0;
    if (DIR* d = ::opendir(dir)) {
        while (::readdir(d)) ++n;
        ::closedir(d);
    }
    return n;
}
// Threads end a moment after they were joined by nobody: look until the deadline.
bool falls_to(const char* dir, std::size_t limit) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    while (entries(dir) > limit) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

void manifest_is_complete(bench& b) {
    const json m = json::parse(b.file().manifest());
    for (const char* key : {"id", "kind", "version"}) {
        ASSERT_TRUE(m.contains(key) && m[key].is_string()) << key;
        EXPECT_FALSE(m[key].get<std::string>().empty()) << key;
    }
    ASSERT_TRUE(m.contains("abi") && m["abi"].is_array() && m["abi"].size() == 2);
    EXPECT_LE(m["abi"][0].get<unsigned>(), HF_ABI_VERSION);
    EXPECT_GE(m["abi"][1].get<unsigned>(), HF_ABI_VERSION);
    const std::string main = "hf." + m["kind"].get<std::string>() + "/1";
    const auto interfaces = m.value("interfaces", std::set<std::string>());
    EXPECT_TRUE(interfaces.count(main)) << "interfaces do not name " << main;
    if (m.contains("settings")) {
        EXPECT_TRUE(m["settings"].is_object()) << "settings is a JSON Schema";
    }
}

void entry_and_instance_tables_are_full(bench& b) {
    const hf_entry& e = b.file().entry();
    EXPECT_GE(e.size, sizeof(hf_entry));
    EXPECT_EQ(e.abi, HF_ABI_VERSION);
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    const hf_instance& t = *p->table();
    EXPECT_GE(t.size, sizeof(hf_instance));
    EXPECT_TRUE(t.self && t.init && t.start && t.quiesce && t.stop && t.destroy && t.get_ext);
}

void promised_interfaces_are_there(bench& b) {
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    const json m = json::parse(b.file().manifest());
    const auto promised = m.value("interfaces", std::vector<std::string>());
    for (const std::string& id : promised) {
        const auto* size = p->ext<std::uint32_t>(id);
        ASSERT_TRUE(size) << id;
        EXPECT_GE(*size, 16u) << id << ": the table's size field";
    }
    EXPECT_EQ(p->ext<void>("hf.no-such-interface/1"), nullptr);
    EXPECT_EQ(p->ext<void>(""), nullptr);
}

void destroy_from_every_state(bench& b) {
    {
        auto p = b.make("created");
        ASSERT_TRUE(p->create().ok());
    }
    {
        auto p = b.make("ready");
        ASSERT_TRUE(p->create().ok());
        const auto s = p->init();
        ASSERT_TRUE(s.ok()) << s.message;
        EXPECT_TRUE(p->down().ok());
    }
    if (!b.at().starts) return;
    auto p = b.up("active");
    ASSERT_TRUE(p);
    const auto s = p->down();
    EXPECT_TRUE(s.ok()) << s.code << " " << s.message;
}

void many_lives_leave_nothing_behind(bench& b) {
    const auto life = [&b] {
        auto p = b.make();
        ASSERT_TRUE(p->create().ok());
        ASSERT_TRUE(p->init().ok());
        if (b.at().starts) {
            const auto s = p->start();
            ASSERT_TRUE(s.ok()) << s.message;
        }
        EXPECT_TRUE(p->down().ok());
    };
    life();  // warm: libraries open what they keep
    const std::size_t threads = entries("/proc/self/task"), files = entries("/proc/self/fd");
    for (int i = 0; i < 5; ++i) life();
    EXPECT_TRUE(falls_to("/proc/self/task", threads)) << "threads were left behind: " << entries("/proc/self/task") << " > " << threads;
    EXPECT_TRUE(falls_to("/proc/self/fd", files)) << "open files were left behind: " << entries("/proc/self/fd") << " > " << files;
}

void garbage_settings_do_no_harm(bench& b) {
    for (const char* text : {"", "{", "[]", "null", "{\"\":0}", "\xff\xfe"}) {
        fake_host_options o = b.options();
        o.settings = text;
        auto p = b.make("garbage", o);
        auto s = p->create();
        if (s.ok()) s = p->init();
        if (!s.ok()) {
            EXPECT_FALSE(s.message.empty()) << "refused without a reason: " << text;
        }
    }
}

void a_poor_host_is_enough_or_refused(bench& b) {
    fake_host_options o = b.options();
    o.without = {"hf.metrics/1", "hf.log/1", "hf.events/1", "hf.api/1", "hf.process/1", "hf.worker/1", "hf.timer/1", "hf.config/1"};
    auto p = b.make("poor", o);
    const auto s = b.at().starts ? p->up() : p->create();
    if (!s.ok()) {
        EXPECT_FALSE(s.message.empty());
    }
    p->down();
}

void two_instances_are_independent(bench& b) {
    if (!b.at().starts || b.at().persistent) return;  // one file, one owner
    auto one = b.up("one");
    auto two = b.up("two");
    ASSERT_TRUE(one && two);
    EXPECT_NE(one->self(), two->self());
    EXPECT_TRUE(one->down().ok());
    EXPECT_TRUE(two->down().ok());
}

}  // namespace

const std::vector<test>& lifecycle_tests() {
    static const std::vector<test> all{
        {"manifest_is_complete", &manifest_is_complete},
        {"entry_and_instance_tables_are_full", &entry_and_instance_tables_are_full},
        {"promised_interfaces_are_there", &promised_interfaces_are_there},
        {"destroy_from_every_state", &destroy_from_every_state},
        {"many_lives_leave_nothing_behind", &many_lives_leave_nothing_behind},
        {"garbage_settings_do_no_harm", &garbage_settings_do_no_harm},
        {"a_poor_host_is_enough_or_refused", &a_poor_host_is_enough_or_refused},
        {"two_instances_are_independent", &two_instances_are_independent},
    };
    return all;
}

}  // namespace holdfast::testing::contract
