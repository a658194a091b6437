// A plugin author's own test beside the contract tests.
#include <gtest/gtest.h>

#include "holdfast/ext/llm.h"
#include "holdfast/testing/contract.hpp"
#include "holdfast/testing/loader.hpp"

using namespace holdfast::testing;

TEST(my_llm, says_how_much_it_heard) {
    const plugin_file file(MY_LLM);
    plugin_instance p(file, {});
    ASSERT_TRUE(p.up().ok());
    call_probe call;
    call.submit(p.ext<hf_llm>(HF_EXT_LLM)->submit, p.self(), "chat", R"({"messages":[]})");
    ASSERT_TRUE(call.wait());
    EXPECT_NE(call.result().find("15 bytes"), std::string::npos) << call.result();
}

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    contract::add({.path = MY_LLM});
    return RUN_ALL_TESTS();
}
