#pragma once
// Publish and subscribe (hf.events/1).
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/events.h"
#include "holdfast/gate.hpp"
#include "holdfast/json.hpp"
#include "holdfast/log.hpp"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

using event_handler = std::function<void(std::string_view event_json)>;

namespace detail {
struct subscription_record {
    gate open;
    event_handler handler;
    log logger;
    subscription_record(event_handler h, log l) : handler(std::move(h)), logger(l) {}
};
/// Keys instead of pointers cross as the sink's context: a callback that was already on its way when unsubscribe returned
/// finds its key gone. Owner: the plugin's library (hidden visibility: one registry per plugin).
class subscription_registry {
  public:
    static subscription_registry& instance() {
        static subscription_registry* const all = new subscription_registry;  // outlives every late callback
        return *all;
    }
    void* add(std::shared_ptr<subscription_record> r) {
        std::lock_guard lock(mutex_);
        records_.emplace(++last_, std::move(r));
        return reinterpret_cast<void*>(last_);
    }
    std::shared_ptr<subscription_record> find(void* key) {
        std::lock_guard lock(mutex_);
        const auto it = records_.find(reinterpret_cast<std::uintptr_t>(key));
        return it == records_.end() ? nullptr : it->second;
    }
    void remove(void* key) {
        std::shared_ptr<subscription_record> last;  // destroyed outside the lock: the handler may own anything
        std::lock_guard lock(mutex_);
        const auto it = records_.find(reinterpret_cast<std::uintptr_t>(key));
        if (it == records_.end()) return;
        last = std::move(it->second);
        records_.erase(it);
    }

  private:
    std::mutex mutex_;
    std::uintptr_t last_ = 0;
    std::unordered_map<std::uintptr_t, std::shared_ptr<subscription_record>> records_;
};
}  // namespace detail

/// An open subscription; ends it when destroyed. After the destructor (or close) returns the handler does not run and will
/// not, unless it was called from the handler itself: so hold no lock the handler takes.
class subscription {
  public:
    subscription() = default;
    subscription(subscription&& o) noexcept { *this = std::move(o); }
    subscription& operator=(subscription&& o) noexcept {
        if (this != &o) {
            close();
            host_ = std::exchange(o.host_, nullptr), table_ = o.table_, id_ = o.id_, seq_ = o.seq_, key_ = o.key_;
            record_ = std::move(o.record_);
        }
        return *this;
    }
    ~subscription() { close(); }

    void close() {
        if (!host_) return;
        table_->unsubscribe(std::exchange(host_, nullptr)->ctx, id_);
        record_->open.close();
        detail::subscription_registry::instance().remove(key_);
        record_.reset();
    }
    /// The topic's number at the moment of subscribing: everything up to it is in a snapshot queried afterwards.
    std::uint64_t seq() const { return seq_; }
    explicit operator bool() const { return host_ != nullptr; }

  private:
    friend class events;
    const hf_host* host_ = nullptr;
    const hf_events* table_ = nullptr;
    std::uint64_t id_ = 0, seq_ = 0;
    void* key_ = nullptr;
    std::shared_ptr<detail::subscription_record> record_;  // second owner: the registry, for callbacks under way
};

/// [any & active]
class events {
  public:
    events(const hf_host* host, const hf_events* table, log logger) : host_(host), table_(table), log_(logger) {}

    /// Publishes a JSON object with "type" on "plugin:<instance>". Throws plugin_error.
    void publish(std::string_view event_json) const {
        hf_error err = empty_error();
        check(need()->publish(host_->ctx, bytes(event_json), &err), err);
    }
    void publish(std::string_view type, std::initializer_list<field> fields) const {
        std::string text = json_object({{"type", type}});
        if (fields.size()) text.back() = ',', text += json_object(fields).substr(1);
        publish(text);
    }
    /// `options_json`: {"topic":…,"from"?:n,"epoch"?:n,"types"?:[…],"policy"?:…}. The handler runs on host threads, one event
    /// at a time; what it throws is logged. Throws plugin_error.
    [[nodiscard]] subscription subscribe(std::string_view options_json, event_handler handler) const {
        auto& registry = detail::subscription_registry::instance();
        subscription s;
        s.record_ = std::make_shared<detail::subscription_record>(std::move(handler), log_);
        s.key_ = registry.add(s.record_);
        hf_event_sink sink{sizeof(hf_event_sink), 0, s.key_, &on_event};
        hf_error err = empty_error();
        const std::int32_t code =
            table_ ? table_->subscribe(host_->ctx, bytes(options_json), &sink, &s.id_, &s.seq_, &err) : HF_OK;
        if (!table_ || code < 0) registry.remove(s.key_);
        need();
        check(code, err);
        s.table_ = table_;
        s.host_ = host_;
        return s;
    }

  private:
    const hf_events* need() const {
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.events/1");
        return table_;
    }
    static void on_event(void* ctx, hf_bytes event) noexcept {
        const auto record = detail::subscription_registry::instance().find(ctx);
        if (!record) return;
        hf_error err = empty_error();
        if (guard(&err, [&] { detail::through(record->open, [&] { record->handler(view(event)); }); }) < 0)
            record->logger.write(HF_LOG_ERROR, err.message);
    }
    const hf_host* host_;
    const hf_events* table_;
    log log_;
};

}  // namespace holdfast::sdk
