#include "servers/server_set_impl.hpp"

#include "servers/preflight.hpp"

namespace holdfast::servers {
server_set::server_set(server_set_options options) : impl_(nullptr) {
    impl_ = std::make_shared<impl>(std::move(options));
    impl_->board = std::make_shared<catalogue_board>(impl_->rt(), [raw = impl_.get()] { return raw->all(); });
    impl_->context->catalogue_changed = [board = impl_->board] { board->changed(); };
}

server_set::~server_set() { impl_->board->end(); }

std::shared_ptr<server_set> server_set::create(server_set_options options) {
    return std::shared_ptr<server_set>(new server_set(std::move(options)));
}

supervise::child_spec server_set::supervisor_spec() {
    auto child = supervise::supervisor_child(
        "servers",
        [] {
            supervise::supervisor_options o;
            o.rules.dynamic = true;
            o.rules.max_children = max_servers;
            return o;
        },
        {},
        [self = impl_](supervise::ref<supervise::supervisor> parent) {
            std::vector<std::string> names;
            {
                std::lock_guard lock(self->mutex);
                self->parent = std::move(parent);
                self->leaving.clear();
                for (const auto& [name, r] : self->records) names.push_back(name);
            }
            for (const auto& name : names) self->launch(name);
        });
    return child;
}

result<std::vector<std::string>> server_set::apply(const json& config) {
    std::lock_guard serial(impl_->applying);
    const json& servers = member(config, "mcpServers");
    if (!servers.is_null() && !servers.is_object()) return fail(errc::config_invalid, "mcpServers must be an object");
    json before[] = {impl_->breaker, impl_->health, impl_->file_servers};
    impl_->breaker = member(config, "breaker");
    impl_->health = member(config, "health");
    impl_->file_servers = servers;
    auto wanted = impl_->wanted_specs();
    if (!wanted) {  // nothing was changed
        impl_->breaker = std::move(before[0]);
        impl_->health = std::move(before[1]);
        impl_->file_servers = std::move(before[2]);
        return tl::unexpected(wanted.error());
    }
    auto touched = impl_->become(std::move(*wanted));
    impl_->applied_once = true;
    std::lock_guard lock(impl_->mutex);
    impl_->applied = true;
    return touched;
}

result<void> server_set::add(const std::string& name, const json& server) {
    std::lock_guard serial(impl_->applying);
    if (impl_->find(name)) return fail(errc::server_already_exists, "there is a server '" + name + "' already; update or remove it");
    auto spec = make_spec(name, server, impl_->breaker, impl_->health);
    if (!spec) return tl::unexpected(spec.error());
    return impl_->introduce(std::move(*spec));
}

result<void> server_set::update(const std::string& name, const json& server) {
    std::lock_guard serial(impl_->applying);
    auto record = impl_->find(name);
    if (!record) return tl::unexpected(not_there(name));
    auto spec = make_spec(name, server, impl_->breaker, impl_->health);
    if (!spec) return tl::unexpected(spec.error());
    if (!(**spec == *record->spec())) impl_->replace(record, std::move(*spec));
    return {};
}

result<void> server_set::remove(const std::string& name) {
    std::lock_guard serial(impl_->applying);
    auto record = impl_->find(name);
    if (!record) return tl::unexpected(not_there(name));
    impl_->retire(std::move(record));
    return {};
}

result<void> server_set::check(const std::string& name, const json& server) {
    auto spec = make_spec(name, server, {}, {});
    if (!spec) return tl::unexpected(spec.error());
    return {};
}

result<void> server_set::check_start(const std::string& name, const json& server) {
    auto spec = make_spec(name, server, {}, {});
    if (!spec) return tl::unexpected(spec.error());
    return preflight(**spec);
}

void server_set::start(const std::string& name, row_reply done) { impl_->tell(name, command::start, std::move(done)); }
void server_set::stop(const std::string& name, row_reply done) { impl_->tell(name, command::stop, std::move(done)); }
void server_set::restart(const std::string& name, row_reply done) { impl_->tell(name, command::restart, std::move(done)); }
void server_set::enable(const std::string& name, row_reply done) { impl_->tell(name, command::enable, std::move(done)); }
void server_set::disable(const std::string& name, row_reply done) { impl_->tell(name, command::disable, std::move(done)); }

json record_row(const server_record& r, supervise::runtime& rt) {
    json row;
    if (auto s = r.snapshot()) {
        row = row_of(*s, rt.now(), rt.clock().wall());
    } else {
        server_snapshot fresh;  // its actor has not run yet
        fresh.name = r.name;
        fresh.transport = r.spec()->transport;
        fresh.era = "unknown";
        fresh.since = rt.clock().wall();
        row = row_of(fresh, rt.now(), fresh.since);
    }
    row["calls"] = {{"made", r.calls.load()}, {"failed", r.failed_calls.load()}, {"pending", r.pending_calls.load()}};
    if (json pool = r.pool_row(); !pool.is_null()) row["pool"] = std::move(pool);
    const auto spec = r.spec();
    row["overrides"] = spec->overridden;
    row["added"] = spec->added;
    return row;
}

json server_set::rows() const {
    json out = json::array();
    for (const auto& r : impl_->all()) out.push_back(record_row(*r, impl_->rt()));
    return {{"servers", std::move(out)}};
}

result<json> server_set::row(const std::string& name) const {
    auto r = impl_->find(name);
    if (!r) return tl::unexpected(not_there(name));
    return record_row(*r, impl_->rt());
}

result<server_set::way> server_set::errand(const std::string& name) const {
    auto r = impl_->find(name);
    if (!r) return tl::unexpected(not_there(name));
    const auto spec = r->spec();
    auto bound = impl_->context->options.transport(spec->transport);
    if (!bound) return tl::unexpected(bound.error());
    return way{std::move(*bound), spec->connection};
}

result<json> server_set::log(const std::string& name, std::size_t limit) const {
    auto r = impl_->find(name);
    if (!r) return tl::unexpected(not_there(name));
    return r->log_lines(limit);
}

json server_set::tool_rows(const std::string& server) const {
    const auto now = tools();
    json out = json::array();
    for (const auto& t : now->tools) {
        if (!server.empty() && t.server != server) continue;
        out.push_back({{"server", t.server}, {"name", t.name}, {"title", t.title}, {"description", t.description},
                       {"input_schema", t.input_schema}, {"annotations", t.annotations}, {"hash", t.hash}});
    }
    return {{"version", now->version}, {"tools", std::move(out)}};
}

json server_set::counts() const {
    std::array<std::size_t, 4> n{};
    for (const auto& r : impl_->all()) {
        const auto s = r->snapshot();
        ++n[static_cast<std::size_t>(s ? s->state.now : status::disconnected)];
    }
    return {{"healthy", n[0]}, {"disconnected", n[1]}, {"circuit_open", n[2]}, {"disabled", n[3]}};
}

std::vector<std::string> server_set::names() const {
    std::vector<std::string> out;
    for (const auto& r : impl_->all()) out.push_back(r->name);
    return out;
}

std::vector<std::string> server_set::first_attempts(const std::vector<std::string>& only, milliseconds patience) const {
    const steady_time now = impl_->rt().now();
    {
        std::lock_guard lock(impl_->mutex);
        if (!impl_->applied) return now - impl_->made < patience ? std::vector<std::string>{"*"} : std::vector<std::string>{};
    }
    std::vector<std::string> out;
    for (const auto& r : impl_->all()) {
        if (now - r->introduced >= patience || (!only.empty() && std::find(only.begin(), only.end(), r->name) == only.end())) continue;
        const auto s = r->snapshot();
        const bool spoken = s && (s->state.now == status::healthy ? r->part() != nullptr
                                                                  : s->state.now != status::disconnected || s->state.failures > 0 ||
                                                                        s->state.disabled != disabled_by::nobody || s->starts > 1);
        if (!spoken) out.push_back(r->name);
    }
    return out;
}

std::shared_ptr<const catalogue> server_set::tools() const { return impl_->board->read(); }

std::uint64_t server_set::call(tool_call request, tool_call_events events) {
    auto job = std::make_shared<call_job>();
    job->tool = request.tool;
    job->method = "tools/call";
    job->fills_defaults = true;  // our own sessions' people answer; a gateway's client has its own ways
    job->params = {{"name", std::move(request.tool)}, {"arguments", std::move(request.arguments)}};
    job->session = std::move(request.session);
    job->timeout = request.timeout;
    job->events = std::move(events);
    return impl_->send(request.server, std::move(job));
}

std::uint64_t server_set::request(const std::string& server, const std::string& method, json params, milliseconds timeout,
                                  tool_call_events events) {
    auto job = std::make_shared<call_job>();
    job->method = method;
    job->params = std::move(params);
    job->timeout = timeout;
    job->events = std::move(events);
    return impl_->send(server, std::move(job));
}

std::uint64_t server_set::request(server_request r, tool_call_events events) {
    auto job = std::make_shared<call_job>();
    if (r.method == "tools/call") job->tool = string_or(r.params, "name");
    job->method = std::move(r.method);
    job->params = std::move(r.params);
    job->session = std::move(r.session);
    job->timeout = r.timeout;
    job->input_wait = r.input_wait;
    job->capabilities = std::move(r.capabilities);
    job->log_level = std::move(r.log_level);
    job->events = std::move(events);
    return impl_->send(r.server, std::move(job));
}

void server_set::answer_input(std::uint64_t call, const std::string& key, json response) {
    auto record = impl_->find(call);
    auto a = record ? record->actor() : supervise::ref<server_actor>{};
    if (a) (void)a.tell_always([call, key, response = std::move(response)](server_actor& s) mutable { s.answer(call, key, std::move(response)); });
}

void server_set::cancel(std::uint64_t call) {
    auto record = impl_->find(call);
    auto a = record ? record->actor() : supervise::ref<server_actor>{};
    if (a) (void)a.tell_always([call](server_actor& s) { s.cancel(call); });
}

void server_set::transport_replaced(const std::string& transport_id) {
    const auto& instance = impl_->context->options.transport_instance;
    for (const auto& r : impl_->all()) {
        const std::string name = r->spec()->transport;
        if (name != transport_id && (!instance || instance(name) != transport_id)) continue;
        if (auto a = r->actor()) (void)a.tell_always([](server_actor& s) { s.consider_move(); });
    }
}

void server_set::on_server_notice(server_notices::listener f) { impl_->context->notices.listen(std::move(f)); }

result<void> server_set::watch_resources(const std::string& server, std::set<std::string> uris) {
    auto record = impl_->find(server);
    if (!record) return tl::unexpected(not_there(server));
    record->set_watched(std::move(uris));
    if (auto a = record->actor()) (void)a.tell_always([](server_actor& s) { s.follow_wishes(); });
    return {};
}

void server_set::want_log_level(const std::string& level) {
    impl_->context->notices.set_log_level(level);
    for (const auto& r : impl_->all())
        if (auto a = r->actor()) (void)a.tell_always([](server_actor& s) { s.follow_wishes(); });
}

void server_set::on_catalogue_changed(std::function<void()> f) { impl_->board->on_change(std::move(f)); }

}  // namespace holdfast::servers
