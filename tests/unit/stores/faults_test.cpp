// What store-sqlite does when the disk fails, and what shares a commit.
#include <thread>

#include "unit/stores/faulty_vfs.hpp"
#include "unit/stores/support.hpp"

namespace {

using namespace stores_test;

struct store_sqlite_faults : ::testing::Test {
    directory d;
    store_sqlite_faults() { faulty_vfs::install(); }
    ~store_sqlite_faults() override {
        faulty_vfs::hold_syncs(false);
        faulty_vfs::disk_full(false);
        faulty_vfs::fail_syncs(0);
        faulty_vfs::fail_writes(0);
    }
};

TEST_F(store_sqlite_faults, a_full_disk_stops_writing_only_and_writing_resumes_by_itself) {
    auto c = sqlite(d.file());
    ASSERT_EQ(c.append("s", 1), HF_OK);
    faulty_vfs::disk_full(true);
    const auto refused = c.call("append", client::events("s", 2));
    EXPECT_EQ(refused.code, HF_E_READ_ONLY);
    EXPECT_NE(refused.message.find("the disk is full"), std::string::npos) << refused.message;
    EXPECT_EQ(c.call("put", {{"table", "t"}, {"key", "k"}, {"value", 1}}).code, HF_E_READ_ONLY);
    EXPECT_EQ(c.last("s"), 1);
    EXPECT_EQ(c.status()["writable"], false);
    EXPECT_NE(c.status()["reason"].get<std::string>().find("the disk is full"), std::string::npos);
    faulty_vfs::disk_full(false);
    EXPECT_TRUE(c.becomes_writable());
    EXPECT_EQ(c.status()["reason"], "");
    EXPECT_EQ(c.last("s"), 1) << "a refused write came back";
    EXPECT_EQ(c.append("s", 2), HF_OK);
    EXPECT_TRUE(c.instance().down().ok());
    auto again = sqlite(d.file());
    EXPECT_EQ(again.last("s"), 2);
}

TEST_F(store_sqlite_faults, a_failed_sync_is_not_acknowledged_and_the_file_is_opened_anew) {
    auto c = sqlite(d.file());
    ASSERT_EQ(c.append("s", 1), HF_OK);
    faulty_vfs::fail_syncs(1);
    const auto failed = c.call("append", client::events("s", 2));
    EXPECT_EQ(failed.code, HF_E_IO) << failed.message;
    EXPECT_TRUE(c.instance().host().wait_for_log("opening the store anew"));
    ASSERT_TRUE(c.becomes_writable());
    const auto last = c.last("s");
    EXPECT_TRUE(last == 1 || last == 2);
    EXPECT_EQ(c.append("s", 3), HF_OK);
    EXPECT_NE(c.status()["last_error"], "");
}

TEST_F(store_sqlite_faults, failing_writes_are_not_acknowledged) {
    auto c = sqlite(d.file());
    ASSERT_EQ(c.append("s", 1), HF_OK);
    faulty_vfs::fail_writes(1);
    EXPECT_EQ(c.append("s", 2), HF_E_IO);
    ASSERT_TRUE(c.becomes_writable());
    EXPECT_EQ(c.last("s"), 1);
    EXPECT_EQ(c.append("s", 2), HF_OK);
}

TEST_F(store_sqlite_faults, a_disk_that_stays_broken_refuses_and_later_recovers) {
    auto c = sqlite(d.file());
    ASSERT_EQ(c.append("s", 1), HF_OK);
    faulty_vfs::fail_syncs(1'000'000);
    EXPECT_EQ(c.append("s", 2), HF_E_IO);
    EXPECT_LT(c.append("s", 3), 0);
    faulty_vfs::fail_syncs(0);
    ASSERT_TRUE(c.becomes_writable());
    EXPECT_EQ(c.append("s", 4), HF_OK);
}

TEST_F(store_sqlite_faults, calls_that_came_meanwhile_share_one_commit_and_fail_alone) {
    auto c = sqlite(d.file());
    faulty_vfs::hold_syncs(true);
    call_probe first, second, repeated, invalid, row, read;
    c.start(first, "append", client::events("s", 1));
    ASSERT_TRUE(faulty_vfs::wait_for_held_sync());
    EXPECT_FALSE(first.finished()) << "acknowledged before it was on the disk";
    c.start(second, "append", client::events("s", 2));
    c.start(repeated, "append", client::events("s", 2));
    c.start(invalid, "append", client::events("s", 1));
    c.start(row, "put", {{"table", "t"}, {"key", "k"}, {"value", 1}});
    c.start(read, "last", {{"stream", "s"}});
    const double commits = c.instance().host().metric("store_commits");
    faulty_vfs::hold_syncs(false);
    EXPECT_EQ(client::of(first).code, HF_OK);
    EXPECT_EQ(client::of(second).code, HF_OK);
    EXPECT_EQ(client::of(repeated).code, HF_E_EXISTS);
    EXPECT_EQ(client::of(invalid).code, HF_E_EXISTS);
    EXPECT_EQ(client::of(row).code, HF_OK);
    EXPECT_EQ(client::of(read).result["last"], 2);
    EXPECT_EQ(c.instance().host().metric("store_commits"), commits + 2);
}

TEST_F(store_sqlite_faults, a_reader_never_sees_what_was_not_committed) {
    auto c = sqlite(d.file());
    ASSERT_EQ(c.append("s", 1), HF_OK);
    faulty_vfs::hold_syncs(true);
    call_probe blocker, lost, read;
    c.start(blocker, "put", {{"table", "t"}, {"key", "k"}, {"value", 1}});
    ASSERT_TRUE(faulty_vfs::wait_for_held_sync());
    c.start(lost, "append", client::events("s", 2));
    c.start(read, "last", {{"stream", "s"}});
    faulty_vfs::disk_full(true);
    faulty_vfs::hold_syncs(false);
    client::of(blocker);
    EXPECT_EQ(client::of(lost).code, HF_E_READ_ONLY);
    EXPECT_EQ(client::of(read).result["last"], 1);
}

TEST_F(store_sqlite_faults, the_queue_is_bounded) {
    auto c = sqlite(d.file());
    faulty_vfs::hold_syncs(true);
    call_probe first;
    c.start(first, "append", client::events("s", 1));
    ASSERT_TRUE(faulty_vfs::wait_for_held_sync());
    std::vector<call_probe> waiting(10'000);
    for (auto& p : waiting) c.start(p, "last", {{"stream", "s"}});
    call_probe beyond;
    c.start(beyond, "last", {{"stream", "s"}});
    EXPECT_TRUE(beyond.finished());
    EXPECT_EQ(beyond.outcome().code, HF_E_OVERLOADED);
    faulty_vfs::hold_syncs(false);
    for (auto& p : waiting) ASSERT_EQ(client::of(p).result["last"], 1);
    EXPECT_EQ(c.last("s"), 1);
}

}  // namespace
