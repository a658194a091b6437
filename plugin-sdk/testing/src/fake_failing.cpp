// A host whose services all fail: what a plugin meets when the host is overloaded or shutting down.
#include "parts.hpp"

namespace holdfast::testing {
namespace {

std::int32_t refuse(hf_error* err) { return sdk::fill(err, HF_E_UNAVAILABLE, "the fake host fails on purpose"); }

constexpr hf_config no_config{sizeof(hf_config), 0, [](void*, hf_buf*, hf_error* e) { return refuse(e); }, [](void*, hf_buf*, hf_error* e) { return refuse(e); }};
constexpr hf_api no_api{sizeof(hf_api), 0, [](void*, const hf_call*, hf_error* e) { return refuse(e); }, [](void*, std::uint64_t) {},
                     [](void*, hf_buf*, hf_error* e) { return refuse(e); }, [](void*, hf_str, hf_buf*, hf_error* e) { return refuse(e); }};
constexpr hf_worker no_worker{sizeof(hf_worker), 0, [](void*, const hf_worker_spec*, hf_error* e) { return refuse(e); },
                           [](void*, hf_str, hf_error* e) { return refuse(e); }, [](void*, hf_str) -> std::int32_t { return HF_E_NOT_FOUND; }};
constexpr hf_timer no_timer{sizeof(hf_timer), 0, [](void*) -> std::int64_t { return 1; },
                         [](void*, std::int64_t, void (*)(void*), void*, std::uint64_t*, hf_error* e) { return refuse(e); }, [](void*, std::uint64_t) {}};
constexpr hf_process no_process{sizeof(hf_process), 0,
                             [](void*, hf_bytes, const hf_process_sink*, std::uint64_t*, std::int64_t*, hf_error* e) { return refuse(e); },
                             [](void*, std::uint64_t, hf_bytes, hf_error* e) { return refuse(e); }, [](void*, std::uint64_t, std::uint32_t) {},
                             [](void*, std::uint64_t, hf_buf*, hf_error* e) { return refuse(e); }};
constexpr hf_events no_events{sizeof(hf_events), 0, [](void*, hf_bytes, hf_error* e) { return refuse(e); },
                           [](void*, hf_bytes, const hf_event_sink*, std::uint64_t*, std::uint64_t*, hf_error* e) { return refuse(e); },
                           [](void*, std::uint64_t) {}};
constexpr hf_listen no_listen{sizeof(hf_listen), 0, [](void*, hf_str, std::uint16_t, std::int32_t*, hf_error* e) { return refuse(e); }};

}  // namespace

const void* fake_host::impl::failing_table(std::string_view id) {
    if (id == HF_EXT_CONFIG) return &no_config;
    if (id == HF_EXT_API) return &no_api;
    if (id == HF_EXT_WORKER) return &no_worker;
    if (id == HF_EXT_TIMER) return &no_timer;
    if (id == HF_EXT_PROCESS) return &no_process;
    if (id == HF_EXT_EVENTS) return &no_events;
    if (id == HF_EXT_LISTEN) return &no_listen;
    return nullptr;
}

}  // namespace holdfast::testing
