// What the host calls: the plugin's own interfaces.
#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"
#include "holdfast/ext/transport.h"
#include "kernel/plugins/isolation/runner_state.hpp"

namespace holdfast::plugins::isolation {
namespace {

runner& of(void* ctx) { return *static_cast<runner*>(ctx); }

/// A connection as the plugin sees it: ctx names the runner and the connection. Freed after on_closed.
struct conn_context {
    runner* who;
    std::uint64_t conn;
};

const hf_transport_sink& conn_sink() {
    static const hf_transport_sink sink{
        sizeof(hf_transport_sink), 0, nullptr,
        [](void* c, hf_bytes info) { static_cast<conn_context*>(c)->who->tell(frame_writer(kind::conn_opened).put(static_cast<conn_context*>(c)->conn).text(info)); },
        [](void* c, hf_bytes m) { static_cast<conn_context*>(c)->who->tell(frame_writer(kind::conn_message).put(static_cast<conn_context*>(c)->conn).text(m)); },
        [](void* c, hf_bytes id, const hf_error* err) {
            hf_error none = empty_hf_error();
            static_cast<conn_context*>(c)->who->tell(frame_writer(kind::conn_request_failed).put(static_cast<conn_context*>(c)->conn).text(id).fault(err ? *err : none));
        },
        [](void* c, hf_str line) { static_cast<conn_context*>(c)->who->tell(frame_writer(kind::conn_log).put(static_cast<conn_context*>(c)->conn).text(line)); },
        [](void* c, const hf_error* err) {
            auto* me = static_cast<conn_context*>(c);
            frame_writer f(kind::conn_closed);
            f.put(me->conn).put(std::uint8_t(err != nullptr));
            if (err) f.fault(*err);
            me->who->tell(f);
            delete me;
        }};
    return sink;
}

}  // namespace

void runner::on_call(frame_reader& in, frame_writer& out) {
    answer a;
    switch (in.what()) {
        case kind::submit: {
            const auto which = in.text();
            hf_call call{};
            call.size = sizeof call;
            call.id = in.get<std::uint64_t>();
            call.deadline_ns = in.get<std::int64_t>();
            call.method = as_str(in.text());
            call.request = as_bytes(in.text());
            call.ctx = this;
            call.on_chunk = [](void* ctx, std::uint64_t id, hf_bytes chunk) { of(ctx).tell(frame_writer(kind::call_chunk).put(id).text(chunk)); };
            call.on_done = [](void* ctx, std::uint64_t id, const hf_error* err, hf_bytes result) {
                frame_writer f(kind::call_done);
                f.put(id).put(std::uint8_t(err != nullptr));
                if (err) f.fault(*err);
                of(ctx).tell(f.text(result));
            };
            a.rc = which == HF_EXT_LLM ? ext<hf_llm>(HF_EXT_LLM)->submit(table_.self, &call, &a.err)
                                       : ext<hf_store>(HF_EXT_STORE)->submit(table_.self, &call, &a.err);
            break;
        }
        case kind::cancel: {
            const auto which = in.text();
            const auto id = in.get<std::uint64_t>();
            if (which == HF_EXT_LLM) ext<hf_llm>(HF_EXT_LLM)->cancel(table_.self, id);
            else ext<hf_store>(HF_EXT_STORE)->cancel(table_.self, id);
            break;
        }
        case kind::conn_open: {
            const auto conn = in.get<std::uint64_t>();
            auto sink = conn_sink();
            auto mine = std::make_unique<conn_context>(conn_context{this, conn});
            sink.ctx = mine.get();
            a.rc = ext<hf_transport>(HF_EXT_TRANSPORT)->open(table_.self, conn, as_bytes(in.text()), &sink, &a.err);
            if (a.rc >= 0) (void)mine.release();  // on_closed frees it
            break;
        }
        case kind::conn_send: {
            const auto conn = in.get<std::uint64_t>();
            a.rc = ext<hf_transport>(HF_EXT_TRANSPORT)->send(table_.self, conn, as_bytes(in.text()), &a.err);
            break;
        }
        case kind::conn_abandon: {
            const auto conn = in.get<std::uint64_t>();
            ext<hf_transport>(HF_EXT_TRANSPORT)->abandon(table_.self, conn, as_bytes(in.text()));
            break;
        }
        case kind::conn_close: {
            const auto conn = in.get<std::uint64_t>();
            ext<hf_transport>(HF_EXT_TRANSPORT)->close(table_.self, conn, in.get<std::int64_t>());
            break;
        }
        default: return on_policy(in, out);
    }
    out.put(a.rc);
    if (a.rc < 0) out.fault(a.err);
}

void runner::on_policy(frame_reader& in, frame_writer& out) {
    answer a;
    const auto what = in.what();
    const bool is_health = what == kind::policy_open || what == kind::policy_close ? in.get<std::uint8_t>() != 0
                                                                                  : what >= kind::health_observe && what <= kind::health_reset;
    const auto handle = in.get<std::uint64_t>();
    auto policy = [&]() -> void* {
        std::lock_guard lock(mutex_);
        auto it = policies_.find(handle);
        return it == policies_.end() ? nullptr : it->second;
    };
    if (what == kind::policy_open) {
        const auto config = in.text();
        const auto seed = in.get<std::uint64_t>();
        const auto now = in.get<std::int64_t>();
        void* made = nullptr;
        a.rc = is_health ? ext<hf_health>(HF_EXT_HEALTH)->open(table_.self, as_bytes(config), seed, now, &made, &a.err)
                         : ext<hf_breaker>(HF_EXT_BREAKER)->open(table_.self, as_bytes(config), seed, now, &made, &a.err);
        if (a.rc >= 0) {
            std::lock_guard lock(mutex_);
            policies_[handle] = made;
        }
        out.put(a.rc);
        if (a.rc < 0) out.fault(a.err);
        return;
    }
    void* p = policy();
    if (p == nullptr) {
        out.put(fill(&a.err, {errc::not_found, "no such policy"})).fault(a.err);
        return;
    }
    if (what == kind::policy_close) {
        {
            std::lock_guard lock(mutex_);
            policies_.erase(handle);
        }
        if (is_health) ext<hf_health>(HF_EXT_HEALTH)->close(table_.self, p);
        else ext<hf_breaker>(HF_EXT_BREAKER)->close(table_.self, p);
        out.put(HF_OK + 0);
        return;
    }
    out.put(HF_OK + 0);
    if (is_health) {
        const auto* t = ext<hf_health>(HF_EXT_HEALTH);
        if (what == kind::health_observe) {
            hf_health_sample s{};
            s.size = sizeof s;
            s.kind = in.get<std::int32_t>(), s.ok = in.get<std::int32_t>(), s.fault = in.get<std::int32_t>();
            s.latency_ns = in.get<std::int64_t>(), s.now_ns = in.get<std::int64_t>();
            s.memory_bytes = in.get<double>(), s.cpu_percent = in.get<double>(), s.queue_length = in.get<double>();
            t->observe(table_.self, p, &s);
        } else if (what == kind::health_verdict) {
            hf_health_verdict v{};
            v.size = sizeof v;
            t->verdict(table_.self, p, in.get<std::int64_t>(), &v);
            out.put(v.state).put(v.score).put(v.next_check_ns).put(v.probe_timeout_ns).text(std::string_view(v.reason, strnlen(v.reason, sizeof v.reason)));
        } else {
            t->reset(table_.self, p, in.get<std::int64_t>());
        }
        return;
    }
    const auto* t = ext<hf_breaker>(HF_EXT_BREAKER);
    if (what == kind::breaker_permit) {
        hf_permit permit{};
        permit.size = sizeof permit;
        t->permit(table_.self, p, in.get<std::int64_t>(), &permit);
        out.put(permit.granted).put(permit.generation).put(permit.retry_after_ns);
    } else if (what == kind::breaker_report) {
        const auto generation = in.get<std::uint64_t>();
        const auto outcome = in.get<std::int32_t>();
        const auto latency = in.get<std::int64_t>();
        t->report(table_.self, p, generation, outcome, latency, in.get<std::int64_t>());
    } else if (what == kind::breaker_state) {
        hf_breaker_state s{};
        s.size = sizeof s;
        t->state(table_.self, p, in.get<std::int64_t>(), &s);
        out.put(s.state).put(s.generation).put(s.consecutive_failures).put(s.open_count).put(s.until_ns).put(s.calls).put(s.failures).put(s.rejected);
    } else {
        const auto state = in.get<std::int32_t>();
        t->force(table_.self, p, state, in.get<std::int64_t>());
    }
}

}  // namespace holdfast::plugins::isolation
