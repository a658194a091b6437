#include "app/command_line.hpp"

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>

#include "app/commands.hpp"
#include "app/paths.hpp"
#include "app/plugin_tools.hpp"
#include "kernel/core/nearest.hpp"

namespace holdfast::app {
namespace {

constexpr const char* footer = R"txt(
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 configuration has problems, 4 no host is running, 5 denied,
75 the guardian gave up restarting a host that kept crashing.

Commands that talk to a running host find it by the data directory of --config FILE (default: config/holdfast.json, else the
installed one, else the embedded defaults). HOLDFAST_CONFIG, HOLDFAST_DATA_DIR and HOLDFAST_PLUGIN_PATH override.
HOLDFAST_RESTARTS=N/SECONDS[/DELAY] sets when the guardian gives up (default 5/60/1) and how long it waits before the second restart.

Examples:
  holdfast run                                   serve; prints the address of the web page
  holdfast chat                                  talk in this terminal
  holdfast chat -m "what time is it?" --yes      one answer, tools approved
  holdfast servers --json                        statuses of all MCP servers
  holdfast tool call demo echo '{"text":"hi"}'   call a tool
  holdfast plugin new llm hello                  a plugin of your own; plugin check tests it
  eval "$(holdfast completion bash)"             tab completion)txt";

/// Parsed values live as long as the callbacks that CLI11 runs.
struct parsed {
    common_options common;
    chat_options chat;
    events_options events;
    plugin_check_options check;
    plugin_new_options made;
    std::uint64_t from = 0;
    std::string name, second, third, text, shell;
    int limit = 200;
    std::vector<std::string> names;
    bool quiet = false, dry_run = false, all = false;
    int code = exit_ok;
};

json params_or_exit(const std::string& text, int& code) {
    if (text.empty()) return json::object();
    auto p = parse_json(text);
    if (p && p->is_object()) return *p;
    std::cerr << "holdfast: expected a JSON object, found " << text << (p ? "" : " (" + p.error().message + ")") << "\n";
    code = exit_usage;
    return nullptr;
}

void add_server_commands(CLI::App& app, parsed& p) {
    auto* server = app.add_subcommand("server", "Start, stop, restart, enable, disable, add, change or import MCP servers; show their health and logs");
    server->require_subcommand(1);
    for (const char* verb : {"start", "stop", "restart", "enable", "disable"}) {
        auto* c = server->add_subcommand(verb, std::string(verb) + " one server, several, or all");
        c->add_option("NAME", p.names, "Names under mcpServers");
        c->add_flag("--all", p.all, "All servers that this can concern");
        c->callback([&p, verb] {
            if (p.all == p.names.empty()) p.code = servers_command(p.common, verb, p.names);
            else p.code = explain({errc::invalid_argument, "give the names of servers, or --all"});
        });
    }
    auto* login = server->add_subcommand("login", "Log in to a server that wants it: prints the address to open in a browser, and waits");
    login->add_option("NAME", p.name, "Its name under mcpServers")->required();
    login->callback([&p] { p.code = login_command(p.common, p.name); });
    auto* logout = server->add_subcommand("logout", "Forget what a server granted");
    logout->add_option("NAME", p.name, "Its name under mcpServers")->required();
    logout->callback([&p] { p.code = call_command(p.common, "server.logout", {{"name", p.name}}); });
    auto* health = server->add_subcommand("health", "Health of a server, or of all of them together");
    health->add_option("NAME", p.name);
    health->callback([&p] { p.code = p.name.empty() ? list_command(p.common, "server.get_system_health", json::object()) : list_command(p.common, "server.get_health", {{"name", p.name}}); });
    auto* history = server->add_subcommand("health-log", "What happened to a server: connected, disconnected, recovery_attempt …");
    history->add_option("NAME", p.name)->required();
    history->add_option("-n,--lines", p.limit, "How many rows")->capture_default_str();
    history->callback([&p] { p.code = list_command(p.common, "server.health_log", {{"name", p.name}, {"limit", p.limit}}); });
    server->add_subcommand("metrics", "What was counted since the host started")->callback([&p] { p.code = list_command(p.common, "server.get_metrics", json::object()); });
    auto* set = server->add_subcommand("set", "Change settings of one server, several, or all at runtime, kept until the file's own key is edited: '{\"health\":{\"interval_s\":60}}'");
    set->add_option("NAME_JSON", p.names, "Names under mcpServers, and last JSON with keys as there")->required();
    set->add_flag("--all", p.all, "All servers");
    set->callback([&p] {
        const json config = params_or_exit(p.names.back(), p.code);
        p.names.pop_back();
        if (p.code != exit_ok) return;
        if (p.all == p.names.empty()) p.code = servers_command(p.common, "update_config", p.names, config);
        else p.code = explain({errc::invalid_argument, "give the names of servers, or --all"});
    });
    auto* add = server->add_subcommand("add", "Add a server at runtime: '{\"command\":\"npx\",\"args\":[…]}'");
    add->add_option("NAME", p.name)->required();
    add->add_option("JSON", p.text, "Keys as under mcpServers")->required();
    add->callback([&p] {
        const json config = params_or_exit(p.text, p.code);
        if (p.code == exit_ok) p.code = list_command(p.common, "server.add", {{"name", p.name}, {"config", config}});
    });
    for (const auto& [verb, method, what] : {std::tuple{"reset", "server.reset_config", "Forget what was set of a server at runtime"}, std::tuple{"remove", "server.remove", "Take out a server that was added at runtime"}}) {
        auto* c = server->add_subcommand(verb, what);
        c->add_option("NAME", p.name)->required();
        c->callback([&p, method = method] { p.code = list_command(p.common, method, {{"name", p.name}}); });
    }
    auto* brought = server->add_subcommand("import", "MCP servers out of a file of Claude Desktop, Claude Code, Cursor or VS Code");
    brought->add_option("FILE", p.name)->required()->type_name("FILE");
    brought->add_flag("--dry-run", p.dry_run, "Only show what would be imported, and what is wrong with it");
    brought->callback([&p] { p.code = p.dry_run ? show_import(p.common, p.name) : import_command(p.common, p.name); });
    auto* log = server->add_subcommand("log", "What the server wrote to stderr");
    log->add_option("NAME", p.name)->required();
    log->add_option("-n,--lines", p.limit, "How many lines")->capture_default_str();
    log->callback([&p] { p.code = log_command(p.common, p.name, p.limit); });
}

void add_gateway_commands(CLI::App& app, parsed& p) {
    auto* gateway = app.add_subcommand("gateway", "The MCP endpoint in front of all servers: what it serves, and tools whose definition changed");
    gateway->require_subcommand(1);
    gateway->add_subcommand("status", "Sessions, requests, names and collisions")->callback([&p] { p.code = list_command(p.common, "gateway.status", json::object()); });
    auto* pins = gateway->add_subcommand("pins", "Approved definitions of tools, and those that changed and are held");
    pins->add_option("SERVER", p.name, "Only this server's");
    pins->add_flag("--held", p.quiet, "Only those that wait for approval");
    pins->callback([&p] {
        json params{{"held", p.quiet}};
        if (!p.name.empty()) params["server"] = p.name;
        p.code = list_command(p.common, "gateway.pins", params);
    });
    auto* approve = gateway->add_subcommand("approve", "Approve the changed definition of a tool: it is offered again");
    approve->add_option("SERVER", p.name)->required();
    approve->add_option("TOOL", p.second)->required();
    approve->add_option("--hash", p.third, "Only if it is the one with this hash");
    approve->callback([&p] {
        json params{{"server", p.name}, {"tool", p.second}};
        if (!p.third.empty()) params["hash"] = p.third;
        p.code = list_command(p.common, "gateway.approve", params);
    });
    auto* forget = gateway->add_subcommand("forget", "Forget the pinned tools that a server no longer has");
    forget->add_option("SERVER", p.name)->required();
    forget->callback([&p] { p.code = list_command(p.common, "gateway.forget", {{"server", p.name}}); });
}

void add_ui_commands(CLI::App& app, parsed& p) {
    auto* ui = app.add_subcommand("ui", "Start, stop or swap user interfaces of the running host");
    ui->require_subcommand(1);
    for (const char* verb : {"start", "stop"}) {
        auto* c = ui->add_subcommand(verb, std::string(verb) + " a user interface");
        c->add_option("NAME", p.name, "Its name under plugins")->required();
        c->callback([&p, verb] { p.code = list_command(p.common, std::string("ui.") + verb, {{"id", p.name}}); });
    }
    auto* swap = ui->add_subcommand("swap", "Hand over from one user interface to another without losing an event");
    swap->add_option("FROM", p.name)->required();
    swap->add_option("TO", p.second)->required();
    swap->callback([&p] { p.code = call_command(p.common, "ui.swap", {{"from", p.name}, {"to", p.second}}); });
}

void add_plugin_commands(CLI::App& app, parsed& p) {
    auto* plugin = app.add_subcommand("plugin", "Plugins of the running host; tools for writing one");
    plugin->require_subcommand(1);
    plugin->add_subcommand("list", "Plugins and their states, like 'holdfast plugins'")->callback([&p] {
        p.code = list_command(p.common, "plugin.list", json::object());
    });
    auto* made = plugin->add_subcommand("new", "Make a small plugin project that builds, passes its checks and loads");
    made->add_option("KIND", p.made.kind, "llm, transport, ui, breaker, health or store")->required()->check(CLI::IsMember({"llm", "transport", "ui", "breaker", "health", "store"}));
    made->add_option("NAME", p.made.name, "The plugin's name, also of its file")->required();
    made->add_option("--lang", p.made.language, "c++, c or rust")->capture_default_str()->check(CLI::IsMember({"c++", "c", "rust"}));
    made->add_option("--dir", p.made.directory, "Where (default: ./NAME)")->type_name("DIR");
    made->callback([&p] { p.code = new_plugin_command(p.common, p.made); });
    auto* inspect = plugin->add_subcommand("inspect", "What a plugin file says of itself and what it exports, without running any of its code");
    inspect->add_option("FILE", p.name, "A plugin file, or the name of an installed plugin")->required();
    inspect->callback([&p] { p.code = inspect_command(p.common, p.name); });
    auto* check = plugin->add_subcommand("check", "Test a plugin file against the contract of its kind; prints a verdict for its README");
    check->add_option("FILE", p.check.file, "A plugin file, or the name of an installed plugin")->required();
    check->add_option("--only", p.check.only, "One check, or one group: file, lifecycle, host, or the kind")->type_name("NAME");
    check->add_option("--isolation", p.check.isolation, "One of the two only: in this process, or each instance in a process of its own")->check(CLI::IsMember({"in-process", "process"}));
    check->add_option("--settings", p.check.settings, "The instance's settings, instead of those of the manifest's \"check\"")->type_name("JSON");
    check->add_option("--with", p.check.config, "transport: a connection to a peer that echoes; breaker, health: the policy's configuration")->type_name("JSON");
    check->add_option("--unreachable", p.check.unreachable, "transport: a connection to a peer that does not answer")->type_name("JSON");
    check->add_flag("--persistent", p.check.persistent, "store: it keeps its data in the file that its settings name");
    check->add_flag("--no-answers", p.check.no_answers, "llm: the model cannot be reached from here");
    check->add_flag("--no-start", p.check.no_start, "ui: it cannot start here, for want of a terminal");
    check->add_option("--timeout", p.check.timeout_s, "Seconds that one check may take")->capture_default_str()->check(CLI::Range(1, 3600));
    check->callback([&p] { p.code = check_plugin_command(p.common, p.check); });
    auto* reload = plugin->add_subcommand("reload", "Replace a running plugin by a new version; the old one goes on if the new one fails");
    reload->add_option("NAME", p.name, "Its name under plugins")->required();
    reload->add_option("--from", p.second, "Another file than the configured one, until the configuration is read again")->type_name("FILE");
    reload->callback([&p] { p.code = reload_command(p.common, p.name, p.second); });
    for (const char* verb : {"start", "stop", "restart", "release", "remove"}) {
        auto* c = plugin->add_subcommand(verb, std::string(verb) + " a plugin");
        c->add_option("NAME", p.name, "Its name under plugins")->required();
        c->callback([&p, verb] { p.code = list_command(p.common, std::string("plugin.") + verb, {{"id", p.name}}); });
    }
}

void add_listings(CLI::App& app, parsed& p) {
    const std::pair<const char*, std::pair<const char*, const char*>> listings[] = {
        {"tree", {"host.tree", "The supervision tree"}},
        {"plugins", {"plugin.list", "Plugins and their states"}},
        {"servers", {"server.list", "MCP servers and their statuses"}},
        {"tools", {"tool.list", "Tools of all healthy servers"}},
        {"sessions", {"session.list", "Chat sessions"}},
        {"llms", {"llm.list", "LLM adapters, and which one answers"}},
        {"info", {"host.info", "The running host"}},
        {"health", {"host.health", "Health of everything"}},
    };
    for (const auto& [name, rest] : listings) {
        auto* c = app.add_subcommand(name, rest.second);
        c->callback([&p, method = rest.first] { p.code = list_command(p.common, method, json::object()); });
    }
}

void add_everything(CLI::App& app, parsed& p) {
    app.add_option("-c,--config", p.common.config, "Configuration file")->type_name("FILE");
    app.add_flag("--json", p.common.as_json, "Print JSON instead of a table");
    app.set_version_flag("--version", "holdfast " HOLDFAST_VERSION);
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(footer);

    auto* run = app.add_subcommand("run", "Run the host under its guardian, in the foreground");
    run->add_flag("-q,--quiet", p.quiet, "Do not print the addresses");
    run->callback([&p] { p.code = run_host(p.common, p.quiet); });

    auto* chat = app.add_subcommand("chat", "Talk to a running host, or to one started for it");
    chat->add_option("-s,--session", p.chat.session, "Session to go on with (default: a new one)")->type_name("ID");
    chat->add_option("-m,--message", p.chat.message, "Send this, print the answer, exit")->type_name("TEXT");
    chat->add_flag("-y,--yes", p.chat.yes, "Approve every tool call");
    chat->add_option("--timeout", p.chat.timeout_s, "Seconds to wait for the answer to -m")->capture_default_str();
    chat->callback([&p, chat] {
        p.chat.has_message = chat->count("-m") > 0;
        p.code = chat_command(p.common, p.chat);
    });

    app.add_subcommand("mcp", "Be an MCP server on stdin and stdout, with everything the host's servers offer; starts a host if none is running")
        ->callback([&p] { p.code = mcp_command(p.common); });
    app.add_subcommand("check", "Check the configuration file and say what is wrong, where")->callback([&p] { p.code = check_config(p.common); });
    app.add_subcommand("schema", "Print the JSON Schema of the configuration, every plugin's settings included")->callback([&p] { p.code = print_schema(p.common); });
    add_listings(app, p);
    add_server_commands(app, p);
    add_gateway_commands(app, p);
    add_ui_commands(app, p);
    add_plugin_commands(app, p);

    auto* events = app.add_subcommand("events", "Print events, one JSON object a line");
    events->add_option("-t,--topic", p.events.topic, "Topic or pattern: session:<id>, session:*, server:<name>, supervision …")->capture_default_str();
    auto* from = events->add_option("--from", p.from, "First number wanted");
    events->add_flag("-f,--follow", p.events.follow, "Go on with what happens next");
    events->add_option("-n,--limit", p.events.limit, "At most so many (without --follow)")->capture_default_str();
    events->callback([&p, from] {
        if (from->count() > 0) p.events.from = p.from;
        p.code = events_command(p.common, p.events);
    });

    auto* tool = app.add_subcommand("tool", "Call a tool of an MCP server");
    tool->require_subcommand(1);
    auto* call = tool->add_subcommand("call", "Call a tool and print its result");
    call->add_option("SERVER", p.name)->required();
    call->add_option("TOOL", p.second)->required();
    call->add_option("JSON", p.text, "Arguments, a JSON object");
    call->callback([&p] { p.code = tool_command(p.common, p.name, p.second, p.text); });

    auto* method = app.add_subcommand("call", "Call any method of the API and print its result");
    method->add_option("METHOD", p.name, "For example server.list; host/doc/api.md lists them")->required();
    method->add_option("JSON", p.text, "Parameters, a JSON object");
    method->callback([&p] {
        const json params = params_or_exit(p.text, p.code);
        if (p.code == exit_ok) p.code = call_command(p.common, p.name, params);
    });

    auto* completion = app.add_subcommand("completion", "Print the completion script of a shell");
    completion->add_option("SHELL", p.shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    completion->callback([&p] { p.code = completion_command(p.shell); });
}

std::vector<std::string> command_names(CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* c : app.get_subcommands([](CLI::App*) { return true; })) names.push_back(c->get_name());
    return names;
}

/// The first word that should be a command and is none; "" when all is well.
std::string unknown_command(const std::vector<std::string>& names, int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string a = argv[i];
        if (a == "-c" || a == "--config") ++i;
        else if (a.empty() || a[0] != '-') return std::find(names.begin(), names.end(), a) != names.end() ? "" : a;
    }
    return "";
}

}  // namespace

bool wants_guardian(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view a = argv[i];
        if (a == "--help" || a == "-h" || a == "--version") return false;
        if (a == "-c" || a == "--config") ++i;
        else if (a.empty() || a[0] != '-') return a == "run";
        else if (a == "--host-child") return true;
    }
    return false;
}

int run_command_line(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    extend_path();
    parsed p;
    p.common.program = program_dir() + "/holdfast";
    CLI::App app{"Holdfast: a supervised plugin host for AI agents", "holdfast"};
    add_everything(app, p);
    const std::vector<std::string> names = command_names(app);
    if (const std::string unknown = unknown_command(names, argc, argv); !unknown.empty()) {
        const std::string close = nearest(unknown, names);
        std::cerr << "holdfast: there is no command '" << unknown << "'" << (close.empty() ? ": holdfast --help lists them" : ": did you mean '" + close + "'?") << "\n";
        return exit_usage;
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        const int code = app.exit(e);
        return code == 0 ? exit_ok : exit_usage;
    }
    return p.code;
}

}  // namespace holdfast::app
