#include "holdfast/testing/contract.hpp"

#include <filesystem>
#include <stdexcept>

#include "contract_suite.hpp"

namespace holdfast::testing::contract {

namespace {
void replace_all(std::string& text, std::string_view what, const std::function<std::string()>& with) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos;) {
        const std::string by = with();
        text.replace(at, what.size(), by);
        at += by.size();
    }
}
}  // namespace

bench::bench(const plugin_case& c, std::shared_ptr<plugin_file> file) : case_(c), file_(std::move(file)) {
    dir_ = (std::filesystem::temp_directory_path() / "holdfast-contract-XXXXXX").string();
    if (!::mkdtemp(dir_.data())) throw std::runtime_error("cannot make a temporary directory");
    for (std::string* text : {&case_.settings, &case_.config, &case_.unreachable}) {
        replace_all(*text, "${DIR}", [this] { return dir_; });
        replace_all(*text, "${ECHO_URL}", [] { return peer_url() + "/echo"; });
        replace_all(*text, "${OPENAI_URL}", [] { return peer_url() + "/v1"; });
    }
}
bench::~bench() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
}
fake_host_options bench::options(std::string id) const {
    fake_host_options o;
    o.instance_id = std::move(id);
    o.settings = case_.settings;
    o.manual_time = false;
    o.data_dir = dir_;
    return o;
}
std::unique_ptr<plugin_instance> bench::make(std::string id) { return make(id, options(id)); }
std::unique_ptr<plugin_instance> bench::make(std::string id, fake_host_options o) {
    o.instance_id = std::move(id);
    return std::make_unique<plugin_instance>(*file_, std::move(o));
}
std::unique_ptr<plugin_instance> bench::up(std::string id) {
    auto p = make(std::move(id));
    const auto s = p->up();
    EXPECT_TRUE(s.ok()) << "did not become active: " << s.code << " " << s.message;
    return s.ok() ? std::move(p) : nullptr;
}

void expect_faultless(const call_probe& p, const std::string& what) {
    for (const auto& fault : p.faults()) ADD_FAILURE() << what << ": " << fault;
}

namespace {
class registered : public ::testing::Test {
  public:
    registered(plugin_case c, std::shared_ptr<plugin_file> f, body b) : case_(std::move(c)), file_(std::move(f)), body_(b) {}
    void TestBody() override {
        bench b(case_, file_);
        body_(b);
    }

  private:
    plugin_case case_;
    std::shared_ptr<plugin_file> file_;  // second owner: the other tests
    body body_;
};
}  // namespace

void add_tests(const char* suite, const std::vector<test>& tests, const plugin_case& c, const std::shared_ptr<plugin_file>& f) {
    for (const test& t : tests)
        ::testing::RegisterTest(suite, t.name, nullptr, c.path.c_str(), __FILE__, __LINE__,
                                [c, f, run = t.run]() -> ::testing::Test* { return new registered(c, f, run); });
}

void add(const plugin_case& c) {
    const auto file = std::make_shared<plugin_file>(c.path);
    const auto manifest = json::parse(file->manifest());
    const std::string kind = manifest.at("kind");
    add_tests("lifecycle", lifecycle_tests(), c, file);
    if (kind == "llm") return add_tests("llm", llm_tests(), c, file);
    if (kind == "store") return add_tests("store", store_tests(), c, file);
    if (kind == "transport") return add_tests("transport", transport_tests(), c, file);
    if (kind == "ui") return add_tests("ui", ui_tests(), c, file);
    if (kind == "breaker") return add_tests("breaker", breaker_tests(), c, file);
    if (kind == "health") return add_tests("health", health_tests(), c, file);
    throw std::runtime_error("no contract tests for kind \"" + kind + "\"");
}

int run(const plugin_case& c) {
    add(c);
    return RUN_ALL_TESTS();
}

}  // namespace holdfast::testing::contract
