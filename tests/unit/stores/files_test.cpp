// What store-sqlite does with the files it finds.
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/stores/support.hpp"

namespace {

using namespace stores_test;

void sql(const std::string& file, const char* text) {
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, text, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
}
std::int64_t number(const std::string& file, const char* text) {
    sqlite3* db = nullptr;
    sqlite3_stmt* s = nullptr;
    EXPECT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
    EXPECT_EQ(sqlite3_prepare_v2(db, text, -1, &s, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    const std::int64_t out = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    sqlite3_finalize(s);
    sqlite3_close(db);
    return out;
}

TEST(store_sqlite_files, the_default_is_in_the_data_directory_and_private) {
    client c(PLUGINS "/store-sqlite.so", json::object());
    ASSERT_TRUE(c.up().ok()) << c.up().message;
    const std::string path = c.status()["path"];
    EXPECT_EQ(path, c.instance().host().data_dir() + "/holdfast.db");
    EXPECT_EQ(c.append("s", 1), HF_OK);
    for (const char* end : {"", "-wal"}) {
        struct stat st {};
        ASSERT_EQ(::stat((path + end).c_str(), &st), 0) << end;
        EXPECT_EQ(st.st_mode & 0777, 0600u) << end;
    }
}

TEST(store_sqlite_files, after_a_stop_one_file_holds_everything) {
    directory d;
    {
        auto c = sqlite(d.file());
        for (int i = 1; i <= 20; ++i) EXPECT_EQ(c.append("s", i), HF_OK);
        EXPECT_TRUE(c.instance().down().ok());
    }
    EXPECT_FALSE(std::filesystem::exists(d.file() + "-wal"));
    EXPECT_EQ(number(d.file(), "select count(*) from events"), 20);
    EXPECT_EQ(number(d.file(), "pragma user_version"), 1);
}

TEST(store_sqlite_files, a_newer_file_is_refused_and_not_touched) {
    directory d;
    { auto c = sqlite(d.file()); }
    sql(d.file(), "pragma user_version=7");
    const auto size = std::filesystem::file_size(d.file());
    auto c = sqlite(d.file());
    EXPECT_EQ(c.up().code, HF_E_INVALID);
    EXPECT_NE(c.up().message.find("written by a newer Holdfast (its version is 7"), std::string::npos) << c.up().message;
    EXPECT_EQ(std::filesystem::file_size(d.file()), size);
    EXPECT_EQ(number(d.file(), "pragma user_version"), 7);
}

TEST(store_sqlite_files, a_database_of_another_program_is_refused) {
    directory d;
    sql(d.file(), "create table theirs(x); pragma user_version=1");
    auto c = sqlite(d.file());
    EXPECT_EQ(c.up().code, HF_E_INVALID);
    EXPECT_NE(c.up().message.find("another program"), std::string::npos) << c.up().message;
}

TEST(store_sqlite_files, a_file_that_is_no_database_is_corrupt) {
    directory d;
    std::ofstream(d.file()) << std::string(8192, 'x');
    auto c = sqlite(d.file());
    EXPECT_EQ(c.up().code, HF_E_CORRUPT) << c.up().message;
    EXPECT_NE(c.up().message.find(d.file()), std::string::npos);
    EXPECT_NE(c.up().message.find("move it aside"), std::string::npos);
    EXPECT_EQ(std::filesystem::file_size(d.file()), 8192u) << "it was touched";
}

TEST(store_sqlite_files, damage_inside_is_found_at_opening) {
    directory d;
    {
        auto c = sqlite(d.file());
        for (int i = 1; i <= 200; ++i) c.append("s", i, {{"text", std::string(2000, 'x')}});
    }
    const auto size = std::filesystem::file_size(d.file());
    ASSERT_GT(size, 100'000u);
    {
        std::fstream f(d.file(), std::ios::in | std::ios::out | std::ios::binary);
        for (std::uint64_t at = 8 * 4096; at < size; at += 4096) {
            f.seekp(static_cast<std::streamoff>(at));
            f << std::string(200, '\x7f');
        }
    }
    auto c = sqlite(d.file());
    EXPECT_EQ(c.up().code, HF_E_CORRUPT) << c.up().message;
}

TEST(store_sqlite_files, a_missing_directory_is_named) {
    directory d;
    auto c = sqlite(d.path + "/none/store.db");
    EXPECT_EQ(c.up().code, HF_E_INVALID);
    EXPECT_NE(c.up().message.find("the directory '" + d.path + "/none' of the store does not exist"), std::string::npos) << c.up().message;
}

TEST(store_sqlite_files, a_second_user_is_refused_while_the_first_runs) {
    directory d;
    auto first = sqlite(d.file());
    ASSERT_EQ(first.append("s", 1), HF_OK);
    auto second = sqlite(d.file(), {{"busy_timeout_ms", 0}});
    EXPECT_EQ(second.up().code, HF_E_UNAVAILABLE) << second.up().message;
    EXPECT_NE(second.up().message.find("in use by another process"), std::string::npos);
    EXPECT_EQ(first.append("s", 2), HF_OK);
}

/// Acts as a user without rights while it lives; root may write everything.
struct nobody {
    bool became = ::geteuid() == 0 && ::seteuid(65534) == 0;
    ~nobody() { back(); }
    void back() {
        if (std::exchange(became, false) && ::seteuid(0) != 0) std::abort();
    }
};

TEST(store_sqlite_files, a_read_only_file_is_read_and_written_again_once_it_may_be) {
    directory d;
    {
        auto c = sqlite(d.file());
        ASSERT_EQ(c.append("s", 1, {{"a", 1}}), HF_OK);
        ASSERT_EQ(c.call("put", {{"table", "t"}, {"key", "k"}, {"value", 5}}).code, HF_OK);
    }
    ASSERT_EQ(::chmod(d.file().c_str(), 0444), 0);
    ASSERT_EQ(::chmod(d.path.c_str(), 0555), 0);
    nobody who;
    {
        auto c = sqlite(d.file());
        ASSERT_TRUE(c.up().ok()) << c.up().message;
        EXPECT_EQ(c.append("s", 2), HF_E_READ_ONLY);
        EXPECT_EQ(c.last("s"), 1);
        EXPECT_EQ(c.call("get", {{"table", "t"}, {"key", "k"}}).result["value"], 5);
        EXPECT_EQ(c.status()["writable"], false);
        EXPECT_NE(c.status()["reason"].get<std::string>().find("read-only"), std::string::npos);
        who.back();
        ASSERT_EQ(::chmod(d.path.c_str(), 0777), 0);
        ASSERT_EQ(::chmod(d.file().c_str(), 0666), 0);
        EXPECT_TRUE(c.becomes_writable());
        EXPECT_EQ(c.append("s", 2), HF_OK);
    }
}

}  // namespace
