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
    const char* changed;
};
constexpr kind_info kinds[] = {
    {"tools", "tools/list", "tools", "name", "notifications/tools/list_changed"},
    {"prompts", "prompts/list", "prompts", "name", "notifications/prompts/list_changed"},
    {"resources", "resources/list", "resources", "uri", "notifications/resources/list_changed"},
    {"resources", "resources/templates/list", "resourceTemplates", "uriTemplate", "notifications/resources/list_changed"}};

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
    run.stale_next.reset();
    run.last_start = now;
    next_page(k, std::nullopt, now, out);
}

/// Freshness is looked at when a list is used, not by a timer: a ttlMs is no polling interval.
void client_machine::impl::use_list(list_kind k, steady_time now, actions& out) {
    if (runs[k].stale && *runs[k].stale <= now && runs[k].offered) start_list(k, now, out);
}

void client_machine::impl::next_page(list_kind k, const std::optional<std::string>& cursor, steady_time now, actions& out) {
    json params = json::object();
    if (cursor) params["cursor"] = *cursor;
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
    if (const auto ttl = ttl_ms(r.result); ttl >= 0 && identity.detected == era::modern) {
        const steady_time until = now + std::max(milliseconds(ttl), options.limits.stale_interval);
        run.stale_next = std::min(run.stale_next.value_or(until), until);
    }
    for (json item : items) {
        if (run.items.size() >= options.limits.max_items) {
            out.push_back(out::log{true, std::string(kinds[k].method) + ": more than " +
                                             std::to_string(options.limits.max_items) + " entries, the rest is ignored"});
            return list_done(k, now, out);
        }
        const std::string name = string_or(item, kinds[k].name);
        result<void> fit = tidy_definition(item);
        if (fit && k == tools) fit = check_tool(item);
        if (fit && name.empty()) fit = fail(errc::protocol_error, "an entry without a name");
        if (fit && !run.names.insert(name).second) fit = fail(errc::protocol_error, "a second entry of that name");
        if (!fit) {
            if (k == tools) ++counters.excluded_tools;
            out.push_back(out::log{true, std::string(kinds[k].method) + ": '" + quote(name) + "' is left out: " + fit.error().message});
            continue;
        }
        run.items.push_back(std::move(item));
    }
    // An empty cursor is a cursor; only legacy servers mean the end by it.
    const json& next = member(r.result, "nextCursor");
    ++run.pages;
    if (!next.is_string() || (identity.detected == era::legacy && next.get_ref<const std::string&>().empty())) return list_done(k, now, out);
    const std::string cursor = next.get<std::string>();
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
    if (at == phase::listing && k == tools) {  // a server whose tools cannot be read is not healthy
        error e = why;
        e.message = "tools/list failed: " + e.message;
        return give_up(std::move(e), now, out);
    }
    if (!unknown_method) {  // what has changed, or is not known yet, stays so until it can be read
        const bool first = run.retry == retry_first;
        out.push_back(out::log{first, std::string(kinds[k].method) + ": " + why.message + "; it is read again in " + std::to_string(run.retry.count()) + " s"});
        run.due = now + run.retry;
        run.retry = std::min(run.retry * 2, retry_max);
    }
    if (at == phase::listing) {
        run.items = json::array();
        run.complete = true;
        return publish_lists(now, out);
    }
    const json* published[] = {&lists->tools, &lists->prompts, &lists->resources, &lists->resource_templates};
    run.items = *published[k];  // what was published before stays
    if (run.stale) run.stale = now + options.limits.stale_interval;
    if (k == tools) tools_were_read(now, out);
    if (run.dirty) want_list(k, now, out);
}

void client_machine::impl::list_done(list_kind k, steady_time now, actions& out) {
    list_run& run = runs[k];
    run.running = false;
    run.rpc = 0;
    run.complete = true;
    run.retry = retry_first;
    run.stale = run.stale_next;
    publish_lists(now, out);
    if (k == tools && at == phase::ready) tools_were_read(now, out);
    if (run.dirty && at != phase::over) want_list(k, now, out);
}

void client_machine::impl::publish_lists(steady_time now, actions& out) {
    for (const auto& run : runs)
        if (!run.complete) return;
    auto fresh = std::make_shared<server_lists>(*lists);
    json* fields[] = {&fresh->tools, &fresh->prompts, &fresh->resources, &fresh->resource_templates};
    std::vector<const char*> changed;
    for (std::size_t k = 0; k < list_kinds; ++k) {
        if (runs[k].running || *fields[k] == runs[k].items) continue;
        *fields[k] = runs[k].items;
        if (changed.empty() || changed.back() != std::string_view(kinds[k].changed)) changed.push_back(kinds[k].changed);
    }
    if (at == phase::listing) {
        lists = std::move(fresh);
        at = phase::ready;
        out.push_back(out::ready{identity, lists});
        start_watching(now, out);
    } else if (!changed.empty()) {
        lists = std::move(fresh);
        out.push_back(out::lists_changed{lists});
        for (const char* method : changed) out.push_back(out::notice{method, {}});
    }
}

/// true: it was about lists and has been dealt with.
bool client_machine::impl::list_notification(const std::string& method, const json& params, steady_time now, actions& out) {
    static const std::map<std::string, std::vector<list_kind>> changes{
        {"notifications/tools/list_changed", {tools}},
        {"notifications/prompts/list_changed", {prompts}},
        {"notifications/resources/list_changed", {resources, templates}}};
    const auto hit = changes.find(method);
    if (hit == changes.end()) return false;
    if (of_subscription(method, params, now, out) && (at == phase::ready || at == phase::listing))
        for (auto k : hit->second) want_list(k, now, out);
    return true;
}

}  // namespace holdfast::mcp
