// What each method does. [reader]
#include "arguments.hpp"
#include "server.hpp"

namespace holdfast::demo {
namespace {

constexpr std::int64_t list_ttl_ms = 300'000;
constexpr const char* instructions =
    "A small server for trying things out: get_time, echo, list_files and read_file (read-only), slow, ask_name and count. "
    "Started with --conformance it also offers what the conformance suite asks for.";

json capabilities() {
    return {{"tools", {{"listChanged", true}}},
            {"prompts", {{"listChanged", true}}},
            {"resources", {{"subscribe", true}}},
            {"logging", json::object()},
            {"completions", json::object()}};
}

/// Modern results that may be cached say for how long and by whom. Spec: MCP 2026-07-28, server/utilities/caching.
json cacheable(json result, std::int64_t ttl_ms, const char* scope) {
    result["ttlMs"] = ttl_ms;
    result["cacheScope"] = scope;
    return result;
}

tl::unexpected<stop> missing(const char* what) {
    return fail_with(code::invalid_params, std::string("Invalid params: ") + what);
}

}  // namespace

outcome server::initialize(const json& params) {
    const json& version = member(params, "protocolVersion");
    if (!version.is_string()) return missing("protocolVersion must be a string");
    const json& client_capabilities = member(params, "capabilities");
    if (!client_capabilities.is_object()) return missing("capabilities must be an object");
    std::string agreed(legacy_versions[0]);
    for (const auto known : legacy_versions)
        if (version == known) agreed = known;
    // Everything from `info` up, until logging/setLevel says otherwise.
    session_ = session{{era::legacy, agreed, client_capabilities, log_severity("info")}, {}};
    return json{{"protocolVersion", agreed},
                {"capabilities", capabilities()},
                {"serverInfo", server_info()},
                {"instructions", instructions}};
}

outcome server::discover() {
    // Only what `_meta` may name: the legacy versions are reached through initialize, not by a retry.
    return cacheable({{"supportedVersions", json::array({modern_version})},
                      {"capabilities", capabilities()},
                      {"instructions", instructions}},
                     list_ttl_ms, "public");
}

outcome server::list(const call& c, const char* field, json entries) {
    // Everything fits one page, so no cursor was ever handed out.
    if (c.params().contains("cursor")) return missing("this cursor is not one of ours");
    json result = {{field, std::move(entries)}};
    return c.client().speaks == era::modern ? cacheable(std::move(result), list_ttl_ms, "public") : result;
}

outcome server::read_resource(const call& c) {
    const json& uri = member(c.params(), "uri");
    if (!uri.is_string()) return missing("uri must be a string");
    const auto& name = uri.get_ref<const std::string&>();
    json contents = catalogue_.read_resource(name);
    const bool modern = c.client().speaks == era::modern;
    if (contents.is_null())
        return fail_with(modern ? code::invalid_params : code::legacy_resource_not_found, "Resource not found: " + name,
                         {{"uri", name}});
    json result = {{"contents", std::move(contents)}};
    if (!modern) return result;
    return cacheable(std::move(result), name == watched_resource ? 0 : list_ttl_ms, "private");
}

outcome server::complete(const call& c) {
    const json& argument = member(c.params(), "argument");
    if (!member(argument, "name").is_string() || !member(argument, "value").is_string())
        return missing("argument needs a name and a value, both strings");
    auto found = catalogue_.complete(member(c.params(), "ref"), string_or(argument, "name"), string_or(argument, "value"));
    if (!found) return missing("ref names no prompt and no resource template of this server");
    return json{{"completion", std::move(*found)}};
}

outcome server::set_level(const json& params) {
    const int severity = log_severity(string_or(params, "level"));
    if (severity < 0) return missing("level is not a log level");
    if (session_) session_->client.log_from = severity;
    return json::object();
}

outcome server::watch(const json& params, bool on) {
    const json& uri = member(params, "uri");
    if (!uri.is_string()) return missing("uri must be a string");
    const auto& name = uri.get_ref<const std::string&>();
    if (!on) {
        session_->watched.erase(name);
        return json::object();
    }
    if (!catalogue::has_resource(name))
        return fail_with(code::legacy_resource_not_found, "Resource not found: " + name, {{"uri", name}});
    if (session_->watched.size() >= max_watched_uris && session_->watched.count(name) == 0)
        return fail_with(code::internal_error, "too many resources are subscribed");
    session_->watched.insert(name);
    return json::object();
}

void server::call_tool(const std::shared_ptr<call>& c) {
    const json& name = member(c->params(), "name");
    if (!name.is_string()) return finish(*c, missing("name must be a string"));
    if (c->params().contains("arguments") && !c->params()["arguments"].is_object())
        return finish(*c, missing("arguments must be an object"));
    const tool* wanted = catalogue_.find_tool(name.get_ref<const std::string&>());
    if (!wanted) return finish(*c, fail_with(code::invalid_params, "Unknown tool: " + name.get<std::string>()));
    if (auto wrong = check_arguments(member(wanted->definition, "inputSchema"), c->arguments())) {
        // Since 2025-11-25 the model gets to see what is wrong with its arguments; before, it was a protocol error.
        const bool to_model = c->client().speaks == era::modern || c->client().version == legacy_versions[0];
        return finish(*c, to_model ? outcome(text_result("Invalid arguments: " + *wrong, true)) : missing(wrong->c_str()));
    }
    const effect then = wanted->then;
    start(c, wanted->blocking, wanted->run);
    apply(then);
}

void server::get_prompt(const std::shared_ptr<call>& c) {
    const json& name = member(c->params(), "name");
    if (!name.is_string()) return finish(*c, missing("name must be a string"));
    if (c->params().contains("arguments") && !c->params()["arguments"].is_object())
        return finish(*c, missing("arguments must be an object"));
    const prompt* wanted = catalogue_.find_prompt(name.get_ref<const std::string&>());
    if (!wanted) return finish(*c, fail_with(code::invalid_params, "Unknown prompt: " + name.get<std::string>()));
    for (const auto& argument : member(wanted->definition, "arguments"))
        if (bool_or(argument, "required", false) && !member(c->arguments(), string_or(argument, "name")).is_string())
            return finish(*c, missing(("argument '" + string_or(argument, "name") + "' is missing").c_str()));
    start(c, wanted->blocking, wanted->get);
}

void server::listen(const std::shared_ptr<call>& c) {
    const json& asked = member(c->params(), "notifications");
    if (!asked.is_object()) return finish(*c, missing("notifications must be an object"));
    json agreed = json::object();
    for (const char* key : {"toolsListChanged", "promptsListChanged"})
        if (bool_or(asked, key, false)) agreed[key] = true;
    if (const json& uris = member(asked, "resourceSubscriptions"); uris.is_array()) {
        if (uris.size() > max_watched_uris) return finish(*c, missing("too many resourceSubscriptions"));
        json known = json::array();
        for (const auto& uri : uris)
            if (uri.is_string() && catalogue::has_resource(uri.get_ref<const std::string&>())) known.push_back(uri);
        if (!known.empty()) agreed["resourceSubscriptions"] = std::move(known);
    }
    if (subscriptions_.size() >= max_subscriptions)
        return finish(*c, fail_with(code::internal_error, "too many subscriptions are open"));
    const std::string key = dump(c->id());
    {
        // From here on the id belongs to the subscription.
        const std::lock_guard lock(active_mutex_);
        active_.erase(key);
    }
    subscriptions_[key] = {c->id(), agreed};
    wire_.send({{"jsonrpc", "2.0"},
                {"method", "notifications/subscriptions/acknowledged"},
                {"params", {{"_meta", {{meta_subscription, c->id()}}}, {"notifications", std::move(agreed)}}}});
}

void server::apply(effect what) {
    switch (what) {
        case effect::none:
            break;
        case effect::toggle_tool:
            catalogue_.toggle_tool();
            announce("toolsListChanged", "notifications/tools/list_changed");
            break;
        case effect::toggle_prompt:
            catalogue_.toggle_prompt();
            announce("promptsListChanged", "notifications/prompts/list_changed");
            break;
        case effect::touch_resource:
            catalogue_.touch_resource();
            announce("resourceSubscriptions", "notifications/resources/updated", watched_resource);
            break;
    }
}

void server::announce(const char* filter_key, const char* method, const std::string& uri) {
    json params = json::object();
    if (!uri.empty()) params["uri"] = uri;
    if (session_ && (uri.empty() || session_->watched.count(uri) > 0))
        wire_.send({{"jsonrpc", "2.0"}, {"method", method}, {"params", params}});
    for (const auto& [key, open] : subscriptions_) {
        const json& wanted = member(open.filter, filter_key);
        const bool matches = uri.empty() ? wanted == json(true)
                                         : wanted.is_array() && std::find(wanted.begin(), wanted.end(), uri) != wanted.end();
        if (!matches) continue;
        params["_meta"] = {{meta_subscription, open.id}};
        wire_.send({{"jsonrpc", "2.0"}, {"method", method}, {"params", params}});
    }
}

}  // namespace holdfast::demo
