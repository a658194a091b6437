#include "servers/server_set.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "servers/catalogue_board.hpp"
#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {

constexpr int ordinal_shift = 40;  // a call's id: server in the upper 24 bits, its number in the lower 40
constexpr std::uint64_t number_mask = (std::uint64_t{1} << ordinal_shift) - 1;
constexpr milliseconds shutdown_slack{3'000};

error not_there(const std::string& name) {
    return {errc::server_not_found, "there is no server '" + name + "'; server.list names those there are"};
}

}  // namespace

struct server_set::impl : std::enable_shared_from_this<impl> {
    explicit impl(server_set_options o) : context(std::make_shared<server_context>(std::move(o))) {}

    std::shared_ptr<server_context> context;
    std::shared_ptr<catalogue_board> board;
    std::atomic<std::uint64_t> next_call{1};

    std::mutex applying;  // serialises changes of the configuration
    mutable std::mutex mutex;  // leaf: everything below
    std::map<std::string, std::shared_ptr<server_record>> records;
    std::map<std::uint32_t, std::shared_ptr<server_record>> by_ordinal;
    std::set<std::string> leaving;   ///< children being stopped; a new one of that name waits
    supervise::ref<supervise::supervisor> parent;
    std::uint32_t next_ordinal = 1;
    const steady_time made = rt().now();
    bool applied = false;            ///< a configuration has been
    json breaker, health;            ///< the global objects

    supervise::runtime& rt() { return *context->options.runtime; }

    std::shared_ptr<server_record> find(const std::string& name) const {
        std::lock_guard lock(mutex);
        auto it = records.find(name);
        return it == records.end() ? nullptr : it->second;
    }
    std::shared_ptr<server_record> find(std::uint64_t call) const {
        std::lock_guard lock(mutex);
        auto it = by_ordinal.find(static_cast<std::uint32_t>(call >> ordinal_shift));
        return it == by_ordinal.end() ? nullptr : it->second;
    }
    std::vector<std::shared_ptr<server_record>> all() const {
        std::lock_guard lock(mutex);
        std::vector<std::shared_ptr<server_record>> out;
        out.reserve(records.size());
        for (const auto& [name, r] : records) out.push_back(r);
        return out;
    }

    supervise::child_spec child_of(std::shared_ptr<server_record> record) {
        const auto spec = record->spec();
        auto child = supervise::actor_child(record->name, "server",
            [record, context = context](const supervise::child_context& c) -> result<supervise::actor_ref> {
                auto actor = supervise::make_actor<server_actor>(c.rt(), record, context);
                record->set_actor(actor);
                return supervise::actor_ref(actor);
            });
        child.restart = spec->permanent ? supervise::restart_type::permanent : supervise::restart_type::transient;
        child.shutdown = supervise::shutdown_policy::within(spec->stop_grace + shutdown_slack);
        return child;
    }

    /// Starts the child of a record if its supervisor is there and none of that name is still stopping.
    void launch(const std::string& name) {
        std::shared_ptr<server_record> record;
        supervise::ref<supervise::supervisor> where;
        {
            std::lock_guard lock(mutex);
            auto it = records.find(name);
            if (it == records.end() || leaving.count(name) || !parent) return;
            record = it->second;
            where = parent;
        }
        where->start_child(child_of(record), [self = shared_from_this(), name](result<supervise::child_ref> r) {
            if (!r && r.error().code != errc::cancelled && r.error().code != errc::stale)
                self->context->report.log(log_level::error, name, "its actor did not start: " + r.error().message);
        });
    }

    void retire(std::shared_ptr<server_record> record) {
        supervise::ref<supervise::supervisor> where;
        const std::string name = record->name;
        {
            std::lock_guard lock(mutex);
            records.erase(name);
            by_ordinal.erase(record->ordinal);
            where = parent;
            if (where) leaving.insert(name);
        }
        board->changed();
        if (!where) return;
        where->terminate_child(name, [self = shared_from_this(), name](result<void>) {
            {
                std::lock_guard lock(self->mutex);
                self->leaving.erase(name);
            }
            self->launch(name);  // one of that name may have been added meanwhile
        });
    }

    result<void> introduce(std::shared_ptr<const server_spec> spec) {
        const std::string name = spec->name;
        {
            std::lock_guard lock(mutex);
            if (records.size() >= max_servers) return fail(errc::overloaded, "there are " + std::to_string(max_servers) + " servers already");
            auto record = std::make_shared<server_record>(std::move(spec), next_ordinal++, rt().now());
            records.emplace(name, record);
            by_ordinal.emplace(record->ordinal, record);
        }
        launch(name);
        return {};
    }

    void replace(const std::shared_ptr<server_record>& record, std::shared_ptr<const server_spec> spec) {
        record->set_spec(std::move(spec));
        if (auto a = record->actor()) (void)a.tell_always([](server_actor& s) { s.reconfigure(); });
    }

    void tell(const std::string& name, command c, row_reply done) {
        auto record = find(name);
        if (!record) return done(tl::unexpected(not_there(name)));
        auto a = record->actor();
        if (!a) return done(fail(errc::unavailable, "'" + name + "' is just being started; try again"));
        supervise::reply<json> reply(std::move(done));
        (void)a.tell_always([c, reply = std::move(reply)](server_actor& s) mutable { s.obey(c, std::move(reply)); });
    }

    std::uint64_t send(const std::string& server, std::shared_ptr<call_job> job) {
        const std::uint64_t number = next_call.fetch_add(1) & number_mask;
        auto record = find(server);
        if (!record) {
            job->id = number;
            job->finish(tl::unexpected(not_there(server)));
            return number;
        }
        const std::uint64_t id = (std::uint64_t{record->ordinal} << ordinal_shift) | number;
        job->id = id;
        auto a = record->actor();
        if (!a) {
            job->finish(fail(errc::unavailable, "'" + server + "' is just being started; try again"));
            return id;
        }
        // A refused message is dropped with the job in it, which tells the caller.
        job->if_dropped = {errc::unavailable, "'" + server + "' is too busy or just restarting; try again"};
        (void)a.tell([job = std::move(job)](server_actor& s) mutable { s.call(std::move(job)); });
        return id;
    }
};

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
    const json& breaker = member(config, "breaker");
    const json& health = member(config, "health");
    const json& servers = member(config, "mcpServers");
    if (!servers.is_null() && !servers.is_object()) return fail(errc::config_invalid, "mcpServers must be an object");
    std::map<std::string, std::shared_ptr<const server_spec>> wanted;
    for (const auto& [name, server] : servers.items()) {
        auto spec = make_spec(name, server, breaker, health);
        if (!spec) return tl::unexpected(spec.error());
        wanted.emplace(name, std::move(*spec));
    }
    if (wanted.size() > max_servers) return fail(errc::config_invalid, "mcpServers: at most " + std::to_string(max_servers) + " servers");
    {
        std::lock_guard lock(impl_->mutex);
        impl_->breaker = breaker;
        impl_->health = health;
    }
    std::vector<std::string> touched;
    for (const auto& record : impl_->all()) {
        auto it = wanted.find(record->name);
        if (it == wanted.end()) {
            impl_->retire(record);
            touched.push_back(record->name);
        } else if (!(*it->second == *record->spec())) {
            impl_->replace(record, it->second);
            touched.push_back(record->name);
        }
    }
    for (auto& [name, spec] : wanted) {
        if (impl_->find(name)) continue;
        if (auto ok = impl_->introduce(spec); !ok) return tl::unexpected(ok.error());
        touched.push_back(name);
    }
    {
        std::lock_guard lock(impl_->mutex);
        impl_->applied = true;
    }
    std::sort(touched.begin(), touched.end());
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

void server_set::start(const std::string& name, row_reply done) { impl_->tell(name, command::start, std::move(done)); }
void server_set::stop(const std::string& name, row_reply done) { impl_->tell(name, command::stop, std::move(done)); }
void server_set::restart(const std::string& name, row_reply done) { impl_->tell(name, command::restart, std::move(done)); }
void server_set::enable(const std::string& name, row_reply done) { impl_->tell(name, command::enable, std::move(done)); }
void server_set::disable(const std::string& name, row_reply done) { impl_->tell(name, command::disable, std::move(done)); }

namespace {
json row_of_record(const server_record& r, supervise::runtime& rt) {
    if (auto s = r.snapshot()) return row_of(*s, rt.now(), rt.clock().wall());
    server_snapshot fresh;  // its actor has not run yet
    fresh.name = r.name;
    fresh.transport = r.spec()->transport;
    fresh.era = "unknown";
    fresh.since = rt.clock().wall();
    return row_of(fresh, rt.now(), fresh.since);
}
}  // namespace

json server_set::rows() const {
    json out = json::array();
    for (const auto& r : impl_->all()) out.push_back(row_of_record(*r, impl_->rt()));
    return {{"servers", std::move(out)}};
}

result<json> server_set::row(const std::string& name) const {
    auto r = impl_->find(name);
    if (!r) return tl::unexpected(not_there(name));
    return row_of_record(*r, impl_->rt());
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
