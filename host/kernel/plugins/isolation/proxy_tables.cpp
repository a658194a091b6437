// The plugin's tables as the host sees them: each function is one question to the runner.
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"
#include "holdfast/ext/ui.h"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/isolation/proxy_parts.hpp"

namespace holdfast::plugins::isolation {
namespace {

constexpr auto policy_patience = milliseconds(1'000);  // a verdict takes microseconds; the caller holds a pin meanwhile
constexpr auto destroy_timeout = milliseconds(4'000);
constexpr std::uint32_t max_leaked_names = 32;

proxy& of(void* self) { return *static_cast<proxy*>(self); }
void* handle_of(std::uint64_t n) { return reinterpret_cast<void*>(n); }
std::uint64_t number_of(void* handle) { return reinterpret_cast<std::uint64_t>(handle); }

/// As much as the caller has room for.
template <class T>
void answer_to(T* caller, T answer) {
    answer.size = caller->size;
    std::memcpy(caller, &answer, std::min<std::size_t>(caller->size, sizeof answer));
}

}  // namespace

struct proxy::tables {
    // ---- life

    template <kind What>
    static std::int32_t step(void* self, hf_error* err) {
        auto& p = of(self);
        const auto& o = p.options_;
        const auto limit = What == kind::init ? o.init_timeout : What == kind::start ? o.start_timeout : o.stop_timeout;
        if (What == kind::stop && p.is_dead()) return HF_OK;  // there is nothing left to stop
        return p.control(What, p.control_frame(What), limit, err);
    }
    static std::int32_t quiesce(void* self, std::int64_t deadline, hf_error* err) {
        auto& p = of(self);
        // A deadline that has passed is no reason to end the process: it may answer at once.
        const auto left = std::max(nanoseconds(0), nanoseconds(deadline) - std::chrono::steady_clock::now().time_since_epoch());
        return p.control(kind::quiesce, p.control_frame(kind::quiesce).put(deadline), std::chrono::ceil<milliseconds>(left) + p.options_.quiesce_margin, err);
    }
    static void destroy(void* self) {
        auto& p = of(self);
        struct ending {
            proxy& p;
            ~ending() { p.end(); }
        } also_when_it_throws{p};
        {
            std::lock_guard lock(p.mutex_);
            p.destroying_ = true;
        }
        if (!p.is_dead())
            p.control(kind::destroy, p.control_frame(kind::destroy), destroy_timeout, nullptr, [&](frame_reader& in) {
                auto left = names(in);
                std::lock_guard lock(p.mutex_);
                p.leaked_ = std::move(left);
            });
    }
    static std::vector<std::string> names(frame_reader& in) {
        std::vector<std::string> out;
        for (auto n = std::min<std::uint32_t>(in.get<std::uint32_t>(), max_leaked_names); n > 0; --n) out.emplace_back(in.text());
        return out;
    }
    static const void* get_ext(void* self, hf_str id) {
        table_shape theirs;
        return of(self).find(id, theirs);
    }
    static const void* find(std::string_view id) {
        static const std::pair<std::string_view, const void*> all[] = {{HF_EXT_LLM, &llm},         {HF_EXT_STORE, &store},   {HF_EXT_TRANSPORT, &transport},
                                                                       {HF_EXT_BREAKER, &breaker}, {HF_EXT_HEALTH, &health}, {HF_EXT_UI, &ui}};
        for (const auto& [name, table] : all)
            if (id == name) return table;
        return nullptr;
    }

    // ---- hf.llm, hf.store

    static std::int32_t submit(const char* ext, void* self, const hf_call* call, hf_error* err) {
        auto& p = of(self);
        {
            std::lock_guard lock(p.mutex_);
            if (p.dead_) return fill(err, {errc::plugin_failed, "plugin '" + p.options_.id + "' has no process"});
            if (!p.pending_.emplace(call->id, *call).second) return fill(err, {errc::already_exists, "call id " + std::to_string(call->id) + " is under way already"});
        }
        std::int32_t rc = HF_E_INTERNAL;
        try {
            rc = p.call(frame_writer(kind::submit).text(std::string_view(ext)).put(call->id).put(call->deadline_ns).text(call->method).text(call->request), err);
        } catch (...) {
            if (p.forget(p.pending_, call->id)) throw;
            return HF_PENDING;
        }
        if (rc == HF_PENDING || p.forget(p.pending_, call->id)) return rc;
        // Completed already, by its end or against the rules: then that is the one completion.
        if (!p.is_dead()) p.misused("a completion came although submit did not return HF_PENDING");
        return HF_PENDING;
    }
    static void cancel(const char* ext, void* self, std::uint64_t id) { of(self).call(frame_writer(kind::cancel).text(std::string_view(ext)).put(id), nullptr); }

    static constexpr hf_llm llm{sizeof(hf_llm), 0, [](void* s, const hf_call* c, hf_error* e) { return submit(HF_EXT_LLM, s, c, e); },
                                [](void* s, std::uint64_t id) { cancel(HF_EXT_LLM, s, id); }};
    static constexpr hf_store store{sizeof(hf_store), 0, [](void* s, const hf_call* c, hf_error* e) { return submit(HF_EXT_STORE, s, c, e); },
                                    [](void* s, std::uint64_t id) { cancel(HF_EXT_STORE, s, id); }};

    // ---- hf.transport

    static std::int32_t open(void* self, std::uint64_t conn, hf_bytes config, const hf_transport_sink* sink, hf_error* err) {
        auto& p = of(self);
        hf_transport_sink mine{};
        std::memcpy(&mine, sink, std::min<std::size_t>(sink->size, sizeof mine));
        {
            std::lock_guard lock(p.mutex_);
            if (p.dead_) return fill(err, {errc::plugin_failed, "plugin '" + p.options_.id + "' has no process"});
            if (!p.conns_.emplace(conn, mine).second) return fill(err, {errc::already_exists, "connection " + std::to_string(conn) + " is open already"});
        }
        std::int32_t rc = HF_E_INTERNAL;
        try {
            rc = p.call(frame_writer(kind::conn_open).put(conn).text(config), err);
        } catch (...) {
            if (p.forget(p.conns_, conn)) throw;
            return HF_OK;
        }
        if (rc != HF_OK && !p.forget(p.conns_, conn)) return HF_OK;  // on_closed has told it
        return rc;
    }
    static constexpr hf_transport transport{
        sizeof(hf_transport), 0, open,
        [](void* s, std::uint64_t conn, hf_bytes m, hf_error* e) { return of(s).call(frame_writer(kind::conn_send).put(conn).text(m), e); },
        [](void* s, std::uint64_t conn, hf_bytes id) { of(s).call(frame_writer(kind::conn_abandon).put(conn).text(id), nullptr); },
        [](void* s, std::uint64_t conn, std::int64_t deadline) { of(s).call(frame_writer(kind::conn_close).put(conn).put(deadline), nullptr); }};

    // ---- policies

    static std::int32_t ask_policy(void* self, const frame_writer& f, hf_error* err = nullptr, const std::function<void(frame_reader&)>& more = {}) {
        return of(self).call(f, err, more, policy_patience);
    }
    template <bool Health>
    static std::int32_t open_policy(void* self, hf_bytes config, std::uint64_t seed, std::int64_t now, void** out, hf_error* err) {
        auto& p = of(self);
        std::uint64_t number = 0;
        {
            std::lock_guard lock(p.mutex_);
            number = ++p.last_policy_;
        }
        const auto rc = ask_policy(self, frame_writer(kind::policy_open).put(std::uint8_t(Health)).put(number).text(config).put(seed).put(now), err);
        if (rc >= 0) *out = handle_of(number);
        return rc;
    }
    template <bool Health>
    static void close_policy(void* self, void* handle) {
        ask_policy(self, frame_writer(kind::policy_close).put(std::uint8_t(Health)).put(number_of(handle)));
    }
    static void permit(void* self, void* b, std::int64_t now, hf_permit* out) {
        hf_permit p{};
        p.granted = 1;  // without a policy nothing is refused
        ask_policy(self, frame_writer(kind::breaker_permit).put(number_of(b)).put(now), nullptr, [&](frame_reader& in) {
            p.granted = in.get<std::int32_t>() != 0;
            p.generation = in.get<std::uint64_t>();
            p.retry_after_ns = std::clamp<std::int64_t>(in.get<std::int64_t>(), -1, longest_ns);
        });
        answer_to(out, p);
    }
    static void report(void* self, void* b, std::uint64_t generation, std::int32_t outcome, std::int64_t latency, std::int64_t now) {
        ask_policy(self, frame_writer(kind::breaker_report).put(number_of(b)).put(generation).put(outcome).put(latency).put(now));
    }
    static void state(void* self, void* b, std::int64_t now, hf_breaker_state* out) {
        hf_breaker_state s{};
        ask_policy(self, frame_writer(kind::breaker_state).put(number_of(b)).put(now), nullptr, [&](frame_reader& in) {
            s.state = std::clamp<std::int32_t>(in.get<std::int32_t>(), HF_BREAKER_CLOSED, HF_BREAKER_DISABLED);
            s.generation = in.get<std::uint64_t>();
            s.consecutive_failures = in.get<std::uint32_t>(), s.open_count = in.get<std::uint32_t>();
            s.until_ns = std::clamp<std::int64_t>(in.get<std::int64_t>(), 0, now + longest_ns);
            s.calls = in.get<std::uint64_t>(), s.failures = in.get<std::uint64_t>(), s.rejected = in.get<std::uint64_t>();
        });
        answer_to(out, s);
    }
    static void force(void* self, void* b, std::int32_t to, std::int64_t now) { ask_policy(self, frame_writer(kind::breaker_force).put(number_of(b)).put(to).put(now)); }
    // One call at a time reaches the runner, whoever calls: thread_safe.
    static constexpr hf_breaker breaker{sizeof(hf_breaker), 1, open_policy<false>, close_policy<false>, permit, report, state, force};

    static void observe(void* self, void* m, const hf_health_sample* s) {
        ask_policy(self, frame_writer(kind::health_observe).put(number_of(m)).put(s->kind).put(s->ok).put(s->fault).put(s->latency_ns).put(s->now_ns)
                             .put(s->memory_bytes).put(s->cpu_percent).put(s->queue_length));
    }
    static void verdict(void* self, void* m, std::int64_t now, hf_health_verdict* out) {
        hf_health_verdict v{};
        v.state = HF_HEALTH_UNKNOWN;
        v.next_check_ns = now + 30'000'000'000;
        v.probe_timeout_ns = 5'000'000'000;
        ask_policy(self, frame_writer(kind::health_verdict).put(number_of(m)).put(now), nullptr, [&](frame_reader& in) {
            v.state = std::clamp<std::int32_t>(in.get<std::int32_t>(), HF_HEALTH_UNKNOWN, HF_HEALTH_DOWN);
            v.score = in.get<double>();
            v.next_check_ns = std::clamp(in.get<std::int64_t>(), now, now + longest_ns);
            v.probe_timeout_ns = std::clamp<std::int64_t>(in.get<std::int64_t>(), 1'000'000, longest_ns);
            const auto why = in.text().substr(0, sizeof v.reason - 1);
            std::memcpy(v.reason, why.data(), why.size());
            if (!std::isfinite(v.score)) v.score = 0;
        });
        answer_to(out, v);
    }
    static void reset(void* self, void* m, std::int64_t now) { ask_policy(self, frame_writer(kind::health_reset).put(number_of(m)).put(now)); }
    static constexpr hf_health health{sizeof(hf_health), 0, open_policy<true>, close_policy<true>, observe, verdict, reset};

    // ---- hf.ui

    template <kind What>
    static std::int32_t ui_text(void* self, hf_buf* out, hf_error* err) {
        auto& p = of(self);
        return p.control(What, p.control_frame(What), p.options_.stop_timeout, err, [&](frame_reader& in) { give(out, std::string(in.text())); });
    }
    static std::int32_t ui_import(void* self, hf_bytes state, hf_error* err) {
        auto& p = of(self);
        return p.control(kind::ui_import, p.control_frame(kind::ui_import).text(state), p.options_.start_timeout, err);
    }
    static constexpr hf_ui ui{sizeof(hf_ui), 0, ui_text<kind::ui_describe>, ui_text<kind::ui_export>, ui_import};
};

const void* proxy::find(hf_str id, table_shape& theirs) {
    control(kind::find_ext, control_frame(kind::find_ext).text(id), options_.init_timeout, nullptr, [&](frame_reader& in) { theirs = in.shape(); });
    return theirs.size == 0 ? nullptr : tables::find(view(id));
}

std::vector<std::string> proxy::own_threads() {
    std::vector<std::string> out;
    control(kind::own_threads, control_frame(kind::own_threads), options_.init_timeout, nullptr, [&](frame_reader& in) { out = tables::names(in); });
    return out;
}

void proxy::fill_instance() {
    instance_ = {sizeof(hf_instance), 0, this, tables::step<kind::init>, tables::step<kind::start>, tables::quiesce, tables::step<kind::stop>, tables::destroy, tables::get_ext};
}

}  // namespace holdfast::plugins::isolation
