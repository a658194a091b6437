#include "call.hpp"

namespace holdfast::demo {
namespace {

std::string_view capability_for(std::string_view method) {
    if (method == "elicitation/create") return "elicitation";
    if (method == "sampling/createMessage") return "sampling";
    return "roots";
}

/// What is wrong with an answer of the client, or nothing.
std::optional<std::string> check_answer(std::string_view method, const json& answer) {
    if (!answer.is_object()) return "must be an object";
    if (method == "elicitation/create") {
        const auto action = string_or(answer, "action");
        if (action != "accept" && action != "decline" && action != "cancel")
            return "needs the action accept, decline or cancel";
        if (answer.contains("content") && !answer["content"].is_object()) return "needs an object as content";
    } else if (method == "sampling/createMessage") {
        const json& content = member(answer, "content");
        if (!content.is_object() && !content.is_array()) return "needs content";
    } else if (!member(answer, "roots").is_array()) {
        return "needs an array of roots";
    }
    return std::nullopt;
}

}  // namespace

void batch::done(json answer) {
    const std::lock_guard lock(mutex_);
    if (!answer.is_null()) answers_.push_back(std::move(answer));
    if (--waiting_ == 0 && !answers_.empty()) out_.send(answers_);
}

json error_message(const json& id, const rpc_error& e) {
    json error = {{"code", e.code}, {"message", e.message}};
    if (!e.data.is_null()) error["data"] = e.data;
    return {{"jsonrpc", "2.0"}, {"id", id}, {"error", std::move(error)}};
}

call::call(wire& out, const request_state& states, client_view client, json id, std::string method, json params,
           std::shared_ptr<batch> group)
    : out_(out),
      states_(states),
      client_(std::move(client)),
      id_(std::move(id)),
      method_(std::move(method)),
      params_(std::move(params)),
      group_(std::move(group)) {}

tl::expected<void, stop> call::prepare() {
    if (client_.speaks == era::legacy) return {};
    if (params_.contains("requestState")) {
        const json& state = params_["requestState"];
        if (!state.is_string())
            return fail_with(code::invalid_params, "Invalid params: requestState must be a string");
        auto payload = states_.open(state.get_ref<const std::string&>(), identity());
        if (!payload) return tl::unexpected<stop>(payload.error());
        if (payload->is_object()) answers_ = std::move(*payload);
        has_state_ = true;
    }
    if (params_.contains("inputResponses")) {
        const json& responses = params_["inputResponses"];
        if (!responses.is_object())
            return fail_with(code::invalid_params, "Invalid params: inputResponses must be an object");
        for (const auto& [key, answer] : responses.items()) {
            if (!answer.is_object())
                return fail_with(code::invalid_params, "Invalid params: inputResponses." + key + " must be an object");
            // What an earlier round sealed is not asked again, so it cannot be answered again either.
            if (!answers_.contains(key)) answers_[key] = answer;
        }
    }
    return {};
}

const json& call::arguments() const {
    static const json none = json::object();
    const json& given = member(params_, "arguments");
    return given.is_object() ? given : none;
}

const json& call::progress_token() const { return member(member(params_, "_meta"), "progressToken"); }

void call::progress(double done, double total, const std::string& message) {
    const json& token = progress_token();
    if (!token.is_string() && !token.is_number_integer()) return;
    out_.send_for(cancelled_, {{"jsonrpc", "2.0"},
                               {"method", "notifications/progress"},
                               {"params",
                                {{"progressToken", token}, {"progress", done}, {"total", total}, {"message", message}}}});
}

void call::log(std::string_view level, json data) {
    if (log_severity(level) < client_.log_from) return;
    out_.send_for(cancelled_,
                  {{"jsonrpc", "2.0"},
                   {"method", "notifications/message"},
                   {"params", {{"level", level}, {"logger", "holdfast-demo-server"}, {"data", std::move(data)}}}});
}

tl::unexpected<stop> call::interrupted() const {
    if (cancelled()) return cancelled_by_client();
    return fail_with(code::internal_error, "the server is shutting down");
}

bool call::can_ask(std::string_view method) const {
    const json& capability = member(client_.capabilities, capability_for(method));
    if (!capability.is_object()) return false;
    // An elicitation capability that names modes without `form` is for URLs only.
    return method != "elicitation/create" || capability.empty() || capability.contains("form") ||
           !capability.contains("url");
}

outcome call::ask(const json& requests, memory how) {
    json missing = json::object();
    for (const auto& [key, request] : requests.items()) {
        const auto method = string_or(request, "method");
        if (!can_ask(method)) missing[std::string(capability_for(method))] = json::object();
    }
    if (!missing.empty()) {
        std::string names;
        for (const auto& [name, unused] : missing.items()) names += (names.empty() ? "" : ", ") + name;
        if (client_.speaks == era::legacy)
            return fail_with(code::internal_error, "the client did not declare the capability " + names);
        return fail_with(code::missing_capability, "This request needs the client capability " + names,
                         {{"requiredCapabilities", std::move(missing)}});
    }

    outcome answers = client_.speaks == era::legacy ? out_.ask(cancelled_, requests) : ask_by_retry(requests, how);
    if (!answers) return answers;
    for (const auto& [key, request] : requests.items())
        if (auto wrong = check_answer(string_or(request, "method"), (*answers)[key]))
            return fail_with(client_.speaks == era::legacy ? code::internal_error : code::invalid_params,
                             "the answer to '" + key + "' " + *wrong);
    return answers;
}

outcome call::ask_by_retry(const json& requests, memory how) {
    json known = json::object(), open = json::object();
    const bool trusted = how == memory::free || has_state_;
    for (const auto& [key, request] : requests.items()) {
        if (trusted && answers_.contains(key))
            known[key] = used_[key] = answers_[key];
        else
            open[key] = request;
    }
    if (open.empty()) return known;
    json result = {{"resultType", "input_required"}, {"inputRequests", std::move(open)}};
    if (how == memory::sealed || !used_.empty()) result["requestState"] = states_.seal(used_, identity());
    return tl::unexpected<stop>(stop{stop::kind::input_required, {}, std::move(result)});
}

std::string call::identity() const {
    return dump({method_, member(params_, "name"), member(params_, "uri"), arguments()});
}

void call::reply(const outcome& done) {
    json message;
    if (done) {
        message = {{"jsonrpc", "2.0"}, {"id", id_}, {"result", *done}};
    } else if (done.error().why == stop::kind::error) {
        message = error_message(id_, done.error().error);
    } else if (done.error().why == stop::kind::input_required) {
        message = {{"jsonrpc", "2.0"}, {"id", id_}, {"result", done.error().result}};
    }
    if (group_)
        group_->done(cancelled() ? json() : std::move(message));
    else if (!message.is_null())
        out_.send_for(cancelled_, message);
}

}  // namespace holdfast::demo
