#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "holdfast/ext/store.h"
#include "holdfast/testing/loader.hpp"

namespace stores_test {

using nlohmann::json;
using holdfast::testing::call_probe;

struct directory {
    std::string path;
    directory() {
        std::string name = std::filesystem::temp_directory_path() / "holdfast-store-XXXXXX";
        path = ::mkdtemp(name.data()) ? name : "";
    }
    ~directory() {
        std::error_code ec;
        std::filesystem::remove_all(path, ec);
    }
    std::string file(const char* name = "store.db") const { return path + "/" + name; }
};

inline holdfast::testing::plugin_file& plugin(const std::string& path) {
    static std::map<std::string, std::unique_ptr<holdfast::testing::plugin_file>> loaded;
    auto& p = loaded[path];
    if (!p) p = std::make_unique<holdfast::testing::plugin_file>(path);
    return *p;
}

/// A running store and its calls.
class client {
  public:
    client(const std::string& so, const json& settings) : instance_(plugin(so), {.settings = settings.dump()}) {
        up_ = instance_.up();
        if (up_.ok()) store_ = instance_.ext<hf_store>(HF_EXT_STORE);
    }
    const holdfast::sdk::status& up() const { return up_; }
    void start(call_probe& p, std::string_view method, const json& request) { p.submit(store_->submit, instance_.self(), method, request.dump()); }
    struct answer {
        std::int32_t code;
        std::string message;
        json result;
    };
    static answer of(call_probe& p) {
        if (!p.wait(holdfast::testing::milliseconds(60'000))) return {HF_E_TIMEOUT, "not completed within 60 s", {}};
        for (const auto& fault : p.faults()) ADD_FAILURE() << fault;
        const auto s = p.outcome();
        return {s.code, s.message, s.ok() ? json::parse(p.result(), nullptr, false) : json()};
    }
    answer call(std::string_view method, const json& request) {
        call_probe p;
        start(p, method, request);
        return of(p);
    }
    std::int32_t append(const std::string& stream, std::int64_t seq, const json& data = json::object()) { return call("append", events(stream, seq, data)).code; }
    static json events(const std::string& stream, std::int64_t seq, const json& data = json::object()) {
        return {{"events", {{{"stream", stream}, {"seq", seq}, {"type", "t"}, {"at", "2026-01-01T00:00:00Z"}, {"data", data}}}}};
    }
    std::int64_t last(const std::string& stream) { return call("last", {{"stream", stream}}).result.value("last", std::int64_t{-1}); }
    json status() { return call("status", json::object()).result; }
    /// Asks again and again, because writing resumes by itself within a second or so.
    bool becomes_writable(bool wanted = true) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (std::chrono::steady_clock::now() < end) {
            if (status().value("writable", !wanted) == wanted) return true;
            call("last", {{"stream", "x"}});  // a round trip through the writer, in place of a pause
        }
        return false;
    }
    holdfast::testing::plugin_instance& instance() { return instance_; }

  private:
    holdfast::testing::plugin_instance instance_;
    holdfast::sdk::status up_;
    const hf_store* store_ = nullptr;
};

#ifdef PLUGINS
inline client sqlite(const std::string& file, json more = json::object()) {
    more["path"] = file;
    return client(PLUGINS "/store-sqlite.so", more);
}
#endif

}  // namespace stores_test
