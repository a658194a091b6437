#include "kernel/plugins/isolation/wire.hpp"

#include <algorithm>

namespace holdfast::plugins::isolation {

const char* name_of(kind k) noexcept {
    switch (k) {
        case kind::hello: return "load";
        case kind::create: return "create";
        case kind::init: return "init";
        case kind::start: return "start";
        case kind::quiesce: return "quiesce";
        case kind::stop: return "stop";
        case kind::destroy: return "destroy";
        case kind::find_ext: return "get_ext";
        case kind::ui_describe: return "describe";
        case kind::ui_export: return "export_state";
        case kind::ui_import: return "import_state";
        case kind::own_threads: return "a look at its threads";
        case kind::submit: return "submit";
        case kind::cancel: return "cancel";
        case kind::conn_open: return "open";
        case kind::conn_send: return "send";
        case kind::conn_abandon: return "abandon";
        case kind::conn_close: return "close";
        case kind::policy_open: return "open";
        case kind::policy_close: return "close";
        case kind::breaker_permit: return "permit";
        case kind::breaker_report: return "report";
        case kind::breaker_state: return "state";
        case kind::breaker_force: return "force";
        case kind::health_observe: return "observe";
        case kind::health_verdict: return "verdict";
        case kind::health_reset: return "reset";
        default: return "a callback";
    }
}

frame_writer& frame_writer::fault(const hf_error& e) {
    put(e.code).put(e.retryable).put(e.peer_status).put(e.retry_after_ms);
    return text(std::string_view(e.message, strnlen(e.message, sizeof e.message)));
}

hf_error frame_reader::fault() {
    hf_error e{};
    e.size = sizeof e;
    e.code = get<std::int32_t>();
    e.retryable = get<std::int32_t>();
    e.peer_status = get<std::int32_t>();
    e.retry_after_ms = get<std::int64_t>();
    const auto words = text();
    std::memcpy(e.message, words.data(), std::min(words.size(), sizeof e.message - 1));
    return e;
}

}  // namespace holdfast::plugins::isolation
