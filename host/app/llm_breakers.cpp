#include "app/llm_breakers.hpp"

#include "app/logging.hpp"
#include "kernel/plugins/call_port.hpp"

namespace holdfast::app {

llm_breakers::llm_breakers(plugins::resolver<hf_breaker> policy, json config, const clock_source& clock)
    : policy_(std::move(policy)), config_([&] {
          config.erase("use");
          return dump(config);
      }()), clock_(clock) {}

llm_breakers::~llm_breakers() { release(); }

void llm_breakers::release() {
    std::lock_guard lock(mutex_);
    released_ = true;
    for (auto& [id, b] : breakers_) close(b);
    breakers_.clear();
}

std::int64_t llm_breakers::now_ns() const { return std::chrono::duration_cast<nanoseconds>(clock_.now().time_since_epoch()).count(); }

void llm_breakers::close(one& b) noexcept {
    if (!b.handle) return;
    plugins::invoke(b.from, [&](const hf_breaker& t, void* self) { t.close(self, b.handle); });
    b.handle = nullptr;
    b.from = {};
}

llm_breakers::one* llm_breakers::current(const std::string& adapter) {
    if (released_) return nullptr;
    auto policy = policy_();
    if (!policy) {
        if (!std::exchange(missing_said_, true)) write_log(level::warn, "llm", "calls pass without a breaker: " + policy.error().message);
        return nullptr;
    }
    missing_said_ = false;
    one& b = breakers_[adapter];
    if (b.handle && b.from.self == policy->self && b.from.table == policy->table) return &b;
    close(b);
    hf_error err{};
    err.size = sizeof err;
    const std::uint64_t seed = std::hash<std::string>{}(adapter) ^ static_cast<std::uint64_t>(now_ns());
    const std::int32_t rc = plugins::invoke(*policy, [&](const hf_breaker& t, void* self) {
        return t.open(self, {config_.data(), config_.size()}, seed, now_ns(), &b.handle, &err);
    });
    if (rc != HF_OK) {
        write_log(level::warn, "llm", "the breaker for '" + adapter + "' cannot be made: " + err.message);
        b.handle = nullptr;
        return nullptr;
    }
    b.from = std::move(*policy);
    return &b;
}

sessions::llm_gate llm_breakers::gate() {
    sessions::llm_gate g;
    g.acquire = [this, self = shared_from_this()](const std::string& adapter) {
        sessions::llm_gate::permit out;
        std::lock_guard lock(mutex_);
        one* b = current(adapter);
        if (!b) return out;
        hf_permit p{};
        p.size = sizeof p;
        plugins::invoke(b->from, [&](const hf_breaker& t, void* self) { t.permit(self, b->handle, now_ns(), &p); });
        out.granted = p.granted != 0;
        out.generation = p.generation;
        out.retry_after = std::chrono::duration_cast<milliseconds>(nanoseconds(std::max<std::int64_t>(p.retry_after_ns, 0)));
        return out;
    };
    g.report = [this, self = shared_from_this()](const std::string& adapter, std::uint64_t generation, sessions::llm_gate::outcome how, nanoseconds latency) {
        std::lock_guard lock(mutex_);
        auto it = breakers_.find(adapter);
        if (it == breakers_.end() || !it->second.handle) return;
        using outcome = sessions::llm_gate::outcome;
        const std::int32_t what = how == outcome::success ? HF_OUTCOME_SUCCESS : how == outcome::failure ? HF_OUTCOME_FAILURE : HF_OUTCOME_IGNORED;
        plugins::invoke(it->second.from, [&](const hf_breaker& t, void* self) { t.report(self, it->second.handle, generation, what, latency.count(), now_ns()); });
    };
    g.state = [this, self = shared_from_this()](const std::string& adapter) -> std::string {
        std::lock_guard lock(mutex_);
        auto it = breakers_.find(adapter);
        if (it == breakers_.end() || !it->second.handle) return "closed";
        hf_breaker_state s{};
        s.size = sizeof s;
        plugins::invoke(it->second.from, [&](const hf_breaker& t, void* self) { t.state(self, it->second.handle, now_ns(), &s); });
        return s.state == HF_BREAKER_OPEN ? "open" : s.state == HF_BREAKER_HALF_OPEN ? "half_open" : s.state == HF_BREAKER_DISABLED ? "disabled" : "closed";
    };
    return g;
}

}  // namespace holdfast::app
