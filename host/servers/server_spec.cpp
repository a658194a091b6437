#include "servers/server_spec.hpp"

#include "servers/preflight.hpp"

#include <algorithm>
#include <cmath>

namespace holdfast::servers {
namespace {

constexpr std::size_t max_name = 128;
constexpr double longest_s = 7 * 24 * 3600.0;
constexpr int longest_restarts = 1'000'000;

struct reader {
    std::string where;
    std::string problem;  // the first one

    void wrong(const std::string& key, const std::string& what) {
        if (problem.empty()) problem = where + "." + key + " " + what;
    }
    double number(const json& o, const char* key, double fallback, double low, double high) {
        const json& v = member(o, key);
        if (v.is_null()) return fallback;
        if (!v.is_number() || !(v.get<double>() >= low) || !(v.get<double>() <= high)) {
            wrong(key, "must be a number from " + dump(json(low)) + " to " + dump(json(high)));
            return fallback;
        }
        return v.get<double>();
    }
    nanoseconds duration(const json& o, const char* key, double fallback_s, double low_s) {
        return nanoseconds(static_cast<std::int64_t>(number(o, key, fallback_s, low_s, longest_s) * 1e9));
    }
    std::string text(const json& o, const char* key) {
        const json& v = member(o, key);
        if (v.is_null()) return {};
        if (!v.is_string()) wrong(key, "must be a string");
        return v.is_string() ? v.get<std::string>() : std::string();
    }
    bool flag(const json& o, const char* key, bool fallback) {
        const json& v = member(o, key);
        if (!v.is_null() && !v.is_boolean()) wrong(key, "must be true or false");
        return v.is_boolean() ? v.get<bool>() : fallback;
    }
    void strings(const json& o, const char* key, bool object) {
        const json& v = member(o, key);
        if (v.is_null()) return;
        if (object ? !v.is_object() : !v.is_array()) return wrong(key, object ? "must be an object of strings" : "must be a list of strings");
        for (const json& item : v)
            if (!item.is_string()) return wrong(key, "must hold strings only");
    }
};

/// VS Code, Cursor and others call the transport "type"; their words for Streamable HTTP differ. "sse" is for the HTTP transport to read.
std::string canonical(const std::string& type) {
    if (type == "streamable-http" || type == "streamableHttp" || type == "streamable_http" || type == "sse") return "http";
    if (type == "ws") return "websocket";
    if (type == "tcp" || type == "unix") return "socket";
    return type;
}
std::string by_scheme(const std::string& url) {
    if (url.starts_with("ws://") || url.starts_with("wss://")) return "websocket";
    if (url.starts_with("tcp://") || url.starts_with("tls://") || url.starts_with("unix:")) return "socket";
    return "http";
}

/// A server's own policy keys over the global ones. Another policy ("use") starts from scratch: it would not know the other's keys.
json merged(const json& global, const json& own) {
    const std::string other = string_or(own, "use");
    json out = global.is_object() && (other.empty() || other == string_or(global, "use")) ? global : json::object();
    if (own.is_object()) out.update(own);
    return out;
}

std::string take(json& o, const char* key, std::string fallback) {
    std::string out = string_or(o, key, fallback);
    o.erase(key);
    return out;
}

health_request take_request(reader& r, json& health, const char* key) {
    auto request = health_request_from(member(health, key));
    health.erase(key);
    if (request) return std::move(*request);
    r.wrong(std::string("health.") + key, request.error().message);
    return {};
}

/// A word, or an object with what is to follow each kind of loss: true, false, or how often.
restart_limits restarts_from(reader& r, const json& given, bool external) {
    restart_limits out;
    out.fill(restart_always);
    auto& after_exit = out[static_cast<std::size_t>(loss::exit)];
    if (external) after_exit = 0;
    if (given.is_null()) return out;
    if (given == "permanent") {
        after_exit = restart_always;
    } else if (given == "transient") {
        after_exit = 0;
    } else if (given == "temporary") {
        out.fill(0);
    } else if (given.is_object()) {
        for (const auto& [key, value] : given.items()) {
            const auto kind = std::find(loss_names.begin(), loss_names.end(), key);
            const bool number = value.is_number_integer() && value >= 0 && value <= longest_restarts;
            if (kind == loss_names.end()) r.wrong("restart_policy", "does not know \"" + key + "\": expected exit, crash, hang or health");
            else if (!value.is_boolean() && !number) r.wrong("restart_policy." + key, "must be true (always), false (never) or a number of restarts up to " + std::to_string(longest_restarts));
            else out[static_cast<std::size_t>(kind - loss_names.begin())] = number ? value.get<std::uint32_t>() : value.get<bool>() ? restart_always : 0;
        }
    } else {
        r.wrong("restart_policy", "must be \"permanent\", \"transient\", \"temporary\", or an object with exit, crash, hang and health");
    }
    return out;
}

status_rules rules_from(reader& r, const json& b) {
    status_rules s;
    s.attempts = static_cast<std::uint32_t>(r.number(b, "failure_threshold", 5, 1, 1000));
    s.first_delay = r.duration(b, "first_delay_s", 1, 0.001);
    s.open_initial = r.duration(b, "recovery_timeout_s", 30, 0.001);
    s.open_max = r.duration(b, "max_timeout_s", 600, 0.001);
    s.multiplier = r.number(b, "backoff_multiplier", 2, 1, 100);
    s.jitter = r.number(b, "jitter", 0.2, 0, 0.99);
    s.disable_after = nanoseconds(static_cast<std::int64_t>(r.number(b, "disable_after_minutes", 30, 0.0001, 60 * 24 * 365) * 60e9));
    s.reset_after = r.duration(b, "reset_after_s", 600, 0);
    if (s.open_max < s.open_initial) r.wrong("max_timeout_s", "must not be below recovery_timeout_s");
    return s;
}

}  // namespace

std::string transport_of(const json& server) {
    if (const std::string named = string_or(server, "transport"); !named.empty()) return named;
    if (const std::string type = string_or(server, "type"); !type.empty()) return canonical(type);
    if (!string_or(server, "command").empty()) return "stdio";
    const std::string url = string_or(server, "url");
    return url.empty() ? std::string() : by_scheme(url);
}

result<std::shared_ptr<const server_spec>> make_spec(const std::string& name, const json& given, const json& breaker,
                                                     const json& health) {
    if (name.empty() || name.size() > max_name)
        return fail(errc::config_invalid, "mcpServers: a name has 1 to " + std::to_string(max_name) + " characters");
    for (unsigned char c : name)
        if (c < 0x20 || c == 0x7f || c == '/' || c == '*')
            return fail(errc::config_invalid, "mcpServers: the name '" + name + "' must not hold '/', '*' or control characters");
    reader r{"mcpServers." + name, {}};
    if (!given.is_object()) return fail(errc::config_invalid, r.where + " must be an object");
    const auto expanded = with_preset(given);
    if (!expanded) return fail(errc::config_invalid, r.where + ": " + expanded.error().message);
    const json& server = *expanded;

    auto spec = std::make_shared<server_spec>();
    spec->name = name;
    const std::string command = r.text(server, "command"), url = r.text(server, "url");
    if (r.text(server, "transport").empty() && r.text(server, "type").empty()) {
        if (!command.empty() && !url.empty()) r.wrong("url", "must not stand beside command; say \"transport\"");
        if (command.empty() && url.empty()) r.wrong("command", "is missing: give command (a program) or url (a server on the network)");
    }
    const std::string transport = transport_of(server);
    spec->transport = transport;
    if (transport == "stdio" && command.empty()) r.wrong("command", "must name the program to start");
    if ((transport == "http" || transport == "websocket" || transport == "socket") && url.empty()) r.wrong("url", "must name the server's address");
    spec->http = r.flag(server, "request_streams", transport == "http");
    r.strings(server, "args", false);
    r.strings(server, "env", true);
    r.strings(server, "headers", true);
    const std::string cwd = r.text(server, "cwd").empty() ? r.text(server, "working_dir") : r.text(server, "cwd");

    spec->enabled = r.flag(server, "enabled", true) && !r.flag(server, "disabled", false);
    const std::string move = r.text(server, "move");
    if (!move.empty() && move != "overlap" && move != "restart") r.wrong("move", "must be \"overlap\" or \"restart\"");
    spec->restarts_to_move = move == "restart";
    spec->permanent = r.flag(server, "internal", false);
    const auto ms = [](nanoseconds n) { return std::chrono::duration_cast<milliseconds>(n); };
    spec->stop_grace = ms(r.duration(server, "stop_grace_s", 5, 0));
    spec->connect_timeout = ms(r.duration(server, "connect_timeout_s", 60, 0.01));
    if (!member(server, "call_timeout_s").is_null()) spec->call_timeout = ms(r.duration(server, "call_timeout_s", 60, 0.01));
    spec->probe_timeout = ms(r.duration(server, "era_probe_timeout_s", 5, 0.01));
    spec->idle_timeout = ms(r.duration(server, "idle_timeout_s", 0, 0));
    spec->roots = member(server, "roots");
    if (!spec->roots.is_null() && !spec->roots.is_array()) r.wrong("roots", "must be a list of {\"uri\",\"name\"?}");

    if (const json& pool = member(server, "pool"); !pool.is_null()) {
        auto rules = supervise::pool_rules_from(pool);
        if (!rules) r.wrong("pool", rules.error().message);
        else spec->pool = *rules, spec->pool->create = spec->connect_timeout;
        if (transport == "stdio") r.wrong("pool", "is for servers on the network: a program that is started here has one connection, its stdin and stdout");
        if (spec->restarts_to_move) r.wrong("pool", "does not go with \"move\": \"restart\"");
    }
    for (const char* key : {"breaker", "health"})
        if (!member(server, key).is_null() && !member(server, key).is_object()) r.wrong(key, "must be an object");
    spec->breaker = merged(breaker, member(server, "breaker"));
    spec->breaker_use = take(spec->breaker, "use", "breaker-consecutive");
    spec->health = merged(health, member(server, "health"));
    spec->health_use = take(spec->health, "use", "health-threshold");
    spec->probe = take_request(r, spec->health, "probe");
    spec->init = take_request(r, spec->health, "init_message");
    reader in_breaker{r.where + ".breaker", {}};
    spec->rules = rules_from(in_breaker, spec->breaker);
    // SUP-2: what is started here is not started again after it ended in order; what belongs to us or is elsewhere always is.
    spec->rules.restarts = restarts_from(r, member(server, "restart_policy"), transport == "stdio" && !spec->permanent);
    if (r.problem.empty()) r.problem = in_breaker.problem;
    if (!r.problem.empty()) return fail(errc::config_invalid, r.problem);
    for (const char* ours : {"first_delay_s", "disable_after_minutes"}) spec->breaker.erase(ours);  // policies refuse unknown keys

    spec->connection = server;
    for (const char* key : {"breaker", "health", "enabled", "disabled", "internal", "move", "pool", "restart_policy", "working_dir"}) spec->connection.erase(key);
    spec->connection["name"] = name;
    if (!cwd.empty()) spec->connection["cwd"] = cwd;
    spec->fingerprint = dump(json{{"server", server}, {"breaker", merged(breaker, member(server, "breaker"))},
                                  {"health", merged(health, member(server, "health"))}});
    json made_of = spec->connection;  // what is left is read when a connection is made, by us or by a transport
    for (const char* key : {"call_timeout_s", "description", "era_probe_timeout_s", "stop_grace_s"}) made_of.erase(key);
    if (transport == "stdio") made_of.erase("connect_timeout_s");  // the others hand it on
    made_of["transport"] = transport;
    spec->connection_print = dump(made_of);
    return std::shared_ptr<const server_spec>(std::move(spec));
}

}  // namespace holdfast::servers
