#include "servers/policies.hpp"

#include "holdfast/status.hpp"
#include "kernel/plugins/call_port.hpp"

namespace holdfast::servers {
namespace {
std::int64_t ns(steady_time t) { return std::chrono::duration_cast<nanoseconds>(t.time_since_epoch()).count(); }
}  // namespace

template <class Table>
result<void> policy_handle<Table>::ensure(steady_time now) {
    result<plugins::bound<Table>> found =
        resolve_ ? resolve_(use_) : result<plugins::bound<Table>>(fail(errc::unavailable, "no resolver was given to the host"));
    if (found && handle_ && found->table == bound_.table && found->self == bound_.self && found->lease == bound_.lease) return {};
    if (!found) {
        if (handle_) return {};
        return fail(errc::unavailable, "the policy plugin '" + use_ + "' is not available: " + found.error().message +
                                           "; configure it under \"plugins\" or name another one with \"use\"");
    }
    void* fresh = nullptr;
    hf_error err = sdk::empty_error();
    const std::int32_t rc = plugins::invoke(
        *found, [&](const Table& t, void* self) { return t.open(self, sdk::bytes(config_), seed_, ns(now), &fresh, &err); });
    if (rc != HF_OK || !fresh) {
        if (handle_) return {};
        return fail(errc::config_invalid, "the policy plugin '" + use_ + "' refused its settings: " + sdk::from_error(rc, &err).message);
    }
    drop();
    bound_ = std::move(*found);
    handle_ = fresh;
    return {};
}

/// false: an exception came out of it, which is the plugin's crash. The plugin set knows already and restarts it.
template <class Table>
template <class F>
bool policy_handle<Table>::marked(F&& f) noexcept {
    return plugins::invoke(bound_, [&](const Table& t, void* self) -> std::int32_t {
               f(t, self);
               return HF_OK;
           }) == HF_OK;
}

template <class Table>
error policy_handle<Table>::threw() const {
    return {errc::plugin_failed, "the policy plugin '" + use_ + "' threw an exception out of a call"};
}

template <class Table>
void policy_handle<Table>::drop() noexcept {
    if (handle_) marked([&](const Table& t, void* self) { t.close(self, handle_); });
    handle_ = nullptr;
    bound_ = {};
}

template class policy_handle<hf_breaker>;
template class policy_handle<hf_health>;

result<permit> breaker_policy::ask(steady_time now) {
    if (auto ok = ensure(now); !ok) return tl::unexpected(ok.error());
    hf_permit p{};
    p.size = sizeof p;
    if (!marked([&](const hf_breaker& t, void* self) { t.permit(self, handle_, ns(now), &p); })) return tl::unexpected(threw());
    return permit{p.granted != 0, p.generation, nanoseconds(p.retry_after_ns)};
}

void breaker_policy::report(std::uint64_t generation, int outcome, nanoseconds latency, steady_time now) {
    if (handle_) marked([&](const hf_breaker& t, void* self) { t.report(self, handle_, generation, outcome, latency.count(), ns(now)); });
}

void breaker_policy::force_closed(steady_time now) {
    if (handle_) marked([&](const hf_breaker& t, void* self) { t.force(self, handle_, HF_BREAKER_CLOSED, ns(now)); });
}

std::optional<hf_breaker_state> breaker_policy::state(steady_time now) {
    if (!handle_) return {};
    hf_breaker_state s{};
    s.size = sizeof s;
    if (!marked([&](const hf_breaker& t, void* self) { t.state(self, handle_, ns(now), &s); })) return {};
    return s;
}

void health_policy::observe(const health_sample& s, steady_time now) {
    if (!ensure(now)) return;
    const hf_health_sample raw{sizeof raw, s.active ? HF_SAMPLE_ACTIVE : HF_SAMPLE_PASSIVE, s.ok ? 1 : 0, s.fault, s.latency.count(),
                               ns(now), s.memory_bytes, s.cpu_percent, s.queue_length};
    marked([&](const hf_health& t, void* self) { t.observe(self, handle_, &raw); });
}

result<health_verdict> health_policy::verdict(steady_time now) {
    if (auto ok = ensure(now); !ok) return tl::unexpected(ok.error());
    hf_health_verdict v{};
    v.size = sizeof v;
    if (!marked([&](const hf_health& t, void* self) { t.verdict(self, handle_, ns(now), &v); })) return tl::unexpected(threw());
    v.reason[sizeof v.reason - 1] = '\0';
    health_verdict out;
    out.state = v.state;
    out.score = v.score;
    out.next_check = steady_time(nanoseconds(v.next_check_ns));
    out.probe_timeout = std::chrono::duration_cast<milliseconds>(nanoseconds(v.probe_timeout_ns));
    if (out.probe_timeout.count() <= 0) out.probe_timeout = milliseconds(5'000);
    out.reason = v.reason;
    return out;
}

void health_policy::reset(steady_time now) {
    if (handle_) marked([&](const hf_health& t, void* self) { t.reset(self, handle_, ns(now)); });
}

std::string_view health_name(int state) noexcept {
    switch (state) {
        case HF_HEALTH_UP: return "up";
        case HF_HEALTH_DEGRADED: return "degraded";
        case HF_HEALTH_DOWN: return "down";
        default: return "unknown";
    }
}

std::string_view breaker_name(int state) noexcept {
    switch (state) {
        case HF_BREAKER_OPEN: return "open";
        case HF_BREAKER_HALF_OPEN: return "half_open";
        case HF_BREAKER_DISABLED: return "disabled";
        default: return "closed";
    }
}

}  // namespace holdfast::servers
