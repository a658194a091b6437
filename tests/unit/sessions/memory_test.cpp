// What one session costs in memory: known, live and at rest, hibernated. Counted by the allocator: what is given back when the host
// ends, the rows of the store aside. The bounds hold what the host reaches (tests/bench/RESULTS.md), with a little room.
#include <malloc.h>

#include "fakes.hpp"

namespace holdfast::sessions::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool counted = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool counted = false;
#else
constexpr bool counted = true;
#endif
#else
constexpr bool counted = true;
#endif

constexpr int sessions = 200;
constexpr int turns = 4, words = 100;
constexpr std::size_t text_bytes = 2 * turns * 600;  // of each session

struct memory_test : ::testing::Test {
    std::shared_ptr<disk> rows = std::make_shared<disk>();
    std::shared_ptr<deeds> world = std::make_shared<deeds>();
    session_options options;
    std::unique_ptr<life> host;

    void SetUp() override {
        if (!counted) GTEST_SKIP() << "a sanitizer's allocator counts otherwise";
        options.hibernate_after = seconds(1000);
        options.keep_events = seconds(60);
        begin();
        for (int i = 0; i < sessions; ++i) talk(i);
    }
    static std::string id(int i) { return "sess-" + std::to_string(10'000'000'000 + i); }
    void begin() {
        static int lives = 0;
        host = std::make_unique<life>(rows, world, options, seconds(++lives));
        host->boot();
    }
    void talk(int i) {
        host->must("session.create", {{"session_id", id(i)}});
        std::string all;
        for (int w = 0; w < words; ++w) all += "words ";
        for (int k = 0; k < turns; ++k) {
            ASSERT_TRUE(host->send(id(i), std::string(600, 'q')));
            for (int w = 0; w < words; ++w) {
                host->model->speak("words ");
                host->run();
            }
            host->model->end(text_answer(all));
            host->run();
        }
    }
    /// Bytes for each session that the end of the host gives back.
    std::size_t freed() {
        host->store->read_only = true;  // the rows are not to grow by snapshots meanwhile
        const std::size_t before = mallinfo2().uordblks;
        host.reset();
        const std::size_t each = (before - mallinfo2().uordblks) / sessions;
        std::printf("RESULT session_heap mode=%s n=%d bytes_per=%zu text_bytes=%zu\n", ::testing::UnitTest::GetInstance()->current_test_info()->name(),
                    sessions, each, text_bytes);  // read by tests/bench
        return each;
    }
};

TEST_F(memory_test, at_rest_after_four_turns) {
    EXPECT_GT(host->bus.stats().retained_bytes / sessions, text_bytes) << "kept for who attaches again";
    host->rt.advance(seconds(70));
    EXPECT_EQ(host->dir->stats().live, static_cast<std::size_t>(sessions));
    EXPECT_EQ(host->bus.replay("session:" + id(0), 1).events.size(), 0u);
    EXPECT_LT(freed(), text_bytes + 3'300);
}

TEST_F(memory_test, restored_from_the_store) {
    begin();
    for (int i = 0; i < sessions; ++i) host->snapshot(id(i));
    host->rt.advance(seconds(70));
    EXPECT_EQ(host->dir->stats().live, static_cast<std::size_t>(sessions));
    EXPECT_LT(freed(), text_bytes + 3'300);
}

TEST_F(memory_test, hibernated) {
    host->rt.advance(seconds(3000));
    EXPECT_EQ(host->dir->stats().live, 0u);
    host->end();
    begin();
    for (int i = 0; i < sessions; ++i) host->snapshot(id(i));
    host->rt.advance(seconds(3000));
    EXPECT_EQ(host->dir->stats().live, 0u);
    EXPECT_LT(freed(), 400u);
}

TEST_F(memory_test, known_and_never_asked_for) {
    begin();
    EXPECT_EQ(host->dir->stats().known, static_cast<std::size_t>(sessions));
    EXPECT_LT(freed(), 256u);
}

}  // namespace
}  // namespace holdfast::sessions::testing
