#include "holdfast/testing/checks.hpp"

#include <exception>
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
void append(std::vector<check>& to, const char* group, const std::vector<test>& tests) {
    for (const test& t : tests) to.push_back({group, t.name, t.run});
}
}  // namespace

bench::directory::directory() : path((std::filesystem::temp_directory_path() / "holdfast-contract-XXXXXX").string()) {
    if (!::mkdtemp(path.data())) throw std::runtime_error("cannot make a temporary directory");
}
bench::directory::~directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
}
bench::bench(const plugin_case& c, const target& from) : case_(c) {
    case_.dir = dir_.path;
    for (std::string* text : {&case_.settings, &case_.config, &case_.unreachable}) {
        replace_all(*text, "${DIR}", [this] { return dir_.path; });
        replace_all(*text, "${ECHO_URL}", [] { return peer_url() + "/echo"; });
        replace_all(*text, "${ECHO_TCP}", [] { return line_peer_url(); });
        replace_all(*text, "${ECHO_WS}", [] { return websocket_peer_url(); });
        replace_all(*text, "${OPENAI_URL}", [] { return peer_url() + "/v1"; });
    }
    file_ = from(case_);
}
fake_host_options bench::options(std::string id) const {
    fake_host_options o;
    o.instance_id = std::move(id);
    o.settings = case_.settings;
    o.manual_time = false;
    o.data_dir = dir_.path;
    return o;
}
std::unique_ptr<plugin_instance> bench::make(std::string id) { return make(id, options(id)); }
std::unique_ptr<plugin_instance> bench::make(std::string id, fake_host_options o) {
    o.instance_id = std::move(id);
    return std::make_unique<plugin_instance>(*file_, std::move(o));
}
std::unique_ptr<plugin_instance> bench::up(std::string id) { return up(options(id)); }
std::unique_ptr<plugin_instance> bench::up(fake_host_options o) {
    const std::string id = o.instance_id;
    auto p = make(id, std::move(o));
    const auto s = p->up();
    EXPECT_TRUE(s.ok()) << "did not become active: " << s.code << " " << s.message;
    return s.ok() ? std::move(p) : nullptr;
}

void expect_faultless(const call_probe& p, const std::string& what) {
    for (const auto& fault : p.faults()) ADD_FAILURE() << what << ": " << fault;
}

plugin_case case_of(std::string path, std::string_view manifest) {
    plugin_case c;
    c.path = std::move(path);
    const json m = json::parse(manifest, nullptr, false);
    const json given = m.is_object() ? m.value("check", json::object()) : json::object();
    if (!given.is_object()) return c;
    for (auto [key, to] : {std::pair{"settings", &c.settings}, std::pair{"config", &c.config}, std::pair{"unreachable", &c.unreachable}})
        if (given.contains(key)) *to = given[key].dump();
    for (auto [key, to] : {std::pair{"persistent", &c.persistent}, std::pair{"answers", &c.answers}, std::pair{"starts", &c.starts}})
        if (given.contains(key) && given[key].is_boolean()) *to = given[key].get<bool>();
    return c;
}

std::vector<check> checks_for(std::string_view kind) {
    std::vector<check> all;
    append(all, "lifecycle", lifecycle_tests());
    append(all, "host", host_tests());
    if (kind == "llm")
        append(all, "llm", llm_tests());
    else if (kind == "store")
        append(all, "store", store_tests());
    else if (kind == "transport")
        append(all, "transport", transport_tests());
    else if (kind == "ui")
        append(all, "ui", ui_tests());
    else if (kind == "breaker")
        append(all, "breaker", breaker_tests());
    else if (kind == "health")
        append(all, "health", health_tests());
    else
        throw std::runtime_error("no checks for kind \"" + std::string(kind) + "\"");
    return all;
}

void note_failure(std::string sentence) { report::current().fail(std::move(sentence)); }

target in_this_process() {
    return [](const plugin_case& c) { return std::make_shared<plugin_file>(c.path); };
}

outcome run_check(const check& c, const plugin_case& on, const target& from) {
    report::current().clear();
    try {
        bench b(on, from);
        c.run(b);
    } catch (const std::exception& e) {
        report::current().fail(std::string("an exception left the plugin: ") + e.what());
    } catch (...) {
        report::current().fail("something that is no std::exception was thrown out of the plugin");
    }
    auto [failures, skipped] = report::current().take();
    return {std::move(failures), std::move(skipped)};
}

}  // namespace holdfast::testing::contract
