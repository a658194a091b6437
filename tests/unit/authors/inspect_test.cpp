// What inspect reads from files, without running them.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "authors/inspect.hpp"

namespace holdfast::authors {
namespace {

std::string plugin(const std::string& name) { return std::string(HF_TEST_PLUGINS) + "/" + name + ".so"; }
std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
std::string problems(const std::string& path) {
    const auto r = inspect(path, {});
    return r ? dump((*r)["problems"]) : r.error().message;
}

TEST(inspect, tells_what_a_good_plugin_says_of_itself) {
    const auto r = inspect(plugin("counting"), {});
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["id"], "counting");
    EXPECT_EQ((*r)["kind"], "breaker");
    EXPECT_EQ((*r)["interfaces"], json::array({"hf.breaker/1"}));
    EXPECT_EQ((*r)["exports"], json::array({"hf_plugin_entry_v1", "hf_plugin_manifest"}));
    EXPECT_EQ((*r)["abi_supported"], true);
    EXPECT_EQ(string_or(*r, "sha256").size(), 64u);
    EXPECT_TRUE((*r)["problems"].empty()) << (*r)["problems"];
}
TEST(inspect, finds_installed_plugins_by_name) {
    const auto r = inspect("counting", {HF_TEST_PLUGINS});
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["file"], plugin("counting"));
    EXPECT_NE(problems("countin").find("no plugin 'countin'"), std::string::npos);
}
TEST(inspect, names_each_problem) {
    EXPECT_NE(problems(plugin("bad_abi")).find("supports ABI 99 to 99"), std::string::npos);
    EXPECT_NE(problems(plugin("bad_no_entry")).find("hf_plugin_entry_v1"), std::string::npos);
    EXPECT_NE(problems(plugin("bad_no_manifest")).find("hf_plugin_manifest"), std::string::npos);
    EXPECT_NE(problems(plugin("bad_manifest_garbage")).find("the manifest is"), std::string::npos);
    EXPECT_NE(problems("/proc/self/exe").find("exports"), std::string::npos) << "a program is no plugin";
    EXPECT_NE(problems("/etc/passwd").find("not an ELF file"), std::string::npos);
    EXPECT_NE(problems("/nonexistent.so").find("/nonexistent.so"), std::string::npos);
    EXPECT_NE(problems("/tmp/").find("not a regular file"), std::string::npos);
}
TEST(inspect, a_renamed_file_is_told) {
    std::string dir = (std::filesystem::temp_directory_path() / "hf-inspect-XXXXXX").string();
    ASSERT_TRUE(::mkdtemp(dir.data()));
    std::filesystem::copy_file(plugin("counting"), dir + "/other.so");
    EXPECT_NE(problems(dir + "/other.so").find("its id is 'counting'"), std::string::npos);
    std::filesystem::remove_all(dir);
}
TEST(elf_report, sees_protections_and_libraries) {
    const auto r = read_elf_report(slurp(plugin("counting")));
    ASSERT_TRUE(r.readable);
    EXPECT_FALSE(r.text_relocations || r.executable_stack || r.writable_code || r.static_tls);
    EXPECT_TRUE(r.relro);
    EXPECT_NE(std::find(r.libraries.begin(), r.libraries.end(), "libc.so.6"), r.libraries.end());
}
TEST(elf_report, damage_and_truncation_are_survived) {
    const auto good = slurp(plugin("bad_no_manifest"));
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    for (int run = 0; run < 5000; ++run) {
        auto f = good;
        for (int i = 0; i < 8; ++i) f[random() % std::min<std::size_t>(f.size(), 16384)] = static_cast<char>(random());
        (void)read_elf_report(std::string_view(f).substr(0, random() % 4 ? f.size() : random() % f.size()));
    }
}

}  // namespace
}  // namespace holdfast::authors
