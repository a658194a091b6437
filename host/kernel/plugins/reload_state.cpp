#include "kernel/plugins/reload_state.hpp"

#include <array>
#include <utility>

namespace holdfast::plugins {

namespace ev = reload_event;
namespace act = reload_action;
using phase = reload_phase;

std::string_view to_string(phase p) noexcept {
    static constexpr std::array<std::string_view, reload_phase_count> names{"idle", "proving", "draining", "starting", "probation", "restoring"};
    return names[static_cast<std::size_t>(p)];
}

void reload_machine::on(const any_reload_event& event, actions& out) {
    std::visit([&](const auto& e) { on(e, out); }, event);
}

void reload_machine::on(const ev::begin& e, actions& out) {
    if (under_way()) return;  // during the probation: who replaces the new one trusts it
    exclusive_ = e.exclusive;
    fault_.clear();
    phase_ = phase::proving;
    out.push_back(act::make_new{});
}

void reload_machine::on(const ev::held&, actions& out) {
    if (phase_ != phase::proving) return;
    phase_ = exclusive_ ? phase::draining : phase::starting;
    if (exclusive_) out.push_back(act::retire_old{});
    else out.push_back(act::start_new{});
}

void reload_machine::on(const ev::new_active&, actions& out) {
    if (phase_ != phase::starting) return;
    phase_ = phase::probation;
    if (!exclusive_) out.push_back(act::retire_old{});
    out.push_back(act::watch{});
    out.push_back(act::replaced{});
}

void reload_machine::on(const ev::new_ended& e, actions& out) {
    switch (phase_) {
        case phase::proving:
            phase_ = phase::idle;
            out.push_back(act::refused{e.why});
            return;
        case phase::draining:
            if (fault_.empty()) fault_ = e.why;  // the old one is on its way out already: it comes back when it has ended
            return;
        case phase::starting:
            if (!exclusive_) {
                phase_ = phase::idle;
                out.push_back(act::refused{e.why});
                return;
            }
            [[fallthrough]];
        case phase::probation:
            fault_ = e.why;
            phase_ = phase::restoring;
            out.push_back(act::restore{e.why});
            return;
        default: return;
    }
}

void reload_machine::on(const ev::old_ended& e, actions& out) {
    switch (phase_) {
        case phase::draining:
            if (!fault_.empty()) {
                phase_ = phase::restoring;
                out.push_back(act::restore{fault_});
                return;
            }
            phase_ = phase::starting;
            out.push_back(act::start_new{});
            return;
        case phase::starting:
            if (exclusive_) return;
            [[fallthrough]];
        case phase::proving:  // by itself, while it was still needed: its own supervision comes first
            phase_ = phase::idle;
            out.push_back(act::stop_new{});
            out.push_back(act::refused{"the version in service ended meanwhile: " + e.why});
            return;
        default: return;  // retired, and gone
    }
}

void reload_machine::on(const ev::restored&, actions& out) {
    if (phase_ != phase::restoring) return;
    phase_ = phase::idle;
    out.push_back(act::rolled_back{fault_});
}

void reload_machine::on(const ev::restore_failed& e, actions& out) {
    if (phase_ != phase::restoring) return;
    phase_ = phase::idle;
    out.push_back(act::lost{fault_ + "; and the version before did not start again: " + e.why});
}

void reload_machine::on(const ev::probation_over&, actions& out) {
    if (phase_ != phase::probation) return;
    phase_ = phase::idle;
    out.push_back(act::forget{});
}

void reload_machine::on(const ev::abort& e, actions& out) {
    switch (std::exchange(phase_, phase::idle)) {
        case phase::idle: return;
        case phase::probation: out.push_back(act::forget{}); return;
        case phase::proving:
        case phase::draining:
        case phase::starting:
            out.push_back(act::stop_new{});
            out.push_back(act::lost{e.why});
            return;
        case phase::restoring: out.push_back(act::lost{e.why}); return;
    }
}

}  // namespace holdfast::plugins
