// `holdfast run`, below the guardian: start, serve until told to stop, stop in order.
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

#include "app/application.hpp"
#include "app/command_line.hpp"
#include "app/commands.hpp"
#include "app/config_schema.hpp"
#include "app/logging.hpp"
#include "app/paths.hpp"
#include "kernel/plugins/isolation/crash_trace.hpp"
#include "kernel/supervise/guardian.hpp"

namespace holdfast::app {
namespace {

std::atomic<bool> restart_wanted{false};

/// A shell's usual 1024 are enough for some 200 servers. What we start gets limits of its own.
void raise_descriptor_limit() {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= files.rlim_max) return;
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, 1u << 20);
    (void)::setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int run_host(const common_options& o, bool quiet) {
    // Before any thread exists, so that every thread inherits the mask and only this one takes the signals.
    sigset_t signals;
    sigemptyset(&signals);
    for (int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, s);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    raise_descriptor_limit();
    application_options options;
    options.config_path = find_config(o.config);
    options.request_stop = [] { ::kill(::getpid(), SIGTERM); };
    options.request_restart = [] {
        restart_wanted = true;
        ::kill(::getpid(), SIGTERM);
    };
    auto app = application::start(std::move(options));
    if (!app) {
        std::cerr << (app.error().code == errc::config_invalid ? "" : "holdfast: ") << app.error().message << "\n";
        return app.error().code == errc::config_invalid ? exit_config : exit_failed;
    }
    plugins::isolation::guard_exit(supervise::exit_restart_me);  // a plugin that calls exit() has crashed the host
    if (!quiet) {
        const auto urls = (*app)->urls();
        for (const std::string& url : urls) std::cout << "Holdfast is serving at " << url << "\n";
        if (urls.empty()) std::cout << "Holdfast is serving on its control socket only: no web interface is active\n";
        std::cout << "Talk to it with 'holdfast chat'; stop it with Ctrl-C." << std::endl;
    }
    for (int signal = 0; sigwait(&signals, &signal) == 0 && signal == SIGHUP;) {
        if (::isatty(STDIN_FILENO)) break;  // the terminal went away
        (*app)->reload_soon();
    }
    write_log(level::info, "host", "stopping");
    (*app)->stop();
    app->reset();
    plugins::isolation::exit_is_meant();
    return restart_wanted ? supervise::exit_restart_me : exit_ok;
}

int check_config(const common_options& o) {
    const std::string path = find_config(o.config);
    auto loaded = load_configuration(path, plugin_files::judged);
    const std::string shown = path.empty() ? "the embedded configuration" : path;
    if (o.as_json) {
        json errors = json::array();
        for (const auto& p : loaded ? loaded->files.problems : loaded.error()) errors.push_back(p.to_json());
        std::cout << dump({{"ok", errors.empty()}, {"config", path}, {"errors", errors}}) << "\n";
    } else if (!loaded) {
        for (const auto& p : loaded.error()) std::cerr << p.to_string() << "\n";
        std::cerr << loaded.error().size() << (loaded.error().size() == 1 ? " problem in " : " problems in ") << shown << "\n";
    } else {
        for (const auto& f : loaded->found)
            if (!f.problem.empty()) std::cerr << "note: " << f.path << " is passed over: " << f.problem << "\n";
        // Notes: the file may be meant for another machine.
        for (const auto& [name, server] : loaded->document.resolved["mcpServers"].items())
            if (auto ok = servers::server_set::check_start(name, server); !ok) std::cerr << "note: mcpServers." << name << " would not start here: " << ok.error().message << " [" << to_string(ok.error().code) << "]\n";
        for (const auto& p : loaded->files.problems) std::cerr << p.to_string() << "\n";
        std::cout << shown << (loaded->files.problems.empty() ? " is in order: " : " is in order, what it imports is not: ") << loaded->document.resolved["plugins"].size() << " plugins, " << loaded->document.resolved["mcpServers"].size() << " MCP servers\n";
    }
    return loaded && loaded->files.problems.empty() ? exit_ok : exit_config;
}

int print_schema(const common_options& o) {
    const std::string path = find_config(o.config);
    json written = json::object();
    config::load_options plain;
    plain.text_only = true;
    if (!path.empty())
        if (auto doc = config::load_file(path, plain); doc) written = doc->written;
    const std::string base = std::filesystem::absolute(path.empty() ? "x" : path).parent_path().string();
    const auto options = load_options_for(plugins::discovery(plugin_directories(written, base)).list());
    std::cout << config::compose_schema(options.root_schema, options.plugins).dump(2) << "\n";
    return exit_ok;
}

}  // namespace holdfast::app
