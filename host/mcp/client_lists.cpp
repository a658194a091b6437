// Lists of tools, prompts, resources: paged, bounded, followed when the server says they changed.
#include "mcp/client_impl.hpp"
#include "mcp/definition.hpp"

namespace holdfast::mcp {
namespace {

struct kind_info {
    const char* capability;
    const char* method;
    const char* key;
    const char* name;  ///< member that names an item
};
constexpr kind_info kinds[] = {{"tools", "tools/list", "tools", "name"},
                               {"prompts", "prompts/list", "prompts", "name"},
                               {"resources", "resources/list", "resources", "uri"},
                               {"resources", "resources/templates/list", "resourceTemplates", "uriTemplate"}};

}  // namespace

void client_machine::impl::start_lists(steady_time now, actions& out) {
    bool any = false;
    for (std::size_t k = 0; k < list_kinds; ++k) {
        runs[k].offered = identity.capabilities.contains(kinds[k].capability);
        any = any || runs[k].offered;
        runs[k].complete = !runs[k].offered;
    }
    for (std::size_t k = 0; k < list_kinds; ++k)
        if (runs[k].offered) start_list(static_cast<list_kind>(k), now, out);
    if (!any) publish_lists(now, out);
}

void client_machine::impl::want_list(list_kind k, steady_time now, actions& out) {
    list_run& run = runs[k];
    if (!run.offered) return;
    if (run.running) {
        run.dirty = true;  // what is being read may be old already
        return;
    }
    const auto earliest = run.last_start + options.limits.refresh_interval;
    if (earliest > now)
        run.due = earliest;
    else
        start_list(k, now, out);
}

void client_machine::impl::start_list(list_kind k, steady_time now, actions& out) {
    list_run& run = runs[k];
    run.due.reset();
    if (run.running || at == phase::over) return;
    run.running = true;
    run.dirty = false;
    run.items = json::array();
    run.names.clear();
    run.cursors.clear();
    run.pages = 0;
    run.last_start = now;
    next_page(k, {}, now, out);
}

void client_machine::impl::next_page(list_kind k, const std::string& cursor, steady_time now, actions& out) {
    json params = json::object();
    if (!cursor.empty()) params["cursor"] = cursor;
    runs[k].rpc = send(purpose::list, k, kinds[k].method, std::move(params), json::object(), options.limits.handshake_timeout,
                       now, out);
}

void client_machine::impl::on_page(list_kind k, rpc_response& r, steady_time now, actions& out) {
    list_run& run = runs[k];
    if (r.error) return list_failed(k, peer_error(*r.error), r.error->code == rpc_code::method_not_found, now, out);
    const json& items = member(r.result, kinds[k].key);
    const std::string type = string_or(r.result, "resultType", "complete");
    if (!items.is_array() || (identity.detected == era::modern && type != "complete"))
        return list_failed(k, {errc::protocol_error, std::string(kinds[k].method) + " answered without a list"}, false, now, out);
    for (const json& item : items) {
        if (run.items.size() >= options.limits.max_items) {
            out.push_back(out::log{true, std::string(kinds[k].method) + ": more than " +
                                             std::to_string(options.limits.max_items) + " entries, the rest is ignored"});
            return list_done(k, now, out);
        }
        const std::string name = string_or(item, kinds[k].name);
        result<void> fit = k == tools ? check_tool(item) : result<void>{};
        if (fit && name.empty()) fit = fail(errc::protocol_error, "an entry without a name");
        if (fit && !run.names.insert(name).second) fit = fail(errc::protocol_error, "a second entry of that name");
        if (!fit) {
            if (k == tools) ++counters.excluded_tools;
            out.push_back(out::log{true, std::string(kinds[k].method) + ": '" + quote(name) + "' is left out: " + fit.error().message});
            continue;
        }
        run.items.push_back(item);
    }
    const std::string cursor = string_or(r.result, "nextCursor");
    ++run.pages;
    if (cursor.empty()) return list_done(k, now, out);
    if (!run.cursors.insert(cursor).second) {
        violation(counters.misplaced, std::string(kinds[k].method) + ": the cursor repeats, the list ends here", out);
        return at == phase::over ? void() : list_done(k, now, out);
    }
    if (run.pages >= options.limits.max_pages) {
        out.push_back(out::log{true, std::string(kinds[k].method) + ": more than " +
                                         std::to_string(options.limits.max_pages) + " pages, the rest is ignored"});
        return list_done(k, now, out);
    }
    next_page(k, cursor, now, out);
}

void client_machine::impl::list_failed(list_kind k, const error& why, bool unknown_method, steady_time now, actions& out) {
    list_run& run = runs[k];
    run.running = false;
    run.rpc = 0;
    if (!unknown_method) out.push_back(out::log{true, std::string(kinds[k].method) + ": " + why.message});
    if (at == phase::listing) {
        if (k == tools) {  // a server whose tools cannot be read is not healthy
            error e = why;
            e.message = "tools/list failed: " + e.message;
            return give_up(std::move(e), now, out);
        }
        run.items = json::array();
        run.complete = true;
        return publish_lists(now, out);
    }
    const json* published[] = {&lists->tools, &lists->prompts, &lists->resources, &lists->resource_templates};
    run.items = *published[k];  // what was published before stays
    if (run.dirty) want_list(k, now, out);
}

void client_machine::impl::list_done(list_kind k, steady_time now, actions& out) {
    list_run& run = runs[k];
    run.running = false;
    run.rpc = 0;
    run.complete = true;
    publish_lists(now, out);
    if (run.dirty && at != phase::over) want_list(k, now, out);
}

void client_machine::impl::publish_lists(steady_time now, actions& out) {
    for (const auto& run : runs)
        if (!run.complete) return;
    auto fresh = std::make_shared<server_lists>(*lists);
    json* fields[] = {&fresh->tools, &fresh->prompts, &fresh->resources, &fresh->resource_templates};
    bool changed = false;
    for (std::size_t k = 0; k < list_kinds; ++k) {
        if (runs[k].running || *fields[k] == runs[k].items) continue;
        *fields[k] = runs[k].items;
        changed = true;
    }
    if (at == phase::listing) {
        lists = std::move(fresh);
        at = phase::ready;
        out.push_back(out::ready{identity, lists});
        if (identity.detected == era::modern) listen(now, out);
    } else if (changed) {
        lists = std::move(fresh);
        out.push_back(out::lists_changed{lists});
    }
}

void client_machine::impl::listen(steady_time now, actions& out) {
    listen_due.reset();
    json filter = json::object();
    if (bool_or(member(identity.capabilities, "tools"), "listChanged", false)) filter["toolsListChanged"] = true;
    if (bool_or(member(identity.capabilities, "prompts"), "listChanged", false)) filter["promptsListChanged"] = true;
    if (bool_or(member(identity.capabilities, "resources"), "listChanged", false)) filter["resourcesListChanged"] = true;
    if (filter.empty() || at == phase::over) return;
    listen_rpc = send(purpose::listen, 0, "subscriptions/listen", {{"notifications", std::move(filter)}}, json::object(), {}, now, out);
}

void client_machine::impl::listen_ended(bool again, steady_time now, actions&) {
    listen_rpc = 0;
    if (!again || at == phase::over) return;
    listen_lost = true;  // changes may have been missed: all lists are read again once it stands
    listen_due = now + listen_retry;
    listen_retry = std::min(listen_retry * 2, listen_retry_max);
}

/// true: it was about lists and has been dealt with.
bool client_machine::impl::list_notification(const std::string& method, const json& params, steady_time now, actions& out) {
    static const std::map<std::string, std::vector<list_kind>> changes{
        {"notifications/tools/list_changed", {tools}},
        {"notifications/prompts/list_changed", {prompts}},
        {"notifications/resources/list_changed", {resources, templates}}};
    const auto hit = changes.find(method);
    const bool acknowledged = method == "notifications/subscriptions/acknowledged";
    if (hit == changes.end() && !acknowledged) return false;
    if (identity.detected == era::modern) {
        const json& id = member(member(params, "_meta"), meta::subscription_id);
        if (listen_rpc == 0 || !id.is_number_integer() || id.get<std::uint64_t>() != listen_rpc) {
            violation(counters.misplaced, method + " for a subscription that does not exist", out);
            return true;
        }
    }
    if (acknowledged) {
        listen_retry = listen_retry_first;
        if (std::exchange(listen_lost, false))
            for (std::size_t k = 0; k < list_kinds; ++k) want_list(static_cast<list_kind>(k), now, out);
        return true;
    }
    if (at == phase::ready || at == phase::listing)
        for (auto k : hit->second) want_list(k, now, out);
    return true;
}

}  // namespace holdfast::mcp
