// What the gateway offers to each role, the pins of its tools, and who is told when something changes.
#include "api/mcp_gateway.hpp"
#include "kernel/events/bus.hpp"
#include "mcp/sub_resource.hpp"

namespace holdfast::api {

using namespace mcp::gateway;

namespace {

constexpr const char* pin_table_name = "tool_pins";
constexpr seconds store_retry{2};
constexpr std::int64_t pin_page = 200;
constexpr std::size_t max_told_collisions = 10'000;
constexpr const char* dashboard = "session:admin_dashboard";

}  // namespace

void mcp_gateway::say(servers::log_level level, const std::string& line) const {
    if (options_.log) options_.log(level, line);
}

std::shared_ptr<const offer> mcp_gateway::offered(role r) {
    const auto at = static_cast<std::size_t>(r);
    {
        std::lock_guard lock(mutex_);
        if (offers_[at]) return offers_[at];
    }
    std::lock_guard serial(building_);
    {
        std::lock_guard lock(mutex_);
        if (offers_[at]) return offers_[at];
    }
    auto made = make_offer(r, nullptr);
    std::lock_guard lock(mutex_);
    return offers_[at] = std::move(made);
}

std::shared_ptr<const offer> mcp_gateway::make_offer(role r, const offer* before) {
    const auto now = options_.servers->tools();
    const auto s = settings();
    offer_rules rules = s->rules;
    rules.role = s->roles[static_cast<std::size_t>(r)];
    offer_source from;
    from.prompts = &now->prompts;
    from.resources = &now->resources;
    from.templates = &now->resource_templates;
    from.servers = options_.servers->names();
    {
        std::lock_guard lock(mutex_);
        // Not before it is known what was approved: a definition cannot be judged without.
        if (s->pins != pinning::hold || pins_known_)
            for (const auto& t : now->tools) from.tools.push_back({&t.server, &t.name, t.definition, s->pins == pinning::hold && pins_.held(t.server, t.name, t.hash)});
    }
    return offer::make(from, rules, before);
}

void mcp_gateway::refresh_soon() {
    if (stopped_ || refreshing_.exchange(true)) return;
    const bool posted = options_.runtime->post([weak = weak_from_this()] {
        if (auto self = weak.lock()) self->refresh();
    });
    if (!posted) refreshing_ = false;
}

void mcp_gateway::refresh() {
    refreshing_ = false;  // what changes from here on brings another one
    std::vector<std::pair<role, list_kind>> changes;
    {
        std::lock_guard serial(building_);
        review_pins(*options_.servers->tools());
        for (role r : {role::viewer, role::op, role::admin}) {
            const auto at = static_cast<std::size_t>(r);
            std::shared_ptr<const offer> before;
            {
                std::lock_guard lock(mutex_);
                before = offers_[at];
            }
            if (!before && r != role::admin) continue;  // nobody of that role has asked yet
            auto fresh = make_offer(r, before.get());
            if (r == role::admin) tell_collisions(*fresh);
            {
                std::lock_guard lock(mutex_);
                offers_[at] = fresh;
            }
            if (!before) continue;
            for (auto kind : {list_kind::tools, list_kind::prompts})
                if (before->digest(kind) != fresh->digest(kind)) changes.emplace_back(r, kind);
            if (before->digest(list_kind::resources) != fresh->digest(list_kind::resources) || before->digest(list_kind::templates) != fresh->digest(list_kind::templates))
                changes.emplace_back(r, list_kind::resources);
        }
        follow_watches_locked();
    }
    for (const auto& [r, kind] : changes) tell_changed(r, kind);
}

void mcp_gateway::tell_collisions(const offer& now) {
    for (const auto& c : now.collisions()) {
        const std::string key = c.name + "\n" + c.hidden_of;
        if (told_collisions_.size() >= max_told_collisions || !told_collisions_.insert(key).second) continue;
        const std::string why = "two servers offer '" + c.name + "': it is that of '" + c.served_by + "', the one of '" + c.hidden_of +
                                "' is hidden; set \"gateway\": {\"prefix\": \"server\"} or leave one out in \"gateway\": {\"servers\": …}";
        say(servers::log_level::error, why);
        if (options_.bus)
            options_.bus->publish(dashboard, "admin_notification", json{{"severity", "error"}, {"message", why}, {"context", {{"name", c.name}, {"served_by", c.served_by}, {"hidden_of", c.hidden_of}}}});
    }
}

void mcp_gateway::tell_changed(role r, list_kind kind) {
    std::vector<std::shared_ptr<session_box>> sessions;
    std::vector<std::shared_ptr<listen_box>> listens;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [id, b] : sessions_)
            if (b->owner.rights == r) sessions.push_back(b);
        for (const auto& [n, b] : listens_)
            if (b->owner.rights == r) listens.push_back(b);
    }
    for (const auto& b : sessions) b->run([b = b.get(), kind](actions& out) { b->machine.changed(kind, b->now(), out); });
    for (const auto& b : listens) b->run([b = b.get(), kind](actions& out) { b->machine.changed(kind, out); });
}

void mcp_gateway::on_notice(const std::string& server, const std::string& method, const json& params) {
    if (method != "notifications/resources/updated") return;  // changes of lists come with the catalogue
    const std::string uri = string_or(params, "uri");
    std::array<std::shared_ptr<const offer>, 3> known;
    std::vector<std::pair<std::shared_ptr<session_box>, std::string>> sessions;  // with what they watch
    std::vector<std::pair<std::shared_ptr<listen_box>, std::string>> listens;
    {
        std::lock_guard lock(mutex_);
        known = offers_;
        const auto watched_by = [&](std::uint64_t number) {
            const std::string* nearest = nullptr;
            if (const auto w = watches_.find(number); w != watches_.end())
                for (const std::string& one : w->second)
                    if (mcp::is_at_or_below(uri, one) && (!nearest || one.size() > nearest->size())) nearest = &one;
            return nearest;
        };
        for (const auto& [id, b] : sessions_)
            if (const auto* w = watched_by(b->owner.number)) sessions.emplace_back(b, *w);
        for (const auto& [n, b] : listens_)
            if (const auto* w = watched_by(n)) listens.emplace_back(b, *w);
    }
    const auto* all = known[static_cast<std::size_t>(role::admin)].get();
    const auto not_its_own = [&](const auto& one) {  // not its resource to speak of
        const auto* owner = all ? all->resource_server(one.second) : nullptr;
        return !owner || *owner != server;
    };
    std::erase_if(sessions, not_its_own);
    std::erase_if(listens, not_its_own);
    // Whoever may not see what lies below hears of what he watches.
    const auto said = [&](role r, const std::string& watched) { return known[static_cast<std::size_t>(r)] && known[static_cast<std::size_t>(r)]->resource_server(uri) ? uri : watched; };
    for (const auto& [b, watched] : sessions)
        b->run([b = b.get(), watched, said = said(b->owner.rights, watched)](actions& out) { b->machine.updated(said, watched, b->now(), out); });
    for (const auto& [b, watched] : listens) b->run([b = b.get(), watched, said = said(b->owner.rights, watched)](actions& out) { b->machine.updated(said, watched, out); });
}

void mcp_gateway::watch(std::uint64_t number, std::set<std::string> uris) {
    {
        std::lock_guard lock(mutex_);
        if (uris.empty()) watches_.erase(number);
        else watches_[number] = std::move(uris);
    }
    follow_watches();
}

void mcp_gateway::follow_watches() {
    (void)offered(role::admin);
    std::lock_guard serial(building_);
    follow_watches_locked();
}

void mcp_gateway::follow_watches_locked() {
    std::map<std::string, std::set<std::string>> wanted;
    {
        std::lock_guard lock(mutex_);
        const auto& known = offers_[static_cast<std::size_t>(role::admin)];
        if (!known) return;
        for (const auto& [n, uris] : watches_)
            for (const auto& uri : uris)
                if (const auto* server = known->resource_server(uri)) wanted[*server].insert(uri);
        // A server that is away keeps its wishes: they are followed when it is back.
        for (const auto& [server, uris] : watched_)
            if (!wanted.count(server)) wanted[server] = {};
    }
    for (const auto& [server, uris] : wanted)
        if (watched_[server] != uris) (void)options_.servers->watch_resources(server, uris);  // gone meanwhile: nothing to watch
    std::erase_if(wanted, [](const auto& w) { return w.second.empty(); });
    watched_ = std::move(wanted);
}

// --- pins ---

void mcp_gateway::review_pins(const servers::catalogue& now) {
    const auto s = settings();
    if (s->pins == pinning::off) return;
    std::vector<pin_table::seen> seen;
    seen.reserve(now.tools.size());
    for (const auto& t : now.tools) seen.push_back({&t.server, &t.name, &t.hash, t.definition.get()});
    pin_table::review_result r;
    {
        std::lock_guard lock(mutex_);
        if (!pins_known_) return;
        r = pins_.review(seen, s->pins == pinning::warn, rfc3339(options_.runtime->clock().wall()));
        std::erase_if(r.full, [&](const auto& server) { return !told_full_.insert(server).second; });
    }
    for (const auto& server : r.full) {
        const std::string what = std::to_string(pin_table::max_pins) + " tools of server '" + server +
                                 "' are pinned: new ones are held until those that it no longer has are forgotten (holdfast gateway forget " + server + ")";
        say(servers::log_level::error, what);
        if (options_.bus) options_.bus->publish(dashboard, "admin_notification", json{{"severity", "error"}, {"message", what}, {"context", {{"mcp_name", server}}}});
    }
    for (const auto& a : r.alarms) {
        const std::string what = "the definition of tool '" + a.tool + "' of server '" + a.server + "' has changed" +
                                 (s->pins == pinning::hold ? ": it is held until an administrator approves it (holdfast gateway pins)" : "");
        say(servers::log_level::warn, what);
        if (!options_.bus) continue;
        const json event{{"mcp_name", a.server}, {"tool", a.tool}, {"pinned", a.pinned}, {"now", a.now}, {"held", s->pins == pinning::hold}};
        options_.bus->publish("server:" + a.server, "tool_definition_changed", event);
        options_.bus->publish(dashboard, "tool_definition_changed", event);
    }
    store_pins(r.changed);
}

void mcp_gateway::store_pins(const std::set<std::string>& servers, bool again) {
    if (!options_.store) return;
    for (const auto& server : servers) {
        json row;
        {
            std::lock_guard lock(mutex_);
            row = pins_.row(server);
        }
        options_.store("put", {{"table", pin_table_name}, {"key", server}, {"value", std::move(row)}}, [weak = weak_from_this(), server, again](result<json> r) {
            const auto self = weak.lock();
            if (!self || r || self->stopped_) return;
            if (!again) self->say(servers::log_level::error, "the pinned definitions of '" + server + "' are not stored, they are written again until they are: " + r.error().message);
            {
                std::lock_guard lock(self->mutex_);
                if (!self->unstored_.insert(server).second) return;
            }
            auto later = self->options_.runtime->after(store_retry, [weak, server] {
                const auto self = weak.lock();
                if (!self || self->stopped_) return;
                {
                    std::lock_guard lock(self->mutex_);
                    self->unstored_.erase(server);
                }
                self->store_pins({server}, true);
            });
            later.detach();
        });
    }
}

void mcp_gateway::load_pins(std::string after) {
    options_.store("list", {{"table", pin_table_name}, {"after", after}, {"limit", pin_page}}, [weak = weak_from_this(), after](result<json> r) {
        const auto self = weak.lock();
        if (!self || self->stopped_) return;
        if (!r) {
            self->say(servers::log_level::error, "the pinned definitions cannot be read, no tools are offered until they are: " + r.error().message);
            auto again = self->options_.runtime->after(store_retry, [weak, after] {
                if (auto self = weak.lock()) self->load_pins(after);
            });
            return again.detach();
        }
        const json& rows = member(*r, "rows");
        std::string last;
        {
            std::lock_guard lock(self->mutex_);
            for (const json& row : rows) self->pins_.load(last = string_or(row, "key"), member(row, "value"));
            if (rows.size() < static_cast<std::size_t>(pin_page)) self->pins_known_ = true;
        }
        if (rows.size() >= static_cast<std::size_t>(pin_page)) return self->load_pins(last);
        self->refresh_soon();
    });
}

json mcp_gateway::pins(const std::string& server, bool held_only) const {
    std::lock_guard lock(mutex_);
    return pins_.rows(server, held_only);
}

void mcp_gateway::forget(const std::string& server, const std::string& by, reply done) {
    std::set<std::string> offered;
    for (const auto now = options_.servers->tools(); const auto& t : now->tools)
        if (t.server == server) offered.insert(t.name);
    std::size_t dropped = 0;
    {
        std::lock_guard lock(mutex_);
        dropped = pins_.forget(server, offered);
        told_full_.erase(server);
    }
    if (dropped > 0) {
        store_pins({server});
        refresh_soon();
        say(servers::log_level::info, std::to_string(dropped) + " pinned tools of server '" + server + "' were forgotten by " + by);
    }
    done(json{{"server", server}, {"forgotten", dropped}});
}

void mcp_gateway::approve(const std::string& server, const std::string& tool, const std::string& hash, const std::string& by, reply done) {
    const std::string now = rfc3339(options_.runtime->clock().wall());
    pin_table approved;  // of this server alone, as it will be: in force once it is stored
    {
        std::lock_guard lock(mutex_);
        approved.load(server, pins_.row(server));
    }
    if (auto ok = approved.approve(server, tool, hash, by, now); !ok) return done(tl::unexpected<error>(ok.error()));
    json row = approved.row(server);
    auto in_force = [self = shared_from_this(), server, tool, by, now, row, done = std::move(done)](result<json> r) mutable {
        if (!r) return done(fail(r.error().code, "the approval could not be stored, the tool is still held: " + r.error().message));
        result<void> ok;
        bool same = true;
        {
            std::lock_guard lock(self->mutex_);
            ok = self->pins_.approve(server, tool, row["tools"][tool]["hash"], by, now);
            same = self->pins_.row(server) == row;
        }
        if (!same) self->store_pins({server});  // more has changed meanwhile
        if (!ok) return done(tl::unexpected<error>(ok.error()));
        self->refresh_soon();
        self->say(servers::log_level::info, "the definition of tool '" + tool + "' of server '" + server + "' was approved by " + by);
        if (self->options_.bus) self->options_.bus->publish(dashboard, "tool_definition_approved", json{{"mcp_name", server}, {"tool", tool}, {"by", by}});
        done(json{{"server", server}, {"tool", tool}, {"state", "pinned"}});
    };
    if (!options_.store) return in_force(json::object());
    options_.store("put", {{"table", pin_table_name}, {"key", server}, {"value", std::move(row)}}, std::move(in_force));
}

}  // namespace holdfast::api
