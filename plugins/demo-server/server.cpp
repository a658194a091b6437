#include "server.hpp"

#include <unistd.h>

#include <cstdio>

namespace holdfast::demo {
namespace {

bool valid_id(const json& id) { return id.is_string() || id.is_number_integer(); }

std::string join_versions() {
    std::string text(modern_version);
    for (const auto version : legacy_versions) text += ", " + std::string(version);
    return text;
}

/// Methods that exist in the legacy era only. Spec: MCP 2026-07-28, changelog.
bool legacy_only(std::string_view method) {
    return method == "initialize" || method == "ping" || method == "logging/setLevel" || method == "resources/subscribe" ||
           method == "resources/unsubscribe";
}

bool modern_only(std::string_view method) { return method == "server/discover" || method == "subscriptions/listen"; }

}  // namespace

int server::run() {
    std::string_view line;
    for (;;) {
        const auto what = reader_.next(line);
        if (what == line_reader::kind::end) break;
        if (what == line_reader::kind::too_long)
            wire_.send(error_message(nullptr, {code::parse_error, "Parse error: the line is longer than " +
                                                                      std::to_string(max_line) + " bytes", nullptr}));
        else if (line.find_first_not_of(" \t") != std::string_view::npos)
            on_line(line);
    }
    wire_.close();
    for (const auto& [key, open] : subscriptions_)
        wire_.send({{"jsonrpc", "2.0"},
                    {"id", open.id},
                    {"result", {{"resultType", "complete"}, {"_meta", {{meta_subscription, open.id}, {meta_server_info, server_info()}}}}}});
    if (!workers_.drain(exit_deadline)) {
        // A worker hangs in the disk or in a pipe nobody reads; there is nobody left to wait for.
        std::fputs("holdfast-demo-server: leaving with unfinished work\n", stderr);
        std::_Exit(1);
    }
    return 0;
}

void server::on_line(std::string_view line) {
    auto message = parse_json(line);
    if (!message) {
        wire_.send(error_message(nullptr, {code::parse_error, "Parse error: " + message.error().message, nullptr}));
        return;
    }
    if (message->is_array())
        on_batch(*message);
    else
        on_message(*message, nullptr);
}

void server::on_batch(const json& messages) {
    // Only 2025-03-26 knows batches.
    if (!session_ || session_->client.version != "2025-03-26" || messages.empty() || messages.size() > max_batch) {
        wire_.send(error_message(nullptr, {code::invalid_request, "Invalid request: a message must be one JSON object", nullptr}));
        return;
    }
    const auto expects_answer = [](const json& m) { return m.is_object() && m.contains("method") && m.contains("id"); };
    const auto expected = static_cast<std::size_t>(std::count_if(messages.begin(), messages.end(), expects_answer));
    // Shared by the calls of the batch, which may finish in any order.
    const auto group = std::make_shared<batch>(wire_, expected);
    for (const auto& message : messages) on_message(message, expects_answer(message) ? group : nullptr);
}

void server::on_message(const json& message, const std::shared_ptr<batch>& group) {
    const auto refuse = [&](const char* why) {
        const json& id = member(message, "id");
        json answer = error_message(valid_id(id) ? id : json(), {code::invalid_request, std::string("Invalid request: ") + why, nullptr});
        if (group)
            group->done(std::move(answer));
        else
            wire_.send(answer);
    };
    if (!message.is_object()) return refuse("a message must be a JSON object");
    if (string_or(message, "jsonrpc") != "2.0") return refuse("jsonrpc must be \"2.0\"");
    if (!message.contains("method")) {
        if (message.contains("result") || message.contains("error")) return wire_.answer(message);
        return refuse("neither a request nor a notification nor a response");
    }
    if (!message["method"].is_string()) return refuse("method must be a string");
    if (message.contains("params") && !message["params"].is_object()) return refuse("params must be an object");
    if (!message.contains("id")) return on_notification(message["method"].get<std::string>(), member(message, "params"));
    if (!valid_id(message["id"])) return refuse("id must be a string or an integer");
    on_request(message, group);
}

void server::on_notification(const std::string& method, const json& params) {
    // Unknown notifications and unknown request ids are ignored, as both eras ask.
    if (method != "notifications/cancelled") return;
    const std::string key = dump(member(params, "requestId"));
    if (subscriptions_.erase(key) > 0) return;
    std::shared_ptr<call> target;
    {
        const std::lock_guard lock(active_mutex_);
        if (auto it = active_.find(key); it != active_.end()) target = it->second;
    }
    if (!target) return;
    target->cancel();
    // Nothing else shows that the news has come this far: a cancelled request is not answered.
    std::fprintf(stderr, "holdfast-demo-server: request %s was cancelled\n", key.c_str());
}

tl::expected<client_view, stop> server::identify(const std::string& method, const json& params) const {
    const json& meta = member(params, "_meta");
    const bool modern = meta.is_object() && (meta.contains(meta_version) || meta.contains(meta_capabilities));
    if (!modern && !modern_only(method)) {
        if (session_) return session_->client;
        if (method == "initialize" || method == "ping") return client_view{era::legacy, {}, json::object(), 8};
        return fail_with(code::invalid_params, std::string("Invalid params: _meta needs ") + meta_version + " and " +
                                                   meta_capabilities + "; older clients send initialize first (versions: " +
                                                   join_versions() + ")");
    }
    const json& version = member(meta, meta_version);
    if (!version.is_string()) return fail_with(code::invalid_params, std::string("Invalid params: _meta needs ") + meta_version);
    if (version != modern_version)
        return fail_with(code::unsupported_version, "Unsupported protocol version",
                         {{"supported", json::array({modern_version})}, {"requested", version}});
    const json& capabilities = member(meta, meta_capabilities);
    if (!capabilities.is_object())
        return fail_with(code::invalid_params, std::string("Invalid params: _meta needs ") + meta_capabilities);
    client_view client{era::modern, version, capabilities, 8};
    if (const json& level = member(meta, meta_log_level); !level.is_null()) {
        client.log_from = level.is_string() ? log_severity(level.get_ref<const std::string&>()) : -1;
        if (client.log_from < 0)
            return fail_with(code::invalid_params, std::string("Invalid params: ") + meta_log_level + " is not a log level");
    }
    return client;
}

void server::on_request(const json& message, const std::shared_ptr<batch>& group) {
    const auto method = message["method"].get<std::string>();
    json params = message.contains("params") ? message["params"] : json::object();
    auto client = identify(method, params);
    const auto c = std::make_shared<call>(wire_, states_, client ? *client : client_view{}, message["id"], method,
                                          std::move(params), group);
    if (!client) return c->reply(tl::unexpected<stop>(client.error()));
    if (const json& token = c->progress_token(); !token.is_null() && !token.is_string() && !token.is_number_integer())
        return c->reply(fail_with(code::invalid_params, "Invalid params: progressToken must be a string or an integer"));
    if (auto ready = c->prepare(); !ready) return c->reply(tl::unexpected<stop>(ready.error()));
    const std::string key = dump(c->id());
    {
        const std::lock_guard lock(active_mutex_);
        if (active_.count(key) > 0 || subscriptions_.count(key) > 0)
            return c->reply(fail_with(code::invalid_request, "Invalid request: this id is in use by another request"));
        active_[key] = c;
    }
    serve(c);
}

void server::serve(const std::shared_ptr<call>& c) {
    const auto& method = c->method();
    if (method == "tools/call") return call_tool(c);
    if (method == "prompts/get") return get_prompt(c);
    if (method == "subscriptions/listen" && c->client().speaks == era::modern) return listen(c);
    const auto done = [&]() -> outcome {
        if (method == "tools/list") return list(*c, "tools", catalogue_.list_tools());
        if (method == "prompts/list") return list(*c, "prompts", catalogue_.list_prompts());
        if (method == "resources/list") return list(*c, "resources", catalogue::list_resources());
        if (method == "resources/templates/list") return list(*c, "resourceTemplates", catalogue::list_templates());
        if (method == "resources/read") return read_resource(*c);
        if (method == "completion/complete") return complete(*c);
        if (method == "server/discover") return discover();
        if (legacy_only(method) && c->client().speaks == era::legacy) {
            if (method == "initialize") return initialize(c->params());
            if (method == "logging/setLevel") return set_level(c->params());
            if (method == "resources/subscribe") return watch(c->params(), true);
            if (method == "resources/unsubscribe") return watch(c->params(), false);
            return json::object();  // ping
        }
        return fail_with(code::method_not_found, "Method not found: " + method);
    };
    finish(*c, done());
}

void server::start(const std::shared_ptr<call>& c, bool blocking, std::function<outcome(call&)> work) {
    if (!blocking) return finish(*c, work(*c));
    if (!workers_.submit([this, c, work = std::move(work)] { finish(*c, work(*c)); }))
        finish(*c, fail_with(code::internal_error, "the server is busy with too many requests; try again later"));
}

/// [reader or worker] Decorates the result for the era of the request and answers.
void server::finish(call& c, outcome done) {
    const bool modern = c.client().speaks == era::modern;
    if (!done && done.error().why == stop::kind::error && done.error().error.code == code::internal_error &&
        c.method() == "tools/call")
        done = text_result(done.error().error.message, true);  // what went wrong inside a tool is for the model to read
    if (modern) {
        json* result = done ? &*done : done.error().why == stop::kind::input_required ? &done.error().result : nullptr;
        if (result) {
            if (!result->contains("resultType")) (*result)["resultType"] = "complete";
            (*result)["_meta"][meta_server_info] = server_info();
        }
    }
    {
        const std::lock_guard lock(active_mutex_);
        active_.erase(dump(c.id()));
    }
    c.reply(done);
}

}  // namespace holdfast::demo
