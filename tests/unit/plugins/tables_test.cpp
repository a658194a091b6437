// Tables of plugins that are older, newer or incomplete.
#include <gtest/gtest.h>

#include <cstddef>

#include "holdfast/ext/llm.h"
#include "holdfast/ext/transport.h"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/detail/tables.hpp"

namespace holdfast::plugins::detail {
namespace {

TEST(tables, null_slots_are_filled) {
    const hf_llm theirs{sizeof(hf_llm), 0, nullptr, nullptr};
    std::string why;
    auto done = complete_ext(HF_EXT_LLM, &theirs, why);
    ASSERT_TRUE(done) << why;
    const auto& t = *reinterpret_cast<const hf_llm*>(done.get());
    hf_error e = empty_hf_error();
    EXPECT_EQ(t.submit(nullptr, nullptr, &e), HF_E_UNSUPPORTED);
    EXPECT_NE(std::string(e.message), "");
    t.cancel(nullptr, 1);
}
TEST(tables, a_shorter_table_is_an_older_plugin) {
    const hf_transport theirs{offsetof(hf_transport, send), 0, [](void*, uint64_t, hf_bytes, const hf_transport_sink*, hf_error*) -> int32_t { return 7; },
                              [](void*, uint64_t, hf_bytes, hf_error*) -> int32_t { return 8; }, nullptr, nullptr};
    std::string why;
    auto done = complete_ext(HF_EXT_TRANSPORT, &theirs, why);
    ASSERT_TRUE(done) << why;
    const auto& t = *reinterpret_cast<const hf_transport*>(done.get());
    EXPECT_EQ(t.size, sizeof(hf_transport));
    EXPECT_EQ(t.open(nullptr, 0, {}, nullptr, nullptr), 7);
    EXPECT_EQ(t.send(nullptr, 0, {}, nullptr), HF_E_UNSUPPORTED) << "beyond their size: not read";
}
TEST(tables, absurd_sizes_are_refused) {
    std::string why;
    for (const std::uint32_t size : {0u, 7u, 70'000u, 0xffffffffu}) {
        hf_llm theirs{size, 0, nullptr, nullptr};
        EXPECT_FALSE(complete_ext(HF_EXT_LLM, &theirs, why)) << size;
    }
    EXPECT_FALSE(complete_ext("hf.unknown/1", &why, why));
    EXPECT_FALSE(complete_instance(nullptr));
    hf_entry no_create{sizeof(hf_entry), 1, nullptr, nullptr, nullptr};
    EXPECT_FALSE(complete_entry(&no_create));
}
TEST(tables, every_stub_of_an_instance_can_be_called) {
    hf_instance bare{};
    bare.size = 8;
    auto t = complete_instance(&bare);
    ASSERT_TRUE(t);
    hf_error e = empty_hf_error();
    EXPECT_EQ(t->init(t->self, &e) | t->start(t->self, &e) | t->quiesce(t->self, 0, &e) | t->stop(t->self, &e), HF_OK);
    EXPECT_EQ(t->get_ext(t->self, as_str(HF_EXT_LLM)), nullptr);
    t->destroy(t->self);
}

}  // namespace
}  // namespace holdfast::plugins::detail
