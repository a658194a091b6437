#pragma once
// A health policy (hf.health/1) in C++: samples in, verdict out. Time is passed in.
#include <memory>

#include "holdfast/ext/health.h"
#include "holdfast/plugin.hpp"

namespace holdfast::sdk {

/// One watched thing. The host never makes two calls at once on one.
class health_monitor {
  public:
    virtual ~health_monitor() = default;
    virtual void observe(const hf_health_sample& sample) = 0;
    /// `out` arrives zeroed; copy_text(out.reason, sizeof out.reason, "…") fills the reason.
    virtual void verdict(std::int64_t now_ns, hf_health_verdict& out) = 0;
    virtual void reset(std::int64_t now_ns) = 0;
};

class health : public plugin {
  public:
    using plugin::plugin;

    /// [any & active] Throw plugin_error(HF_E_INVALID, …) when the configuration is wrong.
    virtual std::unique_ptr<health_monitor> make(std::string_view config_json, std::uint64_t seed, std::int64_t now_ns) = 0;

    const void* find_ext(std::string_view id) override {
        static constexpr hf_health table{sizeof(hf_health), 0, &on_open, &on_close, &on_observe, &on_verdict, &on_reset};
        return id == HF_EXT_HEALTH ? &table : nullptr;
    }

  private:
    static health_monitor& at(void* p) { return *static_cast<health_monitor*>(p); }
    static std::int32_t on_open(void* self, hf_bytes config, std::uint64_t seed, std::int64_t now_ns, void** out, hf_error* err) noexcept {
        return guard(err, [&] {
            auto made = static_cast<health&>(*static_cast<plugin*>(self)).make(view(config), seed, now_ns);
            if (!made) throw plugin_error(HF_E_INTERNAL, "make returned no monitor");
            *out = made.release();
        });
    }
    static void on_close(void*, void* p) noexcept { delete static_cast<health_monitor*>(p); }
    static void on_observe(void*, void* p, const hf_health_sample* sample) noexcept {
        guard(nullptr, [&] { at(p).observe(read_struct(sample)); });
    }
    static void on_verdict(void*, void* p, std::int64_t now_ns, hf_health_verdict* out) noexcept {
        hf_health_verdict answer{};
        if (guard(nullptr, [&] { at(p).verdict(now_ns, answer); }) < 0) {
            answer = {};
            copy_text(answer.reason, sizeof answer.reason, "the health policy failed");
        }
        write_struct(out, answer);
    }
    static void on_reset(void*, void* p, std::int64_t now_ns) noexcept {
        guard(nullptr, [&] { at(p).reset(now_ns); });
    }
};

}  // namespace holdfast::sdk
