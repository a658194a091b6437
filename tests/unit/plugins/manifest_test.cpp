// The ELF reader against good, foreign, cut and damaged files; the manifest against every wrong member.
#include <elf.h>
#include <link.h>

#include <random>

#include "fixture.hpp"
#include "kernel/plugins/manifest.hpp"

namespace holdfast::plugins::testing {
namespace {

using verdict = elf_facts::verdict;

TEST(elf, reads_the_manifest_without_loading) {
    const auto file = slurp(plugin_file("counting"));
    const auto facts = read_elf(file);
    ASSERT_EQ(facts.is, verdict::ok) << facts.detail;
    EXPECT_TRUE(facts.has_entry);
    ASSERT_TRUE(facts.has_manifest);
    auto m = parse_manifest(facts.manifest_text);
    ASSERT_TRUE(m) << m.error().message;
    EXPECT_EQ(m->id, "counting");
    EXPECT_EQ(m->kind, "breaker");
    EXPECT_EQ(m->interfaces, std::vector<std::string>{"hf.breaker/1"});
    EXPECT_TRUE(m->settings_schema.is_object());
    EXPECT_EQ(read_elf_file(plugin_file("counting"))->manifest_text, facts.manifest_text);
}
TEST(elf, missing_symbols_are_found_missing) {
    EXPECT_FALSE(read_elf(slurp(plugin_file("bad_no_entry"))).has_entry);
    EXPECT_TRUE(read_elf(slurp(plugin_file("bad_no_entry"))).has_manifest);
    EXPECT_FALSE(read_elf(slurp(plugin_file("bad_no_manifest"))).has_manifest);
}
TEST(elf, other_machines_and_formats) {
    const auto good = slurp(plugin_file("counting"));
    auto patched = [&](std::size_t at, unsigned char value) {
        auto f = good;
        f[at] = static_cast<char>(value);
        return read_elf(f).is;
    };
    EXPECT_EQ(patched(offsetof(ElfW(Ehdr), e_machine), 0xf7), verdict::other_architecture);
    EXPECT_EQ(patched(EI_CLASS, ELFCLASS32), verdict::other_architecture);
    EXPECT_EQ(patched(EI_DATA, ELFDATA2MSB), verdict::other_architecture);
    EXPECT_EQ(patched(offsetof(ElfW(Ehdr), e_type), ET_EXEC), verdict::malformed);
    EXPECT_EQ(patched(0, 'x'), verdict::not_elf);
    EXPECT_EQ(read_elf("").is, verdict::not_elf);
    EXPECT_EQ(read_elf("#!/bin/sh\n").is, verdict::not_elf);
}
TEST(elf, every_truncation_is_survived) {
    const auto good = slurp(plugin_file("bad_throws"));
    for (std::size_t n = 0; n < 4096; ++n) EXPECT_NE(read_elf(std::string_view(good).substr(0, n)).is, verdict::ok) << n;
    for (std::size_t n = 4096; n < good.size(); n += 97) (void)read_elf(std::string_view(good).substr(0, n));
}
TEST(elf, damage_is_survived) {
    const auto seed = std::random_device{}();
    std::mt19937_64 random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto good = slurp(plugin_file("bad_abi"));
    // Where the walk looks: headers and program headers, the dynamic section, hash and symbol tables (all near the front).
    for (int run = 0; run < 20'000; ++run) {
        auto f = good;
        for (int hits = 1 + static_cast<int>(random() % 8); hits > 0; --hits) {
            const auto at = random() % std::min<std::size_t>(f.size(), run % 2 ? 1024 : 65536);
            const std::uint64_t values[] = {0, ~0ull, random(), f.size(), f.size() - 1, 0x7fffffffffffffff, 1};
            const auto v = values[random() % 7];
            std::memcpy(f.data() + at, &v, std::min<std::size_t>(1u << (random() % 4), f.size() - at));
        }
        const auto facts = read_elf(f);
        if (facts.has_manifest) (void)parse_manifest(facts.manifest_text);
    }
}
TEST(elf, file_errors) {
    EXPECT_EQ(read_elf_file("/nonexistent").error().code, errc::not_found);
    EXPECT_EQ(read_elf_file("/tmp").error().code, errc::io_error);
    EXPECT_EQ(read_elf_file("/dev/null").error().code, errc::io_error);
}

TEST(manifest, each_wrong_member_is_named) {
    const json good{{"id", "a"}, {"kind", "llm"}, {"version", "1"}, {"abi", {1, 1}}};
    ASSERT_TRUE(parse_manifest(good.dump()));
    const std::tuple<const char*, json, const char*> cases[] = {
        {"id", "", "\"id\""}, {"id", 5, "\"id\""}, {"id", "a b", "\"id\""}, {"id", std::string(65, 'x'), "\"id\""}, {"kind", nullptr, "\"kind\""},
        {"version", json::array(), "\"version\""}, {"abi", 1, "\"abi\""}, {"abi", {2, 1}, "\"abi\""}, {"abi", {-1, 1}, "\"abi\""}, {"abi", {1, 1.5}, "\"abi\""},
        {"abi", {1, 1, 1}, "\"abi\""}, {"interfaces", "x", "\"interfaces\""}, {"interfaces", {1}, "\"interfaces\""}, {"settings", "x", "\"settings\""}, {"description", 1, "\"description\""}};
    for (const auto& [key, value, what] : cases) {
        auto j = good;
        j[key] = value;
        auto r = parse_manifest(j.dump());
        ASSERT_FALSE(r) << j;
        EXPECT_NE(r.error().message.find(what), std::string::npos) << r.error().message;
    }
    EXPECT_FALSE(parse_manifest(""));
    EXPECT_FALSE(parse_manifest("[]"));
    EXPECT_FALSE(parse_manifest(std::string(100'000, '[')));
}

TEST(discovery, finds_lists_and_suggests) {
    scratch first, second;
    first.copy("counting", "counting.so");
    second.copy("counting", "libcounting.so");
    second.copy("bad_calls", "bad_calls.so");
    std::ofstream(second.path + "/broken.so") << "no library";
    std::ofstream(second.path + "/notes.txt") << "not looked at";
    discovery d({first.path, second.path, "/nonexistent"}, false);
    EXPECT_EQ(d.find("counting").value(), first.path + "/counting.so");
    EXPECT_EQ(d.find("bad_calls").value(), second.path + "/bad_calls.so");
    EXPECT_EQ(d.find("./bad_calls.so", second.path).value(), second.path + "/./bad_calls.so");
    auto wrong = d.find("countin");
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("did you mean 'counting'"), std::string::npos) << wrong.error().message;
    const auto all = d.list();
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(all[0].about.id, "bad_calls");
    EXPECT_NE(all[1].problem.find("check 'architecture' failed"), std::string::npos) << all[1].problem;
    EXPECT_FALSE(all[2].shadowed);
    EXPECT_TRUE(all[3].shadowed);
    setenv(plugin_path_variable, (second.path + "::" + first.path).c_str(), 1);
    EXPECT_EQ(discovery({first.path}).find("counting").value(), second.path + "/libcounting.so");
    unsetenv(plugin_path_variable);
}

}  // namespace
}  // namespace holdfast::plugins::testing
