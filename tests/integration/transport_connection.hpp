#pragma once
// A transport plugin as the host runs it, with one connection, and everything that one reported.
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "holdfast/ext/transport.h"
#include "holdfast/testing/loader.hpp"

namespace holdfast::testing {

using nlohmann::json;

class transport_connection {
  public:
    transport_connection(const plugin_file& file, const json& config, const json& settings = json::object())
        : instance_(file, {.settings = settings.dump(), .manual_time = false}) {
        const auto up = instance_.up();
        if (!up.ok()) throw std::runtime_error(up.message);
        table_ = instance_.ext<hf_transport>(HF_EXT_TRANSPORT);
        hf_transport_sink sink{};
        sink.size = sizeof sink;
        sink.ctx = this;
        sink.on_open = [](void* c, hf_bytes) { at(c).note([](transport_connection& me) { ++me.opened; }); };
        sink.on_message = [](void* c, hf_bytes m) { at(c).note([&](transport_connection& me) { me.messages.emplace_back(sdk::view(m)); }); };
        sink.on_request_failed = [](void* c, hf_bytes id, const hf_error* e) { at(c).note([&](transport_connection& me) { me.failed[std::string(sdk::view(id))] = sdk::from_error(e); }); };
        sink.on_log = [](void*, hf_str) {};
        sink.on_closed = [](void* c, const hf_error* e) { at(c).note([&](transport_connection& me) { ++me.closed, me.why = sdk::from_error(e); }); };
        hf_error err = sdk::empty_error();
        const std::string text = config.dump();
        if (table_->open(instance_.self(), 1, sdk::bytes(text), &sink, &err) != HF_OK) throw std::runtime_error(err.message);
    }
    std::int32_t send(const std::string& text) {
        hf_error err = sdk::empty_error();
        return table_->send(instance_.self(), 1, sdk::bytes(text), &err);
    }
    bool close(milliseconds within = milliseconds(5000)) {
        table_->close(instance_.self(), 1, sdk::to_ns(std::chrono::steady_clock::now() + within));
        return wait_closed();
    }
    template <class F>
    bool wait(F is) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return is(*this); });
    }
    bool wait_open() {
        return wait([](transport_connection& c) { return c.opened || c.closed; }) && opened;
    }
    bool wait_closed() {
        return wait([](transport_connection& c) { return c.closed > 0; });
    }
    bool wait_messages(std::size_t n) {
        return wait([n](transport_connection& c) { return c.messages.size() >= n || c.closed; }) && messages.size() >= n;
    }
    int opened = 0, closed = 0;
    sdk::status why;
    std::vector<std::string> messages;
    std::map<std::string, sdk::status> failed;

  private:
    static transport_connection& at(void* c) { return *static_cast<transport_connection*>(c); }
    template <class F>
    void note(F f) {
        std::lock_guard lock(mutex_);
        EXPECT_EQ(closed, 0) << "a report after closed";
        f(*this);
        changed_.notify_all();
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    plugin_instance instance_;  // destroyed first: its callbacks use the rest
    const hf_transport* table_ = nullptr;
};

}  // namespace holdfast::testing
