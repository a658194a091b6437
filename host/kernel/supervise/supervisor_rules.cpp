// Names of the rules' values, and the checks a configuration has to pass before a supervisor takes it.
#include "kernel/supervise/supervisor_decision.hpp"

namespace holdfast::supervise {

std::string_view to_string(strategy s) noexcept {
    switch (s) {
        case strategy::one_for_one: return "one_for_one";
        case strategy::one_for_all: return "one_for_all";
        case strategy::rest_for_one: break;
    }
    return "rest_for_one";
}

std::string_view to_string(restart_type t) noexcept {
    switch (t) {
        case restart_type::permanent: return "permanent";
        case restart_type::transient: return "transient";
        case restart_type::temporary: break;
    }
    return "temporary";
}

std::string_view to_string(child_state s) noexcept {
    switch (s) {
        case child_state::stopped: return "stopped";
        case child_state::starting: return "starting";
        case child_state::running: return "running";
        case child_state::stopping: return "stopping";
        case child_state::restarting: return "restarting";
        case child_state::quarantined: break;
    }
    return "quarantined";
}

std::string_view to_string(report_kind k) noexcept {
    switch (k) {
        case report_kind::progress: return "progress";
        case report_kind::child_terminated: return "child_terminated";
        case report_kind::start_error: return "start_error";
        case report_kind::shutdown_error: return "shutdown_error";
        case report_kind::shutdown: break;
    }
    return "shutdown";
}

result<void> check_rules(const supervisor_rules& rules) {
    if (rules.dynamic && rules.how != strategy::one_for_one)
        return fail(errc::config_invalid, "dynamic children are unordered: their strategy can only be one_for_one");
    if (rules.max_children == 0) return fail(errc::config_invalid, "max_children must be at least 1");
    if (rules.kill_deadline.count() <= 0 || rules.stop_deadline.count() <= 0)
        return fail(errc::config_invalid, "stop and kill deadlines must be longer than 0 ms");
    return check_budget(rules.intensity, rules.backoff);
}

result<void> check_rules(const child_rules& child, const supervisor_rules& rules) {
    const auto name = "child \"" + child.id + "\": ";
    if (child.id.empty()) return fail(errc::config_invalid, "a child needs an id");
    if (child.significant && child.restart == restart_type::permanent)
        return fail(errc::config_invalid, name + "a significant child cannot be permanent (it would never end for good)");
    if (child.significant && rules.shutdown_when == auto_shutdown::never)
        return fail(errc::config_invalid, name + "significant, but its supervisor never shuts down for that (auto_shutdown)");
    if (child.start_deadline.count() <= 0) return fail(errc::config_invalid, name + "the start deadline must be longer than 0 ms");
    if (child.budget)
        if (auto ok = check_budget(child.budget->limit, child.backoff ? *child.backoff : rules.backoff); !ok)
            return fail(errc::config_invalid, name + ok.error().message);
    return {};
}

}  // namespace holdfast::supervise
