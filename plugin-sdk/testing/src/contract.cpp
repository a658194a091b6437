#include "holdfast/testing/contract.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "holdfast/json.hpp"

namespace holdfast::testing::contract {

namespace {
class registered : public ::testing::Test {
  public:
    registered(check what, plugin_case c, std::shared_ptr<plugin_file> f) : what_(what), case_(std::move(c)), file_(std::move(f)) {}
    void TestBody() override {
        const outcome o = run_check(what_, case_, [this](const plugin_case&) { return file_; });
        for (const std::string& f : o.failures) ADD_FAILURE() << f;
        if (!o.skipped.empty() && o.failures.empty()) GTEST_SKIP() << o.skipped;
    }

  private:
    const check what_;
    const plugin_case case_;
    const std::shared_ptr<plugin_file> file_;  // second owner: the other tests
};
}  // namespace

void add(const plugin_case& c) {
    const auto file = std::make_shared<plugin_file>(c.path);
    for (const check& what : checks_for(sdk::json_text(file->manifest(), "kind")))
        ::testing::RegisterTest(what.group, what.name, nullptr, c.path.c_str(), __FILE__, __LINE__,
                                [what, c, file]() -> ::testing::Test* { return new registered(what, c, file); });
}

int run(const plugin_case& c) {
    add(c);
    return RUN_ALL_TESTS();
}

}  // namespace holdfast::testing::contract
