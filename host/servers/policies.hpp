#pragma once
// The breaker and the health policy of one server: plugins, resolved anew for every use, whose handles follow the plugin's
// generation. [one thread at a time: the server's actor]
#include <memory>
#include <optional>
#include <string>

#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "kernel/core/json.hpp"
#include "kernel/plugins/ports.hpp"
#include "servers/server_set.hpp"

namespace holdfast::servers {

/// A handle made by a policy plugin. When the plugin is replaced the handle is made anew in the new generation.
template <class Table>
class policy_handle {
  public:
    policy_handle(named_resolver<Table> resolve, std::string use, json config, std::uint64_t seed)
        : resolve_(std::move(resolve)), use_(std::move(use)), config_(dump(config)), seed_(seed) {}
    ~policy_handle() { drop(); }
    policy_handle(const policy_handle&) = delete;
    policy_handle& operator=(const policy_handle&) = delete;

    /// Makes sure that the handle is of the plugin's present generation. While the plugin is away (restarting) the handle in
    /// hand goes on being used: its lease keeps it valid. Errors: unavailable, naming the plugin.
    result<void> ensure(steady_time now);
    const std::string& use() const { return use_; }
    bool is_made_of(const std::string& use, const json& config) const { return use_ == use && config_ == dump(config); }

  protected:
    void drop() noexcept;
    template <class F>
    bool marked(F&& f) noexcept;
    error threw() const;
    plugins::bound<Table> bound_;
    void* handle_ = nullptr;

  private:
    named_resolver<Table> resolve_;
    std::string use_;
    std::string config_;
    std::uint64_t seed_;
};

struct permit {
    bool granted = false;
    std::uint64_t generation = 0;
    nanoseconds retry_after{0};
};

class breaker_policy final : public policy_handle<hf_breaker> {
  public:
    using policy_handle::policy_handle;
    /// Errors: unavailable, when the plugin was never there.
    result<permit> ask(steady_time now);
    void report(std::uint64_t generation, int outcome, nanoseconds latency, steady_time now);
    void force_closed(steady_time now);
    std::optional<hf_breaker_state> state(steady_time now);
};

struct health_verdict {
    int state = HF_HEALTH_UNKNOWN;
    double score = 0;
    steady_time next_check{};
    milliseconds probe_timeout{5'000};
    std::string reason;
};

struct health_sample {
    bool active = false, ok = false;
    int fault = HF_FAULT_NONE;
    nanoseconds latency{0};
    double memory_bytes, cpu_percent, queue_length;
};

class health_policy final : public policy_handle<hf_health> {
  public:
    using policy_handle::policy_handle;
    void observe(const health_sample& s, steady_time now);
    result<health_verdict> verdict(steady_time now);
    void reset(steady_time now);
};

std::string_view health_name(int state) noexcept;
std::string_view breaker_name(int state) noexcept;

}  // namespace holdfast::servers
