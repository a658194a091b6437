// The life of an instance, from every state to its end, and what get_ext promises.
#include <set>
#include <thread>

#include "contract_suite.hpp"
#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"
#include "holdfast/ext/transport.h"
#include "holdfast/ext/ui.h"

#define CREATED(p)                       \
    do {                                 \
        const auto made = (p)->create(); \
        ASSERT_TRUE(made.ok()) << made.message; \
    } while (false)

namespace holdfast::testing::contract {
namespace {

constexpr milliseconds soon{5000};  // what control calls may take when there is nothing to wait for

struct known_interface {
    const char* id;
    std::size_t functions;  // pointers after size and reserved
};
constexpr known_interface known[] = {
    {HF_EXT_LLM, (sizeof(hf_llm) - 8) / sizeof(void*)},         {HF_EXT_STORE, (sizeof(hf_store) - 8) / sizeof(void*)},
    {HF_EXT_TRANSPORT, (sizeof(hf_transport) - 8) / sizeof(void*)}, {HF_EXT_BREAKER, (sizeof(hf_breaker) - 8) / sizeof(void*)},
    {HF_EXT_HEALTH, (sizeof(hf_health) - 8) / sizeof(void*)},   {HF_EXT_UI, (sizeof(hf_ui) - 8) / sizeof(void*)},
};

std::vector<std::string> promised(bench& b) { return json::parse(b.file().manifest()).value("interfaces", std::vector<std::string>()); }

class stopwatch {
  public:
    bool passed(milliseconds limit) const { return std::chrono::steady_clock::now() - begin_ > limit; }

  private:
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

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
    EXPECT_TRUE(e.create);
    auto p = b.make();
    const auto s = p->create();
    ASSERT_TRUE(s.ok()) << s.message;
}

void promised_interfaces_are_there(bench& b) {
    auto p = b.make();
    CREATED(p);
    for (const std::string& id : promised(b)) {
        const auto* size = p->ext<std::uint32_t>(id);
        ASSERT_TRUE(size) << "the manifest promises " << id << ", get_ext has nothing";
        EXPECT_GE(*size, 16u) << id << ": the table's size field";
    }
}

void nothing_is_offered_that_was_not_promised(bench& b) {
    auto p = b.make();
    CREATED(p);
    const auto list = promised(b);
    for (const auto& i : known)
        if (std::find(list.begin(), list.end(), i.id) == list.end()) {
            EXPECT_EQ(p->ext<void>(i.id), nullptr) << i.id << " is not in the manifest";
        }
}

void interface_tables_have_no_empty_slot(bench& b) {
    auto p = b.make();
    CREATED(p);
    for (const auto& i : known) {
        const void* table = p->ext<void>(i.id);
        if (!table) continue;
        const auto size = *static_cast<const std::uint32_t*>(table);
        EXPECT_GE(size, 8 + i.functions * sizeof(void*)) << i.id << ": the table is shorter than its first version";
        const auto n = std::min<std::size_t>(i.functions, size > 8 ? (size - 8) / sizeof(void*) : 0);
        const auto* slots = reinterpret_cast<void* const*>(static_cast<const char*>(table) + 8);
        for (std::size_t s = 0; s < n; ++s) {
            EXPECT_TRUE(slots[s]) << i.id << ": function " << s + 1 << " is null";
        }
    }
}

void unknown_interfaces_are_null(bench& b) {
    auto p = b.make();
    CREATED(p);
    const std::string main = promised(b).empty() ? "hf.llm/1" : promised(b).front();
    for (const std::string& id : {std::string("hf.no-such-interface/1"), std::string(), std::string("hf"), main.substr(0, main.size() - 1),
                                  main + "1", main + " ", std::string(100'000, 'x'), std::string("hf.\0/1", 6), std::string("\xff\xfe")})
        EXPECT_EQ(p->ext<void>(id), nullptr) << "\"" << id.substr(0, 40) << "\"";
    const std::string longer = main + "garbage";  // the length counts, not a NUL
    EXPECT_EQ(p->ext<void>(std::string_view(longer).substr(0, main.size())) != nullptr, !promised(b).empty());
    EXPECT_EQ(p->table()->get_ext(p->self(), {nullptr, 0}), nullptr);
}

void get_ext_answers_the_same_from_every_thread(bench& b) {
    auto p = b.make();
    CREATED(p);
    ASSERT_FALSE(promised(b).empty());
    const std::string id = promised(b).front();
    const void* const table = p->ext<void>(id);
    std::vector<std::thread> askers;
    for (int t = 0; t < 4; ++t)
        askers.emplace_back([&] {
            for (int i = 0; i < 100; ++i)
                if (p->ext<void>(id) != table) return ADD_FAILURE() << "another table for " << id, void();
        });
    for (auto& a : askers) a.join();
    ASSERT_TRUE(p->init().ok());
    EXPECT_EQ(p->ext<void>(id), table) << "init changed it";
}

void a_whole_life(bench& b) {
    auto p = b.make();
    for (auto [name, step] : {std::pair{"create", +[](plugin_instance& i) { return i.create(); }},
                              std::pair{"init", +[](plugin_instance& i) { return i.init(); }},
                              std::pair{"start", +[](plugin_instance& i) { return i.start(); }},
                              std::pair{"quiesce", +[](plugin_instance& i) { return i.quiesce(); }},
                              std::pair{"stop", +[](plugin_instance& i) { return i.stop(); }}}) {
        if (!b.at().starts && std::string_view(name) == "start") break;
        const stopwatch w;
        const auto s = step(*p);
        ASSERT_TRUE(s.ok()) << name << ": " << s.code << " " << s.message;
        EXPECT_FALSE(w.passed(soon)) << name << " took more than 5 s";
    }
    EXPECT_TRUE(p->down().ok());
}
void destroy_without_init(bench& b) {
    auto p = b.make();
    CREATED(p);
    EXPECT_TRUE(p->down().ok());
}
void destroy_without_start(bench& b) {
    auto p = b.make();
    CREATED(p);
    const auto s = p->init();
    ASSERT_TRUE(s.ok()) << s.message;
    const auto end = p->destroy();
    EXPECT_TRUE(end.ok()) << end.message;
}
void stop_without_start(bench& b) {
    auto p = b.make();
    CREATED(p);
    ASSERT_TRUE(p->init().ok());
    const auto s = p->stop();
    EXPECT_TRUE(s.ok()) << s.message;
    EXPECT_TRUE(p->down().ok());
}
void stop_without_quiesce(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    auto p = b.up();
    ASSERT_TRUE(p);
    const stopwatch w;
    const auto s = p->stop();
    EXPECT_TRUE(s.ok()) << s.message;
    EXPECT_FALSE(w.passed(soon)) << "stop took more than 5 s";
    EXPECT_TRUE(p->down().ok());
}
void stop_and_quiesce_twice(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    auto p = b.up();
    ASSERT_TRUE(p);
    EXPECT_TRUE(p->quiesce().ok());
    for (const bool stopping : {false, true, true}) {
        const stopwatch w;
        const auto s = stopping ? p->stop() : p->quiesce();  // HF_E_STATE or HF_OK: as it likes, but soon
        if (!s.ok()) {
            EXPECT_FALSE(s.message.empty());
        }
        EXPECT_FALSE(w.passed(soon)) << "the second call took more than 5 s";
    }
    EXPECT_TRUE(p->down().ok());
}
void a_passed_deadline_is_no_reason_to_wait(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    auto p = b.up();
    ASSERT_TRUE(p);
    const stopwatch w;
    p->quiesce(milliseconds(-1000));
    EXPECT_FALSE(w.passed(milliseconds(1500))) << "quiesce waited beyond its deadline";
    EXPECT_TRUE(p->down().ok());
}
void another_life_in_the_same_place(bench& b) {
    for (int i = 0; i < 3; ++i) {
        auto p = b.make("same");
        ASSERT_TRUE(p->create().ok());
        auto s = p->init();
        if (s.ok() && b.at().starts) s = p->start();
        ASSERT_TRUE(s.ok()) << "life " << i + 1 << ": " << s.message;
        EXPECT_TRUE(p->down().ok());
    }
}
void calls_may_come_from_changing_threads(bench& b) {
    auto p = b.make();
    sdk::status s;
    const auto elsewhere = [&](const std::function<void()>& f) {
        std::thread t(f);
        t.join();
    };
    elsewhere([&] { s = p->create(); });
    ASSERT_TRUE(s.ok()) << s.message;
    elsewhere([&] { s = p->init(); });
    ASSERT_TRUE(s.ok()) << s.message;
    if (b.at().starts) elsewhere([&] { s = p->start(); });
    ASSERT_TRUE(s.ok()) << s.message;
    elsewhere([&] { s = p->down(); });
    EXPECT_TRUE(s.ok()) << s.message;
}
void two_instances_are_independent(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    if (b.at().persistent) DOES_NOT_APPLY("one file, one owner");
    auto one = b.up("one");
    auto two = b.up("two");
    ASSERT_TRUE(one && two);
    EXPECT_NE(one->self(), two->self());
    EXPECT_TRUE(one->down().ok());
    EXPECT_TRUE(two->down().ok());
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
    const std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
    auto p = b.make();
    if (p->create(deep).ok()) p->init();
}
void settings_are_not_kept(bench& b) {
    auto p = b.make();
    lent_text settings(b.at().settings);
    const auto made = p->create(settings.text());
    settings.take_back();  // reading them from now on is a segmentation fault
    ASSERT_TRUE(made.ok()) << made.message;
    ASSERT_TRUE(p->init().ok());
    if (b.at().starts) {
        EXPECT_TRUE(p->start().ok());
    }
    EXPECT_TRUE(p->down().ok());
}
void errors_are_written_as_far_as_there_is_room(bench& b) {
    // A caller that wants no error, and an older one whose struct ends after the code.
    fake_host h(b.options());
    for (const char* text : {"{", "[]"}) {
        const hf_instance* out = nullptr;
        if (b.file().entry().create(h.abi(), sdk::bytes(text), &out, nullptr) == HF_OK && out) out->destroy(out->self);
        struct {
            std::uint32_t size = 8;
            std::int32_t code = 0;
            unsigned char beyond[sizeof(hf_error)];
        } small;
        std::memset(small.beyond, 0x5a, sizeof small.beyond);
        out = nullptr;
        if (b.file().entry().create(h.abi(), sdk::bytes(text), &out, reinterpret_cast<hf_error*>(&small)) == HF_OK && out) out->destroy(out->self);
        EXPECT_TRUE(std::all_of(std::begin(small.beyond), std::end(small.beyond), [](unsigned char c) { return c == 0x5a; }))
            << "it wrote beyond the caller's hf_error";
        EXPECT_EQ(small.size, 8u);
    }
}

}  // namespace

const std::vector<test>& lifecycle_tests() {
    static const std::vector<test> all{
        {"manifest_is_complete", &manifest_is_complete},
        {"entry_and_instance_tables_are_full", &entry_and_instance_tables_are_full},
        {"promised_interfaces_are_there", &promised_interfaces_are_there},
        {"nothing_is_offered_that_was_not_promised", &nothing_is_offered_that_was_not_promised},
        {"interface_tables_have_no_empty_slot", &interface_tables_have_no_empty_slot},
        {"unknown_interfaces_are_null", &unknown_interfaces_are_null},
        {"get_ext_answers_the_same_from_every_thread", &get_ext_answers_the_same_from_every_thread},
        {"a_whole_life", &a_whole_life},
        {"destroy_without_init", &destroy_without_init},
        {"destroy_without_start", &destroy_without_start},
        {"stop_without_start", &stop_without_start},
        {"stop_without_quiesce", &stop_without_quiesce},
        {"stop_and_quiesce_twice", &stop_and_quiesce_twice},
        {"a_passed_deadline_is_no_reason_to_wait", &a_passed_deadline_is_no_reason_to_wait},
        {"another_life_in_the_same_place", &another_life_in_the_same_place},
        {"calls_may_come_from_changing_threads", &calls_may_come_from_changing_threads},
        {"two_instances_are_independent", &two_instances_are_independent},
        {"garbage_settings_do_no_harm", &garbage_settings_do_no_harm},
        {"settings_are_not_kept", &settings_are_not_kept},
        {"errors_are_written_as_far_as_there_is_room", &errors_are_written_as_far_as_there_is_room},
    };
    return all;
}

}  // namespace holdfast::testing::contract
