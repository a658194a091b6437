#include "kernel/plugins/plugin_set.hpp"

namespace holdfast::plugins {
namespace {

struct reader {
    const json& object;
    std::string problem;
    void number(const char* name, double low, double high, double& out) {
        const json& v = member(object, name);
        if (v.is_null() || !problem.empty()) return;
        if (!v.is_number() || v.get<double>() < low || v.get<double>() > high) {
            problem = "\"" + std::string(name) + "\" must be a number from " + json(low).dump() + " to " + json(high).dump();
            return;
        }
        out = v.get<double>();
    }
};

nanoseconds from_ms(double ms) { return std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double, std::milli>(ms)); }

}  // namespace

result<supervision_settings> supervision_from(const json& config) {
    supervision_settings out;
    if (config.is_null()) return out;
    auto bad = [](const std::string& what) { return fail(errc::config_invalid, "supervision: " + what); };
    if (!config.is_object()) return bad("must be an object");
    const auto strategy = string_or(config, "strategy", "one_for_one");
    if (strategy == "one_for_all") out.how = supervise::strategy::one_for_all;
    else if (strategy == "rest_for_one") out.how = supervise::strategy::rest_for_one;
    else if (strategy != "one_for_one") return bad("\"strategy\" must be \"one_for_one\", \"one_for_all\" or \"rest_for_one\"");
    const auto restart = string_or(config, "restart", "permanent");
    if (restart == "transient") out.restart = supervise::restart_type::transient;
    else if (restart == "temporary") out.restart = supervise::restart_type::temporary;
    else if (restart != "permanent") return bad("\"restart\" must be \"permanent\", \"transient\" or \"temporary\"");

    reader top{config, {}};
    double n = out.limit.intensity, window = std::chrono::duration<double>(out.limit.period).count();
    top.number("max_restarts", 0, supervise::max_intensity, n);
    top.number("window_s", 0.001, 86'400, window);
    if (!top.problem.empty()) return bad(top.problem);
    out.limit = {static_cast<std::uint32_t>(n), from_ms(window * 1000)};

    const json& backoff = member(config, "backoff");
    if (!backoff.is_null() && !backoff.is_object()) return bad("\"backoff\" must be an object");
    reader b{backoff, {}};
    double initial = 1000, cap = 60'000, first = 0;
    b.number("first_ms", 0, 3'600'000, first);
    b.number("initial_ms", 0, 3'600'000, initial);
    b.number("max_ms", 0, 86'400'000, cap);
    b.number("multiplier", 1, 100, out.backoff.multiplier);
    b.number("jitter", 0, 1, out.backoff.jitter);
    if (!b.problem.empty()) return bad("\"backoff\": " + b.problem);
    out.backoff.first = from_ms(first);
    out.backoff.initial = from_ms(initial);
    out.backoff.cap = from_ms(cap);
    if (auto ok = supervise::check_budget(out.limit, out.backoff); !ok) return bad(ok.error().message);
    return out;
}

}  // namespace holdfast::plugins
