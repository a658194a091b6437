#pragma once
// The base of every C++ plugin, the host as it sees it, and HOLDFAST_PLUGIN, which makes the two exported symbols.
// Kinds (llm.hpp, breaker.hpp …) derive from `plugin`; a plugin class derives from one kind.
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "holdfast/abi/plugin.h"
#include "holdfast/api.hpp"
#include "holdfast/config.hpp"
#include "holdfast/events.hpp"
#include "holdfast/json.hpp"
#include "holdfast/listen.hpp"
#include "holdfast/log.hpp"
#include "holdfast/metrics.hpp"
#include "holdfast/process.hpp"
#include "holdfast/status.hpp"
#include "holdfast/timer.hpp"
#include "holdfast/worker.hpp"

namespace holdfast::sdk {

/// The host's services for one instance. Outlives the plugin object. A service the host does not offer throws plugin_error
/// (HF_E_UNSUPPORTED) when used; logs and metrics then do nothing.
class host {
  public:
    explicit host(const hf_host* raw)
        : raw_(raw),
          id_(view(raw->instance_id)),
          log_(raw, ext<hf_log>(HF_EXT_LOG)),
          metrics_(raw, ext<hf_metrics>(HF_EXT_METRICS)),
          config_(raw, ext<hf_config>(HF_EXT_CONFIG)),
          timers_(raw, ext<hf_timer>(HF_EXT_TIMER), log_),
          events_(raw, ext<hf_events>(HF_EXT_EVENTS), log_),
          api_(raw, ext<hf_api>(HF_EXT_API)),
          processes_(raw, ext<hf_process>(HF_EXT_PROCESS), log_),
          listeners_(raw, ext<hf_listen>(HF_EXT_LISTEN)),
          workers_(raw, ext<hf_worker>(HF_EXT_WORKER)) {}
    host(const host&) = delete;
    host& operator=(const host&) = delete;

    /// The instance's name in the configuration.
    const std::string& id() const { return id_; }
    const sdk::log& log() const { return log_; }
    const sdk::metrics& metrics() const { return metrics_; }
    const sdk::config& config() const { return config_; }
    const sdk::timers& timers() const { return timers_; }
    const sdk::events& events() const { return events_; }
    const sdk::api& api() const { return api_; }
    const sdk::processes& processes() const { return processes_; }
    const sdk::listeners& listeners() const { return listeners_; }
    sdk::workers& workers() { return workers_; }
    time_point now() const { return timers_.now(); }
    const hf_host* raw() const { return raw_; }
    /// A host interface by id, null when the host has none.
    template <class Table>
    const Table* ext(std::string_view id) const {
        return static_cast<const Table*>(raw_->get_ext(raw_->ctx, str(id)));
    }

  private:
    const hf_host* raw_;
    std::string id_;
    sdk::log log_;
    sdk::metrics metrics_;
    sdk::config config_;
    sdk::timers timers_;
    sdk::events events_;
    sdk::api api_;
    sdk::processes processes_;
    sdk::listeners listeners_;
    sdk::workers workers_;
};

namespace detail {
struct instance;
template <class Class>
struct entry_of;
}  // namespace detail

/// One configured plugin. The constructor reads the settings (throw plugin_error{HF_E_INVALID, …} when one is wrong); each
/// function may throw: HF_E_INTERNAL with what(), or the code of a plugin_error.
class plugin {
  public:
    plugin(sdk::host& h, std::string_view settings_json) : host_(h), settings_(settings_json) {}
    virtual ~plugin() = default;
    plugin(const plugin&) = delete;
    plugin& operator=(const plugin&) = delete;

    virtual void init() {}                         ///< [control & created] check, open files; no threads yet
    virtual void start() {}                        ///< [control & ready] start workers, listen
    virtual void quiesce(time_point /*deadline*/) {}  ///< [control & active] refuse new work, finish what is under way
    virtual void stop() {}  ///< [control & active|quiescing|ready] end everything, complete every pending call

    /// The table of an interface, null when the plugin does not have it. The kinds override it.
    virtual const void* find_ext(std::string_view /*id*/) { return nullptr; }

  protected:
    sdk::host& host_;
    const std::string settings_;  ///< the resolved settings object as JSON

  private:
    template <class Class>
    friend struct detail::entry_of;
    detail::instance* owner_ = nullptr;  // owns this object; freed with it
};

namespace detail {

/// What lives between create and destroy. The tables' `self` is the plugin object.
struct instance {
    sdk::host host;
    std::unique_ptr<plugin> object;
    hf_instance table{};
    explicit instance(const hf_host* h) : host(h) {}
};

template <class Class>
struct entry_of {
    static plugin& at(void* self) { return *static_cast<plugin*>(self); }

    static std::int32_t create(const hf_host* h, hf_bytes settings, const hf_instance** out, hf_error* err) noexcept {
        return guard(err, [&] {
            auto i = std::make_unique<instance>(h);
            std::unique_ptr<plugin> object = std::make_unique<Class>(i->host, view(settings));
            object->owner_ = i.get();
            hf_instance& t = i->table;
            t.size = sizeof t;
            t.self = object.get();
            t.init = [](void* self, hf_error* e) noexcept { return guard(e, [&] { at(self).init(); }); };
            t.start = [](void* self, hf_error* e) noexcept { return guard(e, [&] { at(self).start(); }); };
            t.quiesce = [](void* self, std::int64_t deadline_ns, hf_error* e) noexcept {
                return guard(e, [&] { at(self).quiesce(to_time(deadline_ns)); });
            };
            t.stop = [](void* self, hf_error* e) noexcept { return guard(e, [&] { at(self).stop(); }); };
            t.destroy = &destroy;
            t.get_ext = [](void* self, hf_str id) noexcept -> const void* {
                const void* table = nullptr;
                return guard(nullptr, [&] { table = at(self).find_ext(view(id)); }) == HF_OK ? table : nullptr;
            };
            i->object = std::move(object);
            *out = &i.release()->table;
        });
    }
    static void destroy(void* self) noexcept {
        std::unique_ptr<instance> i(at(self).owner_);
        guard(nullptr, [&] { i->object.reset(); });  // before the services it uses
    }
    static constexpr hf_entry entry() {
        return {sizeof(hf_entry), HF_ABI_VERSION, [](hf_error*) noexcept -> std::int32_t { return HF_OK; }, []() noexcept {}, &create};
    }
};

}  // namespace detail
}  // namespace holdfast::sdk

/// HOLDFAST_PLUGIN(my_class, R"({"id":"…","kind":"…","version":"…","abi":[1,1],"interfaces":["hf.llm/1"],"settings":{…}})")
/// once per plugin, at namespace scope. The manifest is read from the file before any of its code runs.
#define HOLDFAST_PLUGIN(Class, ...)                                                                         \
    extern "C" HF_EXPORT __attribute__((used)) const char hf_plugin_manifest[] = __VA_ARGS__;               \
    extern "C" HF_EXPORT __attribute__((used)) const hf_entry hf_plugin_entry_v1 = ::holdfast::sdk::detail::entry_of<Class>::entry();
