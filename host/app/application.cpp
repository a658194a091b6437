#include "app/application.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>

#include "api/login_methods.hpp"
#include "api/mcp_methods.hpp"
#include "api/server_methods.hpp"
#include "api/session_methods.hpp"
#include "app/config_schema.hpp"
#include "app/logging.hpp"
#include "app/paths.hpp"
#include "kernel/config/difference.hpp"
#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/isolation/crash_trace.hpp"
#include "kernel/plugins/verify.hpp"
#include "kernel/supervise/guardian.hpp"

namespace holdfast::app {
namespace {

constexpr seconds plugins_deadline{30};
constexpr seconds tree_deadline{20};
constexpr seconds overrides_deadline{10};
constexpr milliseconds lock_patience{500};
constexpr milliseconds stop_time_when_stuck{2000};
constexpr int lock_poll_ms = 5;
constexpr seconds memory_period{30};
constexpr seconds gateway_store_timeout{10};
const std::vector<std::string> keyed_sections{"plugins", "mcpServers"};

template <class F>
void wait_for(nanoseconds deadline, F begin) {
    (void)supervise::await<int>(deadline, [&](unique_function<void(result<int>)> done) {
        begin([done = std::move(done)](auto&&...) mutable { done(0); });
    });
}

level level_of(servers::log_level l) {
    switch (l) {
        case servers::log_level::debug: return level::debug;
        case servers::log_level::info: return level::info;
        case servers::log_level::warn: return level::warn;
        case servers::log_level::error: return level::error;
    }
    return level::info;
}

/// Short names of the bundled transports.
std::string transport_plugin(const std::string& name) {
    return name == "stdio" || name == "http" || name == "websocket" || name == "socket" ? "transport-" + name : name;
}

}  // namespace

tl::expected<loaded_configuration, std::vector<config::problem>> load_configuration(const std::string& path, plugin_files files, const json& accepted,
                                                                                    const server_files& before) {
    const std::string shown = path.empty() ? "(embedded defaults)" : path;
    const std::string base_dir = std::filesystem::absolute(path.empty() ? "x" : path).parent_path().string();
    // Twice: where plugins are searched is in the file, what they accept is in the plugins.
    config::load_options plain;
    plain.text_only = true;
    auto first = path.empty() ? config::load_text(embedded_config(), shown, plain) : config::load_file(path, plain);
    if (!first) return tl::unexpected<std::vector<config::problem>>(first.error());

    loaded_configuration out;
    const plugins::discovery finder(plugin_directories(first->written, base_dir));
    out.found = finder.list();
    add_plugins_by_path(first->written, finder, base_dir, out.found);
    auto options = load_options_for(out.found);
    if (files == plugin_files::judged) options.checks.push_back(plugin_file_rule(finder, base_dir, accepted));
    auto document = path.empty() ? config::load_text(embedded_config(), shown, options) : config::load_file(path, options);
    if (!document) return tl::unexpected<std::vector<config::problem>>(document.error());
    out.document = std::move(*document);
    out.document.base_dir = base_dir;
    auto dir = data_directory(out.document.resolved["host"]["data_dir"], base_dir);
    if (!dir) return tl::unexpected<std::vector<config::problem>>({config::problem{shown, {}, "/host/data_dir", dir.error().message}});
    out.data_dir = std::move(*dir);
    out.files = add_server_files(out.document, before);
    return out;
}

result<std::unique_ptr<application>> application::start(application_options options) {
    auto loaded = load_configuration(options.config_path);
    if (!loaded) {
        std::string text;
        for (const auto& p : loaded.error()) text += (text.empty() ? "" : "\n") + p.to_string();
        return fail(errc::config_invalid, text);
    }
    const json& log = loaded->document.resolved["host"]["log"];
    std::string file = expand_home(string_or(log, "file"));
    if (!file.empty()) file = (std::filesystem::path(loaded->document.base_dir) / file).string();
    if (auto ok = open_log({string_or(log, "level", "info"), string_or(log, "format", "text"), file}); !ok) return tl::unexpected<error>(ok.error());
    std::unique_ptr<application> app(new application(std::move(options), std::move(*loaded)));
    for (auto step : {&application::lock_data_dir, &application::build_kernel, &application::build_tree, &application::build_services, &application::open_doors})
        if (auto ok = (app.get()->*step)(); !ok) return tl::unexpected<error>(ok.error());
    return app;
}

application::~application() { stop(); }

result<void> application::lock_data_dir() {
    const std::string path = loaded_.data_dir + "/lock";
    lock_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_fd_ < 0) return fail(errc::io_error, path + ": " + std::strerror(errno));
    // A host that was killed a moment ago may still be on its way out: its lock goes last.
    const auto deadline = clock_.now() + lock_patience;
    while (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
        if (clock_.now() < deadline) {
            ::poll(nullptr, 0, lock_poll_ms);
            continue;
        }
        return fail(errc::already_started, "another host uses the data directory " + loaded_.data_dir + ": stop it, or set HOLDFAST_DATA_DIR to another one");
    }
    return {};
}

result<void> application::build_kernel() {
    const json& resolved = loaded_.document.resolved;
    bus_ = std::make_unique<events::bus>();
    rt_ = std::make_unique<supervise::pool_runtime>(supervise::pool_options{static_cast<std::size_t>(int_or(resolved["host"], "threads", 0)), nullptr, supervise::host_pool_name});
    auto guardian = supervise::guardian_link::open(*rt_);
    if (!guardian) return tl::unexpected<error>(guardian.error());
    guardian_ = std::move(*guardian);
    const json& host = resolved["host"];
    guardian_->patience(bool_or(host, "restart_when_hung", false) ? milliseconds(static_cast<std::int64_t>(number_or(host, "hang_timeout_s", 30) * 1000)) : milliseconds(0));
    dog_ = std::make_unique<supervise::watchdog>();
    const double stuck_call_s = number_or(resolved["host"], "stuck_call_s", 10);
    rt_->watch_turns(*dog_, nanoseconds(static_cast<std::int64_t>(stuck_call_s * 1e9)), [this, stuck_call_s](std::uint32_t tid) {
        side_.post([this, stuck_call_s, tid] { on_stuck_thread(tid, stuck_call_s); });
    });
    processes_ = std::make_unique<supervise::process_spawner>(*rt_);

    auto authority = api::token_authority::open(loaded_.data_dir, string_or(resolved["auth"], "mode", "token") == "none" ? api::token_authority::mode::none : api::token_authority::mode::token);
    if (!authority) return tl::unexpected<error>(authority.error());
    authority_ = std::move(*authority);

    plugins::plugin_set_options o;
    o.rt = rt_.get();
    o.processes = processes_.get();
    o.bus = bus_.get();
    o.dog = dog_.get();
    o.metrics = &metrics_;
    o.search_path = plugin_directories(loaded_.document.written, loaded_.document.base_dir);
    o.runtime_dir = loaded_.data_dir + "/run";
    o.data_dir = loaded_.data_dir;
    o.validate = [](const json& schema, const json& settings) -> result<void> {
        auto found = config::validate(schema, settings, "/settings");
        if (found.empty()) return {};
        return fail(errc::invalid_argument, found[0].pointer + ": " + found[0].message);
    };
    o.log = [](const plugins::log_line& l) { write_log(static_cast<level>(l.level), l.instance, l.message, l.fields); };
    o.api.submit = [this](const std::string& instance, const std::string& method, json params, json identity, unique_function<void(result<json>)> reply) {
        auto who = api::identity_from(identity, {"local", api::role::admin, instance});
        if (!who) return reply(tl::unexpected<error>(who.error()));
        methods_.call(*who, method, std::move(params), std::move(reply));
    };
    o.api.stream = [this](const std::string& instance, const std::string& method, json params, json identity, api::chunk_fn chunk,
                          unique_function<void(result<json>)> reply) -> api::cancel_fn {
        auto who = api::identity_from(identity, {"local", api::role::admin, instance});
        if (!who) return reply(tl::unexpected<error>(who.error())), nullptr;
        return methods_.stream(*who, method, std::move(params), std::move(chunk), std::move(reply));
    };
    o.api.authenticate = [this](const std::string& token) -> result<json> {
        auto who = authority_->authenticate(token);
        if (!who) return tl::unexpected<error>(who.error());
        return json{{"user", who->user}, {"role", std::string(api::to_string(who->rights))}};
    };
    o.api.describe = [this]() -> result<json> { return methods_.openapi(); };
    o.on_change = [this](const plugins::plugin_change& c) { on_plugin_change(c); };
    o.on_reload = [this](const plugins::reload_news& n) { on_plugin_reload(n); };
    o.reports = [this](const supervise::supervision_report& r) { on_report(r); };
    // What ended the host before this one, if a plugin did: read before this one's own marks and trace replace what it left.
    auto history = plugins::crash_history::open(loaded_.data_dir);
    if (!history) return tl::unexpected<error>(history.error());
    crashes_ = o.history = std::move(*history);
    const std::string trace = o.runtime_dir + "/crash-trace";
    auto past = crashes_->learn(trace, o.runtime_dir + "/marks", supervise::guardian_link::ended_before(), clock_.wall());
    o.on_crash = [this](plugins::crash_report r, std::shared_ptr<const plugins::private_copy> copy) {
        side_.post([this, r = std::move(r), copy = std::move(copy)]() mutable {
            plugins::symbolise(r);  // reads debug information: not on the plugin's way back
            crashes_->write(r);
            tell_crash(r);
        });
    };
    auto set = plugins::plugin_set::create(std::move(o));
    if (!set) return tl::unexpected<error>(set.error());
    plugins_ = std::move(*set);
    if (!plugins::isolation::install_crash_trace(trace)) write_log(level::warn, "host", "crashes cannot be traced: " + trace + " cannot be made");
    for (const std::string& w : crashes_->warnings()) write_log(level::warn, "host", w);
    if (past) tell_crash(*past);
    plugins_->set_log_level(log_level_number());
    board_ = std::make_unique<plugin_board>(plugins_);
    return {};
}

result<void> application::build_tree() {
    // The store's name is fixed at start; every use asks anew which generation serves.
    const std::string store_use = string_or(loaded_.document.resolved["store"], "use", "store-sqlite");
    store_ = plugins::make_call_port(
        [this, store_use]() -> result<plugins::bound<hf_store>> {
            auto found = plugins_->resolve<hf_store>(board_->instance_for(store_use), HF_EXT_STORE)();
            // The control socket answers before the plugins are loaded: come back, rather than "there is none".
            if (!found && found.error().code == errc::not_found)
                return tl::unexpected<error>(error{errc::unavailable, "the store '" + store_use + "' is not loaded yet", milliseconds(50)});
            return found;
        },
        *rt_, store_use);

    servers::server_set_options so;
    so.runtime = rt_.get();
    so.bus = bus_.get();
    so.store = store_;
    so.transport = [this](const std::string& name) { return plugins_->resolve<hf_transport>(board_->instance_for(transport_plugin(name)), HF_EXT_TRANSPORT)(); };
    so.transport_instance = [this](const std::string& name) { return board_->instance_for(transport_plugin(name)); };
    so.breaker = [this](const std::string& name) { return plugins_->resolve<hf_breaker>(board_->instance_for(name), HF_EXT_BREAKER)(); };
    so.health = [this](const std::string& name) { return plugins_->resolve<hf_health>(board_->instance_for(name), HF_EXT_HEALTH)(); };
    so.log = [](servers::log_level l, const std::string& server, const std::string& line) { write_log(level_of(l), server, line); };
    so.usage = [this] { return processes_->usage(); };
    so.check_entry = [](const std::string& name, const json& entry) -> result<void> {
        const json schema{{"$defs", root_schema()["$defs"]}, {"type", "object"}, {"properties", {{"mcpServers", root_schema()["properties"]["mcpServers"]}}}};
        auto wrong = config::validate(schema, json{{"mcpServers", {{name, entry}}}});
        if (wrong.empty()) return {};
        return fail(errc::invalid_argument, wrong[0].pointer + ": " + wrong[0].message);
    };
    servers_ = servers::server_set::create(std::move(so));

    auto sessions_node = supervise::supervisor_child(
        "sessions",
        [] {
            supervise::supervisor_options o;
            o.rules.dynamic = true;
            return o;
        },
        {}, [this](supervise::ref<supervise::supervisor> s) {
            std::lock_guard lock(session_supervisor_mutex_);
            session_supervisor_ = std::move(s);
        });

    supervise::supervisor_options options;
    options.reports = [this](const supervise::supervision_report& r) { on_report(r); };
    std::vector<supervise::child_spec> children;
    children.push_back(plugins_->node());
    children.push_back(servers_->supervisor_spec());
    children.push_back(std::move(sessions_node));
    auto up = supervise::await<int>(tree_deadline, [&](unique_function<void(result<int>)> done) {
        root_ = supervise::supervisor::start(*rt_, "holdfast", std::move(options), std::move(children), [done = std::move(done)](result<void> r) mutable {
            if (r) done(0);
            else done(tl::unexpected<error>(r.error()));
        });
    });
    if (!up) return tl::unexpected<error>(up.error());
    return {};
}

result<void> application::build_services() {
    const json& resolved = loaded_.document.resolved;
    llm_ = sessions::llm_router::create(clock_);
    llm_pools_ = sessions::llm_pools::create(*rt_);
    llm_pools_->tell_leaks([](const std::string& line) { write_log(level::warn, "llm", line); });
    llm_->set_pools(llm_pools_);
    auto session_options = sessions::session_options_from(resolved["sessions"]);
    if (!session_options) return tl::unexpected<error>(session_options.error());
    sessions::session_services services;
    services.rt = rt_.get();
    services.bus = bus_.get();
    services.store = store_;
    services.tools = servers_;
    services.llm = llm_;
    services.start_child = sessions::children_of([this] {
        std::lock_guard lock(session_supervisor_mutex_);
        return session_supervisor_;
    });
    sessions_ = sessions::session_directory::create(std::move(services), *session_options);

    register_host_methods(methods_, *this);
    api::register_server_methods(methods_, servers_);
    api::register_login_methods(methods_, servers_);
    api::mcp_gateway_options go;
    go.runtime = rt_.get();
    go.bus = bus_.get();
    go.servers = servers_;
    go.store = [store = store_](const std::string& method, json request, unique_function<void(result<json>)> done) { store->submit(method, std::move(request), gateway_store_timeout, {}, std::move(done)); };
    go.log = [](servers::log_level l, const std::string& line) { write_log(level_of(l), "gateway", line); };
    gateway_ = api::mcp_gateway::create(std::move(go));
    api::register_mcp_methods(methods_, gateway_);
    api::register_session_methods(methods_, sessions_);
    return {};
}

result<void> application::open_doors() {
    auto control = api::control_server::listen(*rt_, loaded_.data_dir + "/control.sock", methods_, *bus_);
    if (!control) return tl::unexpected<error>(control.error());
    control_ = std::move(*control);

    const json& resolved = loaded_.document.resolved;
    auto wanted = wanted_plugins(resolved, loaded_.document.redacted(), loaded_.document.base_dir, loaded_.found);
    // User interfaces last: whoever connects finds everything else in place.
    auto inner = wanted;
    std::erase_if(inner, [](const auto& e) { return e.second.kind == "ui"; });
    const auto order = loaded_.document.order["plugins"];
    board_->apply(std::move(inner), order, plugins_deadline);
    configure_llm();
    gateway_->configure(resolved["gateway"]);
    gateway_->read_pins();
    wait_for(overrides_deadline, [this](auto done) { servers_->load_overrides([done = std::move(done)](result<json>) mutable { done(0); }); });
    if (auto ok = servers_->apply(resolved); !ok) write_log(level::error, "servers", ok.error().message);
    servers_->watch_resources();
    sessions_->start([](result<void> r) {
        if (!r) write_log(level::error, "sessions", r.error().message);
    });
    board_->apply(std::move(wanted), order, plugins_deadline);
    doors_open_ = true;

    if (options_.watch && !options_.config_path.empty()) {
        auto watch = config::file_watch::create(*rt_, options_.config_path, [this] {
            side_.post([this] { reload(); });  // it waits for plugins: not on a pool thread
        });
        if (watch) watch_ = std::move(*watch);
        else write_log(level::warn, "config", "changes of the file are not noticed: " + watch.error().message);
    }
    if (options_.watch) side_.post([this] { watch_server_files(); });
    tell_server_file_problems();
    side_.post([this] { give_memory_back(); });
    tell_ready();
    return {};
}

void application::tell_ready() {
    std::string where;
    for (const std::string& u : board_->urls()) where += (where.empty() ? " at " : ", ") + u;  // without the token
    guardian_->ready("serving" + (where.empty() ? " on the control socket" : where));
}

void application::reload_soon() {
    side_.post([this] {
        guardian_->reloading();
        reload();
        tell_ready();
    });
}

void application::configure_llm() {
    const json& resolved = loaded_.document.resolved;
    std::vector<sessions::llm_adapter> adapters;
    for (const wanted_plugin& w : board_->of_kind("llm")) {
        if (w.start == wanted_plugin::start_mode::disabled) continue;
        adapters.push_back({w.spec.id, w.spec.use, plugins::make_call_port(plugins_->resolve<hf_llm>(w.spec.id, HF_EXT_LLM), *rt_, w.spec.id)});
    }
    std::vector<std::string> fallback;
    for (const json& f : member(resolved["llm"], "fallback")) fallback.push_back(f.get<std::string>());
    const json breaker = resolved.contains("breaker") ? resolved["breaker"] : json::object();
    const std::string policy = string_or(breaker, "use", "breaker-consecutive");
    auto fresh = std::make_shared<llm_breakers>([this, policy] { return plugins_->resolve<hf_breaker>(board_->instance_for(policy), HF_EXT_BREAKER)(); }, breaker, clock_);
    std::map<std::string, supervise::pool_rules> pools;
    for (const auto& [id, rules] : member(resolved["llm"], "pools").items())
        if (auto r = supervise::pool_rules_from(rules)) pools[id] = *r;  // checked with the document
    llm_pools_->configure(std::move(pools));
    llm_->configure(std::move(adapters), string_or(resolved["llm"], "default", "auto"), std::move(fallback));
    llm_->set_gate(fresh->gate());
    std::swap(breakers_, fresh);
    if (fresh) fresh->release();
    llm_->refresh([this] {
        const json c = llm_->choice();
        write_log(level::info, "llm", "answers come from '" + string_or(c, "chosen") + "': " + string_or(c, "reason"));
    });
}

json application::reload() {
    if (stopping_) return {{"changed", json::array()}, {"errors", json::array()}};
    auto loaded = load_configuration(options_.config_path, plugin_files::judged, loaded_.document.resolved["plugins"], loaded_.files);
    if (loaded) {
        std::lock_guard lock(document_mutex_);
        last_problems_.clear();
        const bool news = loaded->files.problems.size() != loaded_.files.problems.size() || !std::equal(loaded->files.problems.begin(), loaded->files.problems.end(), loaded_.files.problems.begin(), [](const auto& x, const auto& y) { return x.to_string() == y.to_string(); });
        loaded_.files = loaded->files;
        if (news) side_.post([this] { tell_server_file_problems(); });
        if (options_.watch) side_.post([this] { watch_server_files(); });
    } else {
        json errors = json::array();
        for (const auto& p : loaded.error()) {
            errors.push_back(p.to_json());
            write_log(level::error, "config", "not applied: " + p.to_string());
        }
        {
            std::lock_guard lock(document_mutex_);
            last_problems_ = loaded.error();
        }
        bus_->publish("session:admin_dashboard", "admin_notification", json{{"severity", "error"}, {"message", "the configuration was not applied: " + loaded.error()[0].to_string()}, {"context", {{"errors", errors}}}});
        return {{"changed", json::array()}, {"errors", errors}};
    }
    const auto changes = config::difference(loaded_.document.resolved, loaded->document.resolved, keyed_sections);
    json names = json::array();
    for (const auto& c : changes) names.push_back(c.to_string());
    if (changes.empty()) return {{"changed", names}, {"errors", json::array()}};
    auto touched = [&](const std::string& section) { return std::any_of(changes.begin(), changes.end(), [&](const auto& c) { return c.section == section; }); };

    {
        std::lock_guard lock(document_mutex_);
        loaded->data_dir = loaded_.data_dir;  // fixed for the life of the host
        loaded_ = std::move(*loaded);
    }
    const json& resolved = loaded_.document.resolved;
    set_log_level(string_or(resolved["host"]["log"], "level", "info"));
    plugins_->set_log_level(log_level_number());
    if (touched("plugins") || touched("store") || touched("breaker") || touched("health") || touched("mcpServers") || touched("auth"))
        board_->apply(wanted_plugins(resolved, loaded_.document.redacted(), loaded_.document.base_dir, loaded_.found), loaded_.document.order["plugins"], plugins_deadline);
    if (touched("plugins") || touched("llm") || touched("breaker")) configure_llm();
    if (touched("gateway")) gateway_->configure(resolved["gateway"]);
    if (auto ok = servers_->apply(resolved); !ok) write_log(level::error, "servers", ok.error().message);
    for (const char* section : {"host", "sessions", "store", "auth"})
        if (touched(section)) write_log(level::warn, "config", std::string("changes of \"") + section + "\" take full effect when the host is restarted");
    for (const auto& c : changes) write_log(level::info, "config", c.to_string());
    bus_->publish("session:admin_dashboard", "admin_notification", json{{"severity", "info"}, {"message", "the configuration was applied"}, {"context", {{"changed", names}}}});
    return {{"changed", names}, {"errors", json::array()}};
}

void application::on_report(const supervise::supervision_report& report) {
    json fields = report.to_json();
    const std::string name(supervise::to_string(report.kind));
    bus_->publish("supervision", name, fields);
    metrics_.add("holdfast_supervision_reports_total", {{"report", name}, {"kind", report.child_kind}});
    if (report.kind == supervise::report_kind::progress) return write_log(level::debug, "supervise", name, fields);
    using supervise::exit_kind;
    const bool orderly = report.reason.kind == exit_kind::shutdown || report.reason.kind == exit_kind::normal;  // somebody wanted it
    write_log(stopping_ || orderly ? level::debug : level::warn, "supervise", name, fields);
    if (report.kind == supervise::report_kind::shutdown && report.id.empty() && report.supervisor == "holdfast" && !stopping_ && options_.request_restart) {
        restart_wanted_ = true;
        options_.request_restart();
    }
}

void application::on_plugin_change(const plugins::plugin_change& change) {
    const std::string phase(plugins::to_string(change.now.phase));
    bus_->publish("plugin:" + change.now.id, "plugin_state", change.to_json());
    bus_->publish("session:admin_dashboard", "plugin_state", change.to_json());
    const bool bad = change.now.phase == plugins::instance_phase::failed || change.now.phase == plugins::instance_phase::quarantined || change.now.phase == plugins::instance_phase::backoff;
    write_log(bad ? level::warn : level::debug, change.now.id, "plugin is " + phase + (change.now.reason.empty() ? "" : ": " + change.now.reason));
    side_.post([this] {
        place_log();
        watch_plugin_files();
    });  // both ask plugins: not in the middle of a change
}

void application::on_plugin_reload(const plugins::reload_news& news) {
    bus_->publish("plugin:" + news.now.id, "plugin_reloaded", news.to_json());
    bus_->publish("session:admin_dashboard", "plugin_reloaded", news.to_json());
    using outcome = plugins::reload_news::outcome;
    const bool another = news.what == outcome::replaced || news.what == outcome::rolled_back;
    if (another && news.now.kind == "transport" && servers_) servers_->transport_replaced(news.now.id);
}

void application::watch_server_files() {
    std::map<std::string, std::unique_ptr<config::file_watch>> watches;
    for (const std::string& path : loaded_.files.watched) {
        if (auto it = server_file_watches_.find(path); it != server_file_watches_.end() && it->second) {
            watches[path] = std::move(it->second);
            continue;
        }
        auto watch = config::file_watch::create(*rt_, path, [this] { side_.post([this] { reload(); }); });
        if (watch) watches[path] = std::move(*watch);
        else write_log(level::warn, "config", "changes of " + path + " are not noticed: " + watch.error().message);
    }
    server_file_watches_ = std::move(watches);
}

/// [side thread, or before it has work]
void application::tell_server_file_problems() {
    const auto& problems = loaded_.files.problems;
    if (problems.empty()) return;
    json errors = json::array();
    for (const auto& p : problems) {
        errors.push_back(p.to_json());
        write_log(level::warn, "config", "not imported: " + p.to_string());
    }
    bus_->publish("session:admin_dashboard", "admin_notification", json{{"severity", "warning"}, {"message", "not imported: " + problems[0].to_string()}, {"context", {{"errors", errors}}}});
}

/// Which plugin files are watched follows the configuration; where they lie, the plugins.
void application::watch_plugin_files() {
    std::map<std::string, std::string> wanted;
    std::map<std::string, std::string> loaded;  // hashes
    for (const auto& info : plugins_->list())
        if (!info.path.empty() && board_->watched(info.id)) wanted[info.id] = info.path, loaded[info.id] = info.sha256;
    std::erase_if(plugin_watches_, [&](const auto& w) {
        auto it = wanted.find(w.first);
        return it == wanted.end() || it->second != w.second.path;
    });
    for (const auto& [id, path] : wanted) {
        if (plugin_watches_.count(id)) continue;
        auto changed = [this, id = id] {
            write_log(level::info, id, "its file has changed: reloading");
            board_->reload(id, {}, [id](result<plugins::plugin_info> r) {
                if (!r) write_log(level::error, id, "not reloaded: " + r.error().message);
            });
        };
        auto watch = config::file_watch::create(*rt_, path, changed);
        if (!watch) {
            write_log(level::warn, id, "changes of its file are not noticed: " + watch.error().message);
            continue;
        }
        plugin_watches_[id] = {path, std::move(*watch)};
        // Since it was loaded and before it was watched.
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        if (const auto now = plugins::file_sha256(fd); now && *now != loaded[id]) changed();
        ::close(fd);
    }
}

/// A thread of the pool sits in one piece of work. In a plugin's code, as a rule: the marks say in whose.
void application::on_stuck_thread(std::uint32_t tid, double seconds_since) {
    std::string plugin;
    if (auto marks = plugins::crash_marks::read(loaded_.data_dir + "/run/marks"))
        for (const auto& m : *marks)
            if (m.tid == tid && !m.plugins.empty()) plugin = m.plugins.back();
    char time[32];
    std::snprintf(time, sizeof time, "%g s", seconds_since);
    const json event{{"plugin", plugin.empty() ? json() : json(plugin)}, {"thread", tid}, {"seconds", seconds_since}};
    bus_->publish("session:admin_dashboard", "plugin_hung", event);
    if (plugin.empty()) return write_log(level::error, "host", "a thread has been busy with one thing for " + std::string(time) + ", in no plugin's code: it is given up and another takes its place; this is a defect, please report it", event);
    bus_->publish("plugin:" + plugin, "plugin_hung", event);
    const std::string why = "a call into it has not returned for " + std::string(time);
    const bool restart = board_->restarts_host(plugin) && options_.request_restart;
    write_log(level::error, plugin, "plugin '" + plugin + "' hangs: " + why + "; the thread is given up and another takes its place; " +
                                        (restart ? "the host is restarted, as configured" : "the plugin is restarted"), event);
    if (restart) {
        restart_wanted_ = true;
        return options_.request_restart();
    }
    plugins_->crashed(plugin, why);
}

void application::tell_crash(const plugins::crash_report& r) {
    json event = r.to_json();
    event["summary"] = r.summary();
    if (!r.plugin.empty()) bus_->publish("plugin:" + r.plugin, "plugin_crashed", event);
    bus_->publish("session:admin_dashboard", "plugin_crashed", event);
    const std::string who = r.plugin.empty() ? "no plugin can be blamed (" + r.why_not + ")" : r.isolated ? "the process of plugin '" + r.plugin + "' died" : "plugin '" + r.plugin + "' crashed the host";
    write_log(level::error, r.plugin.empty() ? "host" : r.plugin, (r.plugin.empty() ? "the host crashed: " : "") + who + ": " + r.summary() + "; the report is in " + loaded_.data_dir + "/crashes");
}

void application::place_log() {
    const bool divert = board_->terminal_taken() && ::isatty(STDERR_FILENO) == 1;
    if (divert == log_diverted_) return;
    const std::string file = loaded_.data_dir + "/holdfast.log";
    if (divert) write_log(level::info, "host", "the terminal is in use: the log goes on in " + file);
    if (auto ok = divert_log(divert ? file : ""); !ok) return write_log(level::warn, "host", ok.error().message);
    log_diverted_ = divert;
    if (!divert) write_log(level::info, "host", "the terminal is free again: meanwhile the log went to " + file);
}

bool application::ready() const {
    if (!doors_open_) return false;
    for (const std::string& name : servers_->names()) {
        auto row = servers_->row(name);
        if (!row) return false;  // its actor has not spoken yet
        if (string_or(*row, "status") == "disconnected" && bool_or(*row, "enabled", true) && int_or(*row, "consecutive_failures", 0) == 0) return false;
    }
    return true;
}

json application::tree() const { return root_->tree(); }

json application::health() const {
    const json counts = servers_->counts();
    const json plugins = board_->counts();
    const bool degraded = int_or(counts, "disconnected", 0) + int_or(counts, "circuit_open", 0) > 0 || int_or(plugins, "failed", 0) + int_or(plugins, "quarantined", 0) + int_or(plugins, "backoff", 0) > 0;
    const auto figures = sessions_->stats();
    return {{"status", degraded ? "degraded" : "ok"},
            {"servers", counts},
            {"plugins", plugins},
            {"sessions", {{"known", figures.known}, {"live", figures.live}, {"quarantined", figures.quarantined}, {"restarts", figures.restarts}}},
            {"uptime_ms", std::chrono::duration_cast<milliseconds>(clock_.now() - started_).count()}};
}

json application::info() const {
    std::unique_lock lock(document_mutex_);
    const std::string data_dir = loaded_.data_dir, path = loaded_.document.path;
    lock.unlock();
    return {{"name", "holdfast"}, {"version", HOLDFAST_VERSION}, {"pid", ::getpid()},
            {"uptime_ms", std::chrono::duration_cast<milliseconds>(clock_.now() - started_).count()},
            {"started_at", rfc3339(started_wall_)}, {"data_dir", data_dir}, {"config", path}, {"urls", board_->urls()}, {"llm", llm_->choice()}};
}

std::vector<std::string> application::urls() const {
    auto out = board_->urls();
    if (authority_->how() == api::token_authority::mode::token)
        for (std::string& u : out)
            if (u.starts_with("http")) u += "#token=" + authority_->token();  // a page takes it from there; sockets have none
    return out;
}

/// What a burst needed (a thousand servers that fail at once) goes back to the system; the C library keeps it otherwise, and scattered
/// rests add up over months.
void application::give_memory_back() {
#ifdef __GLIBC__
    ::malloc_trim(0);
#endif
    memory_timer_ = rt_->after(memory_period, [this] { side_.post([this] { give_memory_back(); }); });
}

void application::stop() {
    if (std::exchange(stopped_, true)) return;
    stopping_ = true;
    if (guardian_ && !restart_wanted_) guardian_->stopping();
    const auto patience = std::chrono::duration_cast<milliseconds>(std::chrono::duration<double>(number_or(loaded_.document.resolved["host"], "stop_timeout_s", 15)));
    // What hangs is not waited for.
    const auto budget = rt_ && rt_->stats().lost > 0 ? std::min<milliseconds>(patience, stop_time_when_stuck) : patience;
    watch_.reset();
    side_.stop();  // a reload under way finishes first
    memory_timer_.cancel();
    plugin_watches_.clear();
    if (gateway_) gateway_->stop();  // while those who listen can still be told
    server_file_watches_.clear();
    control_.reset();
    if (sessions_) wait_for(budget / 3, [&](auto done) { sessions_->stop(budget / 3, [done = std::move(done)]() mutable { done(); }); });
    if (breakers_) breakers_->release();  // before the tree: a breaker still held would keep its plugin from ending
    const bool stopped = !root_ || root_->stop_and_wait(budget);
    if (log_diverted_) (void)divert_log("");
    if (!stopped) write_log(level::warn, "host", "not everything stopped within its time: what is left is ended by force");
    if (bus_) bus_->close();
    if (llm_) llm_->set_gate({});
    breakers_.reset();
    guardian_.reset();
    // First the threads: what was not stopped in its time would still ask for processes.
    if (rt_) rt_->stop(seconds(2));
    processes_.reset();
    if (lock_fd_ >= 0) ::close(lock_fd_);
}

}  // namespace holdfast::app
