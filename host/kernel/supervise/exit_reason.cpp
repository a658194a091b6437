#include "kernel/supervise/exit_reason.hpp"

namespace holdfast::supervise {

std::string_view to_string(exit_kind kind) noexcept {
    switch (kind) {
        case exit_kind::normal: return "normal";
        case exit_kind::shutdown: return "shutdown";
        case exit_kind::error: return "error";
        case exit_kind::killed: return "killed";
        case exit_kind::exit_code: return "exit_code";
        case exit_kind::signal: return "signal";
        case exit_kind::hang: return "hang";
        case exit_kind::memory_limit: return "memory_limit";
        case exit_kind::cpu_limit: return "cpu_limit";
        case exit_kind::start_failure: return "start_failure";
        case exit_kind::start_timeout: return "start_timeout";
    }
    return "error";
}

std::string exit_reason::text() const {
    std::string out(to_string(kind));
    if (kind == exit_kind::exit_code || kind == exit_kind::signal) out += ' ' + std::to_string(code);
    if (!detail.empty()) out += ": " + detail;
    return out;
}

}  // namespace holdfast::supervise
