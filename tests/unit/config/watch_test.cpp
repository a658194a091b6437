#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>

#include "kernel/config/watch.hpp"

namespace holdfast::config {
namespace {

namespace fs = std::filesystem;

struct file_watch_test : testing::Test {
    fs::path dir = fs::temp_directory_path() / ("holdfast-watch-" + std::to_string(::getpid()));
    supervise::pool_runtime rt;
    std::mutex mutex;
    std::condition_variable changed;
    int changes = 0;

    void SetUp() override { fs::create_directories(dir); }
    void TearDown() override { fs::remove_all(dir); }
    void write(const char* name, const char* text) { std::ofstream(dir / name) << text; }
    std::unique_ptr<file_watch> watch() {
        auto w = file_watch::create(rt, (dir / "c.json").string(), [this] {
            std::lock_guard lock(mutex);
            ++changes;
            changed.notify_all();
        });
        EXPECT_TRUE(w);
        return std::move(*w);
    }
    bool wait_for(int n) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, seconds(10), [&] { return changes >= n; });
    }
};

TEST_F(file_watch_test, sees_writes_and_replacements_of_that_file_only) {
    write("c.json", "1");
    auto w = watch();
    write("other.json", "x");
    write("c.json", "2");
    ASSERT_TRUE(wait_for(1));
    write("c.json.new", "3");
    fs::rename(dir / "c.json.new", dir / "c.json");
    ASSERT_TRUE(wait_for(2));
    EXPECT_EQ(changes, 2);
}

TEST_F(file_watch_test, a_folder_is_watched_for_every_file_and_for_removals) {
    auto w = file_watch::create(rt, dir.string() + "/", [this] {
        std::lock_guard lock(mutex);
        ++changes;
        changed.notify_all();
    });
    ASSERT_TRUE(w);
    write("a.json", "1");
    ASSERT_TRUE(wait_for(1));
    fs::remove(dir / "a.json");
    ASSERT_TRUE(wait_for(2));
}

TEST_F(file_watch_test, a_missing_directory_is_an_error) {
    auto w = file_watch::create(rt, (dir / "no" / "c.json").string(), [] {});
    ASSERT_FALSE(w);
    EXPECT_EQ(w.error().code, errc::io_error);
}

}  // namespace
}  // namespace holdfast::config
