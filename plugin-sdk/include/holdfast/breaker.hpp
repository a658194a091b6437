#pragma once
// A circuit breaker policy (hf.breaker/1) in C++. Time is passed in; nothing here may block or throw in earnest.
#include <memory>

#include "holdfast/ext/breaker.h"
#include "holdfast/plugin.hpp"

namespace holdfast::sdk {

/// One breaker. Unless the plugin says thread_safe(), the host never makes two calls at once on one.
class breaker_policy {
  public:
    virtual ~breaker_policy() = default;
    /// `out` arrives zeroed. If it throws, the call is refused.
    virtual void permit(std::int64_t now_ns, hf_permit& out) = 0;
    virtual void report(std::uint64_t generation, std::int32_t outcome, std::int64_t latency_ns, std::int64_t now_ns) = 0;
    virtual void state(std::int64_t now_ns, hf_breaker_state& out) = 0;
    virtual void force(std::int32_t state, std::int64_t now_ns) = 0;
};

class breaker : public plugin {
  public:
    using plugin::plugin;

    /// [any & active] Throw plugin_error(HF_E_INVALID, …) when the configuration is wrong.
    virtual std::unique_ptr<breaker_policy> make(std::string_view config_json, std::uint64_t seed, std::int64_t now_ns) = 0;
    /// True when one breaker's functions may be called from several threads at once.
    virtual bool thread_safe() const { return false; }

    const void* find_ext(std::string_view id) override {
        static constexpr hf_breaker one_at_a_time{sizeof(hf_breaker), 0, &on_open, &on_close, &on_permit, &on_report, &on_state, &on_force};
        static constexpr hf_breaker concurrent{sizeof(hf_breaker), 1, &on_open, &on_close, &on_permit, &on_report, &on_state, &on_force};
        return id == HF_EXT_BREAKER ? (thread_safe() ? &concurrent : &one_at_a_time) : nullptr;
    }

  private:
    static breaker_policy& at(void* p) { return *static_cast<breaker_policy*>(p); }
    static std::int32_t on_open(void* self, hf_bytes config, std::uint64_t seed, std::int64_t now_ns, void** out, hf_error* err) noexcept {
        return guard(err, [&] {
            auto made = static_cast<breaker&>(*static_cast<plugin*>(self)).make(view(config), seed, now_ns);
            if (!made) throw plugin_error(HF_E_INTERNAL, "make returned no breaker");
            *out = made.release();
        });
    }
    static void on_close(void*, void* p) noexcept { delete static_cast<breaker_policy*>(p); }
    static void on_permit(void*, void* p, std::int64_t now_ns, hf_permit* out) noexcept {
        hf_permit answer{};
        if (guard(nullptr, [&] { at(p).permit(now_ns, answer); }) < 0) answer = {};
        write_struct(out, answer);
    }
    static void on_report(void*, void* p, std::uint64_t generation, std::int32_t outcome, std::int64_t latency_ns, std::int64_t now_ns) noexcept {
        guard(nullptr, [&] { at(p).report(generation, outcome, latency_ns, now_ns); });
    }
    static void on_state(void*, void* p, std::int64_t now_ns, hf_breaker_state* out) noexcept {
        hf_breaker_state answer{};
        if (guard(nullptr, [&] { at(p).state(now_ns, answer); }) < 0) answer = {};
        write_struct(out, answer);
    }
    static void on_force(void*, void* p, std::int32_t state, std::int64_t now_ns) noexcept {
        guard(nullptr, [&] { at(p).force(state, now_ns); });
    }
};

}  // namespace holdfast::sdk
