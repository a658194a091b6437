/* holdfast/abi/layout.h — the golden layout of every struct that crosses the ABI, for LP64 (x86-64, aarch64).
 * Compile it in C and in C++: a field that was moved, inserted or retyped does not compile. A field that is appended to a
 * struct which begins with `size` adds a line here and changes the struct's sizeof: that, and nothing else, is legal. */
#ifndef HOLDFAST_ABI_LAYOUT_H
#define HOLDFAST_ABI_LAYOUT_H

#include "holdfast/abi/call.h"
#include "holdfast/abi/plugin.h"
#include "holdfast/ext/api.h"
#include "holdfast/ext/breaker.h"
#include "holdfast/ext/config.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/llm.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/store.h"
#include "holdfast/ext/timer.h"
#include "holdfast/ext/transport.h"
#include "holdfast/ext/ui.h"
#include "holdfast/ext/worker.h"

#if defined(__LP64__)

#ifdef __cplusplus
#define HF_LAYOUT_ASSERT(x) static_assert(x, #x)
#else
#define HF_LAYOUT_ASSERT(x) _Static_assert(x, #x)
#endif
#define HF_SIZE(type, n) HF_LAYOUT_ASSERT(sizeof(type) == (n))
#define HF_AT(type, field, n) HF_LAYOUT_ASSERT(offsetof(type, field) == (n))

HF_SIZE(hf_str, 16); HF_AT(hf_str, data, 0); HF_AT(hf_str, length, 8);

HF_SIZE(hf_bytes, 16); HF_AT(hf_bytes, data, 0); HF_AT(hf_bytes, length, 8);

HF_SIZE(hf_buf, 40); HF_AT(hf_buf, size, 0); HF_AT(hf_buf, reserved, 4); HF_AT(hf_buf, data, 8);
HF_AT(hf_buf, length, 16); HF_AT(hf_buf, owner, 24); HF_AT(hf_buf, release, 32);

HF_SIZE(hf_error, 504); HF_AT(hf_error, size, 0); HF_AT(hf_error, code, 4); HF_AT(hf_error, retryable, 8);
HF_AT(hf_error, peer_status, 12); HF_AT(hf_error, retry_after_ms, 16); HF_AT(hf_error, message, 24);

HF_SIZE(hf_call, 80); HF_AT(hf_call, size, 0); HF_AT(hf_call, reserved, 4); HF_AT(hf_call, id, 8);
HF_AT(hf_call, deadline_ns, 16); HF_AT(hf_call, method, 24); HF_AT(hf_call, request, 40); HF_AT(hf_call, ctx, 56);
HF_AT(hf_call, on_chunk, 64); HF_AT(hf_call, on_done, 72);

HF_SIZE(hf_host, 48); HF_AT(hf_host, size, 0); HF_AT(hf_host, abi, 4); HF_AT(hf_host, ctx, 8);
HF_AT(hf_host, log_level, 16); HF_AT(hf_host, instance_id, 24); HF_AT(hf_host, get_ext, 40);

HF_SIZE(hf_instance, 64); HF_AT(hf_instance, size, 0); HF_AT(hf_instance, reserved, 4); HF_AT(hf_instance, self, 8);
HF_AT(hf_instance, init, 16); HF_AT(hf_instance, start, 24); HF_AT(hf_instance, quiesce, 32);
HF_AT(hf_instance, stop, 40); HF_AT(hf_instance, destroy, 48); HF_AT(hf_instance, get_ext, 56);

HF_SIZE(hf_entry, 32); HF_AT(hf_entry, size, 0); HF_AT(hf_entry, abi, 4); HF_AT(hf_entry, init, 8);
HF_AT(hf_entry, deinit, 16); HF_AT(hf_entry, create, 24);

HF_SIZE(hf_api, 40); HF_AT(hf_api, size, 0); HF_AT(hf_api, reserved, 4); HF_AT(hf_api, submit, 8);
HF_AT(hf_api, cancel, 16); HF_AT(hf_api, describe, 24); HF_AT(hf_api, authenticate, 32);

HF_SIZE(hf_permit, 24); HF_AT(hf_permit, size, 0); HF_AT(hf_permit, granted, 4); HF_AT(hf_permit, generation, 8);
HF_AT(hf_permit, retry_after_ns, 16);

HF_SIZE(hf_breaker_state, 56); HF_AT(hf_breaker_state, size, 0); HF_AT(hf_breaker_state, state, 4);
HF_AT(hf_breaker_state, generation, 8); HF_AT(hf_breaker_state, consecutive_failures, 16);
HF_AT(hf_breaker_state, open_count, 20); HF_AT(hf_breaker_state, until_ns, 24); HF_AT(hf_breaker_state, calls, 32);
HF_AT(hf_breaker_state, failures, 40); HF_AT(hf_breaker_state, rejected, 48);

HF_SIZE(hf_breaker, 56); HF_AT(hf_breaker, size, 0); HF_AT(hf_breaker, thread_safe, 4); HF_AT(hf_breaker, open, 8);
HF_AT(hf_breaker, close, 16); HF_AT(hf_breaker, permit, 24); HF_AT(hf_breaker, report, 32);
HF_AT(hf_breaker, state, 40); HF_AT(hf_breaker, force, 48);

HF_SIZE(hf_config, 24); HF_AT(hf_config, size, 0); HF_AT(hf_config, reserved, 4); HF_AT(hf_config, settings, 8);
HF_AT(hf_config, data_dir, 16);

HF_SIZE(hf_event_sink, 24); HF_AT(hf_event_sink, size, 0); HF_AT(hf_event_sink, reserved, 4);
HF_AT(hf_event_sink, ctx, 8); HF_AT(hf_event_sink, on_event, 16);

HF_SIZE(hf_events, 32); HF_AT(hf_events, size, 0); HF_AT(hf_events, reserved, 4); HF_AT(hf_events, publish, 8);
HF_AT(hf_events, subscribe, 16); HF_AT(hf_events, unsubscribe, 24);

HF_SIZE(hf_health_sample, 56); HF_AT(hf_health_sample, size, 0); HF_AT(hf_health_sample, kind, 4);
HF_AT(hf_health_sample, ok, 8); HF_AT(hf_health_sample, fault, 12); HF_AT(hf_health_sample, latency_ns, 16);
HF_AT(hf_health_sample, now_ns, 24); HF_AT(hf_health_sample, memory_bytes, 32);
HF_AT(hf_health_sample, cpu_percent, 40); HF_AT(hf_health_sample, queue_length, 48);

HF_SIZE(hf_health_verdict, 192); HF_AT(hf_health_verdict, size, 0); HF_AT(hf_health_verdict, state, 4);
HF_AT(hf_health_verdict, score, 8); HF_AT(hf_health_verdict, next_check_ns, 16);
HF_AT(hf_health_verdict, probe_timeout_ns, 24); HF_AT(hf_health_verdict, reason, 32);

HF_SIZE(hf_health, 48); HF_AT(hf_health, size, 0); HF_AT(hf_health, reserved, 4); HF_AT(hf_health, open, 8);
HF_AT(hf_health, close, 16); HF_AT(hf_health, observe, 24); HF_AT(hf_health, verdict, 32);
HF_AT(hf_health, reset, 40);

HF_SIZE(hf_listen, 16); HF_AT(hf_listen, size, 0); HF_AT(hf_listen, reserved, 4); HF_AT(hf_listen, open, 8);

HF_SIZE(hf_llm, 24); HF_AT(hf_llm, size, 0); HF_AT(hf_llm, reserved, 4); HF_AT(hf_llm, submit, 8);
HF_AT(hf_llm, cancel, 16);

HF_SIZE(hf_log, 16); HF_AT(hf_log, size, 0); HF_AT(hf_log, reserved, 4); HF_AT(hf_log, write, 8);

HF_SIZE(hf_metrics, 32); HF_AT(hf_metrics, size, 0); HF_AT(hf_metrics, reserved, 4); HF_AT(hf_metrics, add, 8);
HF_AT(hf_metrics, set, 16); HF_AT(hf_metrics, observe, 24);

HF_SIZE(hf_process_sink, 48); HF_AT(hf_process_sink, size, 0); HF_AT(hf_process_sink, reserved, 4);
HF_AT(hf_process_sink, ctx, 8); HF_AT(hf_process_sink, on_stdout, 16); HF_AT(hf_process_sink, on_stderr, 24);
HF_AT(hf_process_sink, on_overflow, 32); HF_AT(hf_process_sink, on_exit, 40);

HF_SIZE(hf_process, 40); HF_AT(hf_process, size, 0); HF_AT(hf_process, reserved, 4); HF_AT(hf_process, spawn, 8);
HF_AT(hf_process, write, 16); HF_AT(hf_process, stop, 24); HF_AT(hf_process, stats, 32);

HF_SIZE(hf_store, 24); HF_AT(hf_store, size, 0); HF_AT(hf_store, reserved, 4); HF_AT(hf_store, submit, 8);
HF_AT(hf_store, cancel, 16);

HF_SIZE(hf_timer, 32); HF_AT(hf_timer, size, 0); HF_AT(hf_timer, reserved, 4); HF_AT(hf_timer, now, 8);
HF_AT(hf_timer, after, 16); HF_AT(hf_timer, cancel, 24);

HF_SIZE(hf_transport_sink, 56); HF_AT(hf_transport_sink, size, 0); HF_AT(hf_transport_sink, reserved, 4);
HF_AT(hf_transport_sink, ctx, 8); HF_AT(hf_transport_sink, on_open, 16); HF_AT(hf_transport_sink, on_message, 24);
HF_AT(hf_transport_sink, on_request_failed, 32); HF_AT(hf_transport_sink, on_log, 40);
HF_AT(hf_transport_sink, on_closed, 48);

HF_SIZE(hf_transport, 40); HF_AT(hf_transport, size, 0); HF_AT(hf_transport, reserved, 4);
HF_AT(hf_transport, open, 8); HF_AT(hf_transport, send, 16); HF_AT(hf_transport, abandon, 24);
HF_AT(hf_transport, close, 32);

HF_SIZE(hf_ui, 32); HF_AT(hf_ui, size, 0); HF_AT(hf_ui, reserved, 4); HF_AT(hf_ui, describe, 8);
HF_AT(hf_ui, export_state, 16); HF_AT(hf_ui, import_state, 24);

HF_SIZE(hf_worker_ctl, 40); HF_AT(hf_worker_ctl, size, 0); HF_AT(hf_worker_ctl, incarnation, 4);
HF_AT(hf_worker_ctl, stop, 8); HF_AT(hf_worker_ctl, beat, 16); HF_AT(hf_worker_ctl, wait, 24); HF_AT(hf_worker_ctl, stop_fd, 32);

HF_SIZE(hf_worker_spec, 64); HF_AT(hf_worker_spec, size, 0); HF_AT(hf_worker_spec, heartbeat_ms, 4);
HF_AT(hf_worker_spec, name, 8); HF_AT(hf_worker_spec, restart, 24); HF_AT(hf_worker_spec, shutdown_ms, 40);
HF_AT(hf_worker_spec, reserved, 44); HF_AT(hf_worker_spec, arg, 48); HF_AT(hf_worker_spec, run, 56);

HF_SIZE(hf_worker, 32); HF_AT(hf_worker, size, 0); HF_AT(hf_worker, reserved, 4); HF_AT(hf_worker, start, 8);
HF_AT(hf_worker, stop, 16); HF_AT(hf_worker, wake, 24);
HF_LAYOUT_ASSERT(HF_OK == 0 && HF_PENDING == 1);
HF_LAYOUT_ASSERT(HF_E_INTERNAL == -1 && HF_E_STATE == -6 && HF_E_TRANSPORT == -11 && HF_E_COMMAND_NOT_FOUND == -19);
HF_LAYOUT_ASSERT(HF_LOG_TRACE == 0 && HF_LOG_OFF == 6);
HF_LAYOUT_ASSERT(HF_BREAKER_CLOSED == 0 && HF_BREAKER_DISABLED == 3);
HF_LAYOUT_ASSERT(HF_OUTCOME_SUCCESS == 0 && HF_OUTCOME_DROPPED == 3);
HF_LAYOUT_ASSERT(HF_SAMPLE_ACTIVE == 0 && HF_SAMPLE_PASSIVE == 1 && HF_FAULT_LOCAL == 2);
HF_LAYOUT_ASSERT(HF_HEALTH_UNKNOWN == 0 && HF_HEALTH_DOWN == 3);

#undef HF_SIZE
#undef HF_AT
#undef HF_LAYOUT_ASSERT

#endif /* __LP64__ */
#endif
