// What the server is asked to tell: changes of its lists, updates of resources, its log. A modern server is asked by
// subscriptions/listen, a legacy one by resources/subscribe and logging/setLevel. Spec: basic/patterns/subscriptions.
#include <algorithm>

#include "mcp/client_impl.hpp"

namespace holdfast::mcp {
namespace {

constexpr std::uint64_t subscribing = 1, unsubscribing = 2, setting_level = 3;  // waiting::subject of purpose::watch
constexpr std::size_t max_log_levels = 8;
constexpr std::array<std::string_view, max_log_levels> log_levels{"debug", "info",     "notice", "warning",
                                                                  "error", "critical", "alert",  "emergency"};

}  // namespace

bool is_log_level(std::string_view level) noexcept { return std::find(log_levels.begin(), log_levels.end(), level) != log_levels.end(); }

namespace {
/// Rising with the severity; for what is no level, the end.
auto severity(std::string_view level) { return std::find(log_levels.begin(), log_levels.end(), level) - log_levels.begin(); }
}  // namespace

/// When the server is ready.
void client_machine::impl::start_watching(steady_time now, actions& out) {
    watch(std::move(options.watched), now, out);
    set_log_level(std::move(options.log_level), now, out);
    listen(now, out);
    // Whatever changed before this connection stood was told to nobody. A server that can be asked is waited for: now_covered.
    if (bool_or(member(identity.capabilities, "resources"), "subscribe", false)) return;
    for (const auto& uri : watched) out.push_back(out::notice{"notifications/resources/updated", {{"uri", uri}}});
}

json client_machine::impl::wanted_filter() const {
    json filter = json::object();
    const json& offered = identity.capabilities;
    if (bool_or(member(offered, "tools"), "listChanged", false)) filter["toolsListChanged"] = true;
    if (bool_or(member(offered, "prompts"), "listChanged", false)) filter["promptsListChanged"] = true;
    if (bool_or(member(offered, "resources"), "listChanged", false)) filter["resourcesListChanged"] = true;
    if (!watched.empty() && bool_or(member(offered, "resources"), "subscribe", false)) filter["resourceSubscriptions"] = watched;
    return filter;
}

/// Makes the subscription equal to what is wanted. While one is being opened nothing happens: its acknowledgement looks again.
void client_machine::impl::listen(steady_time now, actions& out) {
    if (at == phase::over || identity.detected != era::modern || opening.rpc != 0) return;
    listen_due.reset();
    json filter = wanted_filter();
    if (stands.rpc != 0 && stands.filter == filter) return;
    if (filter.empty()) {
        if (stands.rpc != 0) stop_waiting(stands.rpc, "nothing is wanted any more", out);
        stands = {};
        return;
    }
    opening = {0, filter};
    opening.rpc = send(purpose::listen, 0, "subscriptions/listen", {{"notifications", std::move(filter)}}, json::object(), {}, now, out);
}

void client_machine::impl::listen_ended(std::uint64_t rpc, bool again, steady_time now, actions&) {
    const bool standing = stands.rpc == rpc;
    if (standing) stands = {};
    if (opening.rpc == rpc) opening = {};
    if (!again || at == phase::over) return;
    if (stands.rpc == 0) listen_lost = true;  // changes may be missed: everything is read again once it stands
    listen_due = now + listen_retry;
    listen_retry = std::min(listen_retry * 2, retry_max);
}

/// The first message of a subscription is its acknowledgement; one that starts with something else counts as acknowledged.
void client_machine::impl::on_acknowledged(std::uint64_t rpc, const json& params, steady_time now, actions& out) {
    if (opening.rpc != rpc) return;
    const listening before = std::exchange(stands, std::exchange(opening, {}));
    if (before.rpc != 0) stop_waiting(before.rpc, "replaced by another subscription", out);
    const json& granted = member(params, "notifications");
    for (const auto& [what, asked] : stands.filter.items())
        if (granted.is_object() && !granted.contains(what)) out.push_back(out::log{false, "the server does not tell of " + what});
    listen_retry = retry_first;
    if (std::exchange(listen_lost, false)) {
        for (std::size_t k = 0; k < list_kinds; ++k) want_list(static_cast<list_kind>(k), now, out);
        forget_reads({});
        for (const auto& uri : watched) out.push_back(out::notice{"notifications/resources/updated", {{"uri", uri}}});
    } else {
        const json& old = member(before.filter, "resourceSubscriptions");
        for (const json& uri : member(stands.filter, "resourceSubscriptions"))
            if (std::find(old.begin(), old.end(), uri) == old.end()) now_covered(uri.get_ref<const std::string&>(), out);
    }
    listen(now, out);
}

/// Whoever wished for it was promised to be told from then on; what changed before the server answered was told to nobody.
void client_machine::impl::now_covered(const std::string& uri, actions& out) {
    if (!watched.count(uri)) return;  // no longer wanted
    forget_reads(uri);
    out.push_back(out::notice{"notifications/resources/updated", {{"uri", uri}}});
}

/// Whether a notification that needs a subscription came on one of ours. Legacy servers have none.
bool client_machine::impl::of_subscription(const std::string& method, const json& params, steady_time now, actions& out) {
    if (identity.detected != era::modern) return true;
    const json& id = member(member(params, "_meta"), meta::subscription_id);
    const std::uint64_t rpc = id.is_number_integer() ? id.get<std::uint64_t>() : 0;
    if (rpc == 0 || (rpc != stands.rpc && rpc != opening.rpc)) {
        // After its cancellation some may still be on their way.
        if (std::find(forgotten.begin(), forgotten.end(), rpc) == forgotten.end())
            violation(counters.misplaced, method + " for a subscription that does not exist", out);
        return false;
    }
    if (rpc == opening.rpc) on_acknowledged(rpc, params, now, out);
    return true;
}

void client_machine::impl::watch(std::set<std::string> uris, steady_time now, actions& out) {
    while (uris.size() > options.limits.max_watched) uris.erase(std::prev(uris.end()));
    if (watched == uris) return;
    watched = std::move(uris);
    if (at == phase::ready) follow_watched(now, out);
}

void client_machine::impl::follow_watched(steady_time now, actions& out) {
    if (identity.detected == era::modern) return listen(now, out);
    listen_due.reset();
    if (!bool_or(member(identity.capabilities, "resources"), "subscribe", false)) return;
    const auto ask = [&](std::uint64_t what, const char* method, const std::string& uri) {
        const auto rpc = send(purpose::watch, what, method, {{"uri", uri}}, {}, options.limits.handshake_timeout, now, out);
        if (what == subscribing) pending[rpc].uri = uri;
    };
    for (auto it = subscribed.begin(); it != subscribed.end();) {
        if (watched.count(*it)) {
            ++it;
            continue;
        }
        ask(unsubscribing, "resources/unsubscribe", *it);
        it = subscribed.erase(it);
    }
    for (const auto& uri : watched)
        if (subscribed.insert(uri).second) ask(subscribing, "resources/subscribe", uri);
}

/// A legacy server did not take the wish, or nobody knows: it is told again after a while.
void client_machine::impl::not_subscribed(const std::string& uri, steady_time now) {
    if (subscribed.erase(uri) == 0 || at == phase::over) return;
    listen_due = now + listen_retry;
    listen_retry = std::min(listen_retry * 2, retry_max);
}

void client_machine::impl::set_log_level(std::string level, steady_time now, actions& out) {
    if (!is_log_level(level)) return;
    const bool same = log_level == level;
    log_level = std::move(level);
    if (same || at != phase::ready || identity.detected == era::modern) return;
    if (!identity.capabilities.contains("logging")) return;
    send(purpose::watch, setting_level, "logging/setLevel", {{"level", log_level}}, {}, options.limits.handshake_timeout, now, out);
}

/// A call wants log messages: a legacy server has one level for all, so it is asked for the least severe one any call has
/// wanted. What is below a call's own level is not handed to it.
void client_machine::impl::want_logs(const std::string& level, steady_time now, actions& out) {
    if (identity.detected == era::legacy && severity(level) < severity(log_level)) set_log_level(level, now, out);
}

void client_machine::impl::on_updated(const json& params, steady_time now, actions& out) {
    if (!of_subscription("notifications/resources/updated", params, now, out)) return;
    const json& uri = member(params, "uri");
    if (!uri.is_string()) return violation(counters.misplaced, "notifications/resources/updated without a uri", out);
    forget_reads(uri.get_ref<const std::string&>());
    json told{{"uri", uri}};
    if (member(params, "title").is_string()) told["title"] = params["title"];
    out.push_back(out::notice{"notifications/resources/updated", std::move(told)});
}

/// As call_for_input: what is logged for one person is not for another.
client_machine::impl::call_state* client_machine::impl::call_for_log() {
    if (call_state* c = call_of_stream()) return c->request.log_level.empty() ? nullptr : c;
    call_state* newest = nullptr;
    for (auto& [id, c] : calls) {
        if (c.request.log_level.empty()) continue;
        if (newest && newest->request.owner != c.request.owner) return nullptr;
        newest = &c;
    }
    return newest;
}

void client_machine::impl::on_log_message(const json& params, actions& out) {
    const std::string level = string_or(params, "level");
    if (!is_log_level(level) || !params.contains("data")) return violation(counters.misplaced, "a log message without level or data", out);
    const json& data = params["data"];
    const std::string text = data.is_string() ? data.get<std::string>() : dump(data);
    out.push_back(out::log{false, level + ": " + quote(text)});
    json shown{{"level", level}, {"data", data}};
    if (member(params, "logger").is_string()) shown["logger"] = params["logger"];
    const call_state* c = call_for_log();
    if (c && severity(level) < severity(c->request.log_level)) return;
    out.push_back(out::message{c ? c->request.id : 0, std::move(shown)});
}

}  // namespace holdfast::mcp
