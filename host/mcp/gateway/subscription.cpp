#include "mcp/gateway/subscription.hpp"

#include "mcp/gateway/text.hpp"

namespace holdfast::mcp::gateway {

std::variant<subscription, rpc_error> subscription::open(stream_id on, const json& id, const json& params, const limits& l,
                                                    const std::function<bool(const std::string&)>& known, actions& out) {
    const json& wanted = member(params, "notifications");
    if (!wanted.is_object()) return rpc_error{rpc_code::invalid_params, "notifications must be an object", {}};
    subscription s;
    s.on_ = on;
    s.id_ = id;
    json agreed = json::object();
    const auto take = [&](const char* key, bool& mine) {
        if ((mine = bool_or(wanted, key, false))) agreed[key] = true;
    };
    take("toolsListChanged", s.tools_);
    take("promptsListChanged", s.prompts_);
    take("resourcesListChanged", s.resources_);
    if (const json& uris = member(wanted, "resourceSubscriptions"); uris.is_array()) {
        if (uris.size() > l.max_subscriptions)
            return rpc_error{rpc_code::invalid_params, "at most " + std::to_string(l.max_subscriptions) + " resourceSubscriptions", {}};
        for (const json& uri : uris)
            if (uri.is_string() && known(uri.get_ref<const std::string&>())) s.uris_.insert(uri.get<std::string>());
        if (!s.uris_.empty()) agreed["resourceSubscriptions"] = s.uris_;
    }
    out.push_back(act::head{on, 200, true});
    s.notify("notifications/subscriptions/acknowledged", {{"notifications", std::move(agreed)}}, out);
    if (!s.uris_.empty()) out.push_back(act::watch{s.uris_});
    return s;
}

void subscription::notify(std::string_view method, json params, actions& out) const {
    params["_meta"] = {{meta::subscription_id, id_}};
    out.push_back(act::emit{on_, {}, notification_message(method, params)});
}

void subscription::changed(list_kind kind, actions& out) const {
    if (kind == list_kind::tools && tools_) notify("notifications/tools/list_changed", json::object(), out);
    if (kind == list_kind::prompts && prompts_) notify("notifications/prompts/list_changed", json::object(), out);
    if ((kind == list_kind::resources || kind == list_kind::templates) && resources_) notify("notifications/resources/list_changed", json::object(), out);
}

void subscription::updated(const std::string& uri, const std::string& watched, actions& out) const {
    if (uris_.count(watched)) notify("notifications/resources/updated", {{"uri", uri}}, out);
}

void subscription::close(actions& out) const {
    out.push_back(act::emit{on_, {}, result_message(id_, dump({{"resultType", "complete"}, {"_meta", {{meta::subscription_id, id_}, {meta::server_info, server_info()}}}}))});
    out.push_back(act::end{on_});
    out.push_back(act::over{});
}

}  // namespace holdfast::mcp::gateway
