// Each check before load, failing alone.
#include "fixture.hpp"
#include "kernel/plugins/verify.hpp"

namespace holdfast::plugins::testing {
namespace {

struct verification : ::testing::Test {
    scratch dir;
    result<verified_plugin> check(const std::string& path, std::function<void(verify_request&)> adjust = {}) {
        verify_request q;
        q.name = "x";
        q.path = path;
        if (adjust) adjust(q);
        return verify(q);
    }
    void expect_refused(const result<verified_plugin>& r, const std::string& by) {
        ASSERT_FALSE(r);
        EXPECT_EQ(r.error().code, errc::plugin_refused);
        EXPECT_NE(r.error().message.find("plugin 'x' ("), std::string::npos) << r.error().message;
        EXPECT_NE(r.error().message.find("check '" + by + "' failed: "), std::string::npos) << r.error().message;
    }
};

TEST_F(verification, a_good_file_passes) {
    auto r = check(dir.copy("counting", "c.so"));
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->about.id, "counting");
    EXPECT_EQ(r->sha256.size(), 64u);
}
TEST_F(verification, file) {
    expect_refused(check(dir.path + "/none.so"), "file");
    expect_refused(check(dir.path), "file");
    ASSERT_EQ(mkfifo((dir.path + "/pipe.so").c_str(), 0600), 0);
    expect_refused(check(dir.path + "/pipe.so"), "file");
}
TEST_F(verification, architecture) {
    const auto file = dir.copy("counting", "c.so");
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(18).put('\xb7').put('\0');  // e_machine: AArch64
    expect_refused(check(file), "architecture");
    fs::resize_file(file, 100);
    expect_refused(check(file), "architecture");
}
TEST_F(verification, manifest_abi_and_entry) {
    expect_refused(check(plugin_file("bad_no_manifest")), "manifest");
    expect_refused(check(plugin_file("bad_manifest_garbage")), "manifest");
    expect_refused(check(plugin_file("bad_abi")), "abi");
    expect_refused(check(plugin_file("bad_no_entry")), "entry");
    expect_refused(check(plugin_file("counting"), [](auto& q) { q.expected_id = "other"; }), "manifest");
}
TEST_F(verification, permissions_of_the_file) {
    const auto file = dir.copy("counting", "c.so");
    chmod(file.c_str(), 0757);
    auto r = check(file);
    expect_refused(r, "permissions");
    EXPECT_NE(r.error().message.find("chmod go-w"), std::string::npos);
    chmod(file.c_str(), 0775);
    expect_refused(check(file), "permissions");
    chmod(file.c_str(), 0755);
    EXPECT_TRUE(check(file));
}
TEST_F(verification, permissions_of_every_directory_above) {
    fs::create_directories(dir.path + "/a/b");
    const auto file = dir.copy("counting", "a/b/c.so");
    chmod((dir.path + "/a").c_str(), 0777);
    expect_refused(check(file), "permissions");
    chmod((dir.path + "/a").c_str(), 01777);  // sticky, like /tmp: others can add, not exchange
    EXPECT_TRUE(check(file));
    fs::create_symlink(dir.path + "/a/b/c.so", dir.path + "/link.so");
    chmod((dir.path + "/a").c_str(), 0777);
    expect_refused(check(dir.path + "/link.so"), "permissions");
}
TEST_F(verification, ownership) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can give files away";
    const auto file = dir.copy("counting", "c.so");
    ASSERT_EQ(chown(file.c_str(), 12345, 12345), 0);
    expect_refused(check(file), "ownership");
    ASSERT_EQ(chown(file.c_str(), 0, 0), 0);
    ASSERT_EQ(chown(dir.path.c_str(), 12345, 12345), 0);
    expect_refused(check(file), "ownership");
    ASSERT_EQ(chown(dir.path.c_str(), 0, 0), 0);
}
TEST_F(verification, sha256_pin) {
    const auto file = dir.copy("counting", "c.so");
    auto hash = check(file)->sha256;
    EXPECT_TRUE(check(file, [&](auto& q) { q.sha256 = hash; }));
    for (auto& c : hash) c = static_cast<char>(std::toupper(c));
    EXPECT_TRUE(check(file, [&](auto& q) { q.sha256 = hash; })) << "case does not matter";
    expect_refused(check(file, [](auto& q) { q.sha256 = std::string(64, '0'); }), "sha256");
    std::ofstream(file, std::ios::app) << 'x';
    expect_refused(check(file, [&](auto& q) { q.sha256 = hash; }), "sha256");
}
TEST_F(verification, settings_through_the_given_validator) {
    const json settings{{"wrong", 1}};
    json seen;
    auto with = [&](auto& q) {
        q.settings = &settings;
        q.validate = [&](const json& schema, const json&) -> result<void> {
            seen = schema;
            return fail(errc::config_invalid, "/wrong: unknown member");
        };
    };
    auto r = check(plugin_file("counting"), with);
    expect_refused(r, "settings");
    EXPECT_NE(r.error().message.find("/wrong: unknown member"), std::string::npos);
    EXPECT_TRUE(seen.contains("properties"));
    const json array = json::array();
    expect_refused(check(plugin_file("counting"), [&](auto& q) { q.settings = &array; }), "settings");
}
TEST_F(verification, the_first_failing_check_is_the_one_named) {
    EXPECT_EQ(verification_checks(), (std::vector<std::string>{"file", "architecture", "manifest", "abi", "entry", "ownership", "permissions", "sha256", "settings"}));
    const auto file = dir.copy("bad_abi", "c.so");
    chmod(file.c_str(), 0777);
    expect_refused(check(file, [](auto& q) { q.sha256 = "0"; }), "abi");
}

}  // namespace
}  // namespace holdfast::plugins::testing
