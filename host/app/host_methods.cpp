// host.*, plugin.*, ui.*, llm.*, config.* of the method table.
#include "api/schema.hpp"
#include "app/application.hpp"
#include "app/config_schema.hpp"
#include "app/logging.hpp"

namespace holdfast::app {
namespace {

using api::identity;
using api::object_schema;
using api::reply;
using api::role;

json id_params() { return object_schema({{"id", "string", true}}); }

json problems_json(const std::vector<config::problem>& problems) {
    json out = json::array();
    for (const auto& p : problems) out.push_back(p.to_json());
    return out;
}

constexpr seconds ready_deadline{20};
constexpr milliseconds ready_poll{10};

}  // namespace

void wait_ready(application* a, steady_time deadline, reply done) {
    if (a->ready() || a->clock_.now() >= deadline) return done(json{{"ready", a->ready()}});
    a->rt_->after(ready_poll, [a, deadline, done = std::move(done)]() mutable { wait_ready(a, deadline, std::move(done)); }).detach();
}

void register_host_methods(api::method_table& table, application& app) {
    application* a = &app;  // outlives the table
    auto read = [&](const char* name, role needs, const char* summary, std::function<result<json>(const json&)> f, json schema = object_schema({})) {
        table.add({name, needs, summary, std::move(schema), {}, [f = std::move(f)](const identity&, json p, reply done) { done(f(p)); }});
    };
    read("host.info", role::viewer, "What this host is and where it listens", [a](const json&) -> result<json> { return a->info(); });
    read("host.tree", role::viewer, "The supervision tree", [a](const json&) -> result<json> { return a->tree(); });
    read("host.metrics", role::viewer, "Metrics in the Prometheus text format", [a](const json&) -> result<json> {
        a->servers_->export_metrics(a->metrics_);
        const json models = a->llm_->list();
        for (const json& row : models["adapters"]) a->metrics_.set_all("holdfast_llm_pool_", {{"llm", string_or(row, "id")}}, member(row, "pool"));
        return json{{"text", a->metrics_.prometheus()}};
    });
    table.add({"host.health", role::viewer, "Health of everything in one object", object_schema({}), {}, [a](const identity&, json, reply done) {
                   a->store_->submit("status", json::object(), seconds(2), {}, [a, done = std::move(done)](result<json> store) mutable {
                       json h = a->health();
                       h["store"] = store ? *store : json{{"writable", false}, {"reason", store.error().message}};
                       if (!bool_or(h["store"], "writable", false)) h["status"] = "degraded";
                       done(std::move(h));
                   });
               }});
    table.add({"host.wait_ready", role::viewer, "Answers once every plugin and server has come up or failed its first attempt", object_schema({}), {},
               [a](const identity&, json, reply done) { wait_ready(a, a->clock_.now() + ready_deadline, std::move(done)); }});
    table.add({"host.shutdown", role::admin, "Stops the host in reverse order of its start", object_schema({}), {}, [a](const identity& who, json, reply done) {
                   write_log(level::info, "host", "stopping: asked by " + who.user + (who.via.empty() ? "" : " through " + who.via));
                   done(json::object());
                   if (a->options_.request_stop) a->options_.request_stop();
               }});

    read("plugin.list", role::viewer, "All plugins: configured and implied", [a](const json&) -> result<json> { return a->board_->rows(); });
    read("plugin.get", role::viewer, "One plugin", [a](const json& p) { return a->board_->row(p["id"]); }, id_params());
    using action = void (plugin_board::*)(const std::string&, plugin_board::done);
    auto act = [&](const char* name, role needs, const char* summary, action f, bool ui_only) {
        table.add({name, needs, summary, id_params(), {}, [a, f, ui_only](const identity&, json p, reply done) {
                       const std::string id = p["id"];
                       auto row = a->board_->row(id);
                       if (!row) return done(tl::unexpected<error>(row.error()));
                       if (ui_only && string_or(*row, "kind") != "ui") return done(fail(errc::invalid_argument, "plugin '" + id + "' is no user interface but of kind '" + string_or(*row, "kind") + "'"));
                       ((*a->board_).*f)(id, [a, id, done = std::move(done)](result<plugins::plugin_info> r) mutable {
                           if (!r) return done(tl::unexpected<error>(r.error()));
                           auto row = a->board_->row(id);
                           done(row ? *row : r->to_json());
                       });
                   }});
    };
    auto start_plain = [&](const char* name, role needs, const char* summary, bool ui_only) {
        table.add({name, needs, summary, id_params(), {}, [a, ui_only](const identity&, json p, reply done) {
                       const std::string id = p["id"];
                       auto row = a->board_->row(id);
                       if (!row) return done(tl::unexpected<error>(row.error()));
                       if (ui_only && string_or(*row, "kind") != "ui") return done(fail(errc::invalid_argument, "plugin '" + id + "' is no user interface but of kind '" + string_or(*row, "kind") + "'"));
                       a->board_->start(id, nullptr, [a, id, done = std::move(done)](result<plugins::plugin_info> r) mutable {
                           if (!r) return done(tl::unexpected<error>(r.error()));
                           done(a->board_->row(id));
                       });
                   }});
    };
    start_plain("plugin.start", role::admin, "Starts a plugin that is stopped, on demand, failed or quarantined", false);
    start_plain("ui.start", role::op, "Starts a user interface", true);
    act("plugin.stop", role::admin, "Stops a plugin; it stays stopped until it is started", &plugin_board::stop, false);
    act("ui.stop", role::op, "Stops a user interface", &plugin_board::stop, true);
    act("plugin.restart", role::admin, "Stops and starts a plugin", &plugin_board::restart, false);
    act("plugin.release", role::admin, "Forgets that a plugin crashed: it runs as configured again", &plugin_board::release, false);
    table.add({"plugin.reload", role::admin, "Replaces a running plugin by the file as it is now, or by another one; the old version goes on if the new one fails",
               object_schema({{"id", "string", true}, {"from", "string"}}), {}, [a](const identity&, json p, reply done) {
                   const std::string id = p["id"];
                   a->board_->reload(id, string_or(p, "from"), [a, id, done = std::move(done)](result<plugins::plugin_info> r) mutable {
                       if (!r) return done(tl::unexpected<error>(r.error()));
                       done(a->board_->row(id));
                   });
               }});
    act("plugin.remove", role::admin, "Stops and forgets a plugin until the configuration names it again", &plugin_board::remove, false);
    table.add({"ui.swap", role::op, "Hands over from one user interface to another", object_schema({{"from", "string", true}, {"to", "string", true}}), {},
               [a](const identity&, json p, reply done) { a->board_->swap(p["from"], p["to"], std::move(done)); }});

    table.add({"llm.list", role::viewer, "LLM adapters, which one answers and why", object_schema({}), {}, [a](const identity&, json, reply done) {
                   a->llm_->refresh([a, done = std::move(done)]() mutable { done(a->llm_->list()); });
               }});

    read("config.get", role::admin, "The configuration in force, credentials hidden", [a](const json&) -> result<json> {
        std::lock_guard lock(a->document_mutex_);
        auto problems = a->last_problems_;
        for (const auto& p : a->loaded_.files.problems) problems.push_back(p);
        return json{{"path", a->loaded_.document.path}, {"config", a->loaded_.document.redacted()}, {"imported", a->loaded_.files.origins}, {"problems", problems_json(problems)}};
    });
    read("config.schema", role::viewer, "JSON Schema of the configuration file", [a](const json&) -> result<json> {
        std::lock_guard lock(a->document_mutex_);
        const auto o = load_options_for(a->loaded_.found);
        return json{{"schema", config::compose_schema(o.root_schema, o.plugins)}};
    });
    read("config.check", role::admin, "Checks a configuration file without applying it", [a](const json& p) -> result<json> {
        auto loaded = load_configuration(string_or(p, "path", a->options_.config_path), plugin_files::judged);
        return json{{"ok", bool(loaded)}, {"errors", loaded ? json::array() : problems_json(loaded.error())}};
    }, object_schema({{"path", "string"}}));
    table.add({"config.reload", role::admin, "Applies the configuration file as it is now", object_schema({}), {}, [a](const identity&, json, reply done) {
                   a->side_.post([a, done = std::move(done)]() mutable { done(a->reload()); });
               }});
}

}  // namespace holdfast::app
