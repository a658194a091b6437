#include "fixture.hpp"
#include "kernel/plugins/loader.hpp"

namespace holdfast::plugins::testing {
namespace {

struct loading : ::testing::Test {
    scratch dir;
    std::shared_ptr<loader> files = loader::create(dir.path + "/run").value();
    verified_plugin verified(const std::string& path) {
        verify_request q;
        q.name = "x";
        q.path = path;
        auto v = verify(q);
        EXPECT_TRUE(v) << v.error().message;
        return *v;
    }
};

TEST_F(loading, the_same_bytes_are_loaded_once_and_others_anew) {
    const auto file = dir.copy("counting", "c.so");
    auto one = files->load(verified(file), "x");
    ASSERT_TRUE(one) << one.error().message;
    EXPECT_EQ(*one, *files->load(verified(file), "x"));
    std::ofstream(file, std::ios::app) << 'x';
    auto two = files->load(verified(file), "x");
    ASSERT_TRUE(two);
    EXPECT_NE(*one, *two);
    EXPECT_NE((*one)->path(), (*two)->path());
    EXPECT_EQ(files->loaded(), 2u);
}
TEST_F(loading, a_file_that_changes_after_the_check_is_refused) {
    const auto file = dir.copy("bad_slow", "c.so");
    const auto v = verified(file);
    std::ofstream(file, std::ios::app) << 'x';
    auto r = files->load(v, "x");
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("check 'sha256' failed"), std::string::npos) << r.error().message;
    EXPECT_EQ(files->loaded(), 0u);
    EXPECT_TRUE(fs::is_empty(dir.path + "/run/generations"));
}
TEST_F(loading, an_exchanged_file_changes_nothing) {
    const auto file = dir.copy("bad_slow", "c.so");
    const auto v = verified(file);
    fs::remove(file);
    std::ofstream(file) << "something else";
    auto r = files->load(v, "x");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)->about().id, "bad_slow");
}
TEST_F(loading, what_the_dynamic_loader_refuses_is_said_in_its_words) {
    auto bytes = slurp(plugin_file("bad_slow"));
    const auto at = bytes.find("libc.so.6");
    ASSERT_NE(at, std::string::npos);
    bytes[at + 3] = 'X';
    const auto file = dir.path + "/c.so";
    std::ofstream(file, std::ios::binary) << bytes;
    auto r = files->load(verified(file), "x");
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("check 'load' failed"), std::string::npos) << r.error().message;
    EXPECT_NE(r.error().message.find("libX.so.6"), std::string::npos) << r.error().message;
}
TEST_F(loading, a_file_cut_between_check_and_load_is_not_given_to_the_dynamic_loader) {
    const auto file = dir.copy("bad_slow", "c.so");
    auto v = verified(file);
    fs::resize_file(file, 8192);
    char text[65] = {};
    FILE* p = popen(("sha256sum " + file).c_str(), "r");
    ASSERT_EQ(fread(text, 1, 64, p), 64u);
    pclose(p);
    v.sha256 = text;  // as if it had been cut between the first look and the hash
    auto r = files->load(v, "x");
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("check 'architecture' failed"), std::string::npos) << r.error().message;
}
TEST_F(loading, unload_needs_proof) {
    auto g = files->load(verified(dir.copy("plugins_probe", "c.so")), "x").value();
    ASSERT_TRUE(g->initialise());
    g->enter();
    EXPECT_EQ(files->unload(g).error().code, errc::running);
    g->leave();
    g->keep_for_ever();
    EXPECT_EQ(files->unload(g).error().code, errc::forbidden);
}
TEST_F(loading, copies_of_dead_processes_are_removed) {
    const auto old = dir.path + "/run/generations/999999999-1-x.so";
    std::ofstream(old).put('x');
    const auto mine = dir.path + "/run/generations/" + std::to_string(getpid()) + "-1-x.so";
    std::ofstream(mine).put('x');
    files = loader::create(dir.path + "/run").value();
    EXPECT_FALSE(fs::exists(old));
    EXPECT_TRUE(fs::exists(mine));
}

}  // namespace
}  // namespace holdfast::plugins::testing
