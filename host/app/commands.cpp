#include "app/commands.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>

#include "app/application.hpp"
#include "app/command_line.hpp"
#include "app/config_schema.hpp"
#include "app/paths.hpp"
#include "app/print.hpp"

namespace holdfast::app {
namespace {

constexpr seconds host_start_deadline{30};

/// The data directory without judging the rest of the file: a host that runs must be reachable after a broken edit.
result<std::string> quick_data_dir(const std::string& path) {
    std::string configured = "~/.local/state/holdfast";
    std::string base = std::filesystem::absolute(path.empty() ? "x" : path).parent_path().string();
    std::string text = embedded_config();
    if (!path.empty()) {
        std::ifstream in(path, std::ios::binary);
        if (!in) return fail(errc::config_invalid, path + ":1:1: the configuration cannot be read: " + std::strerror(errno));
        text.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto located = config::parse_located(text, path);
    if (!located) {
        // Only syntax stands in the way; the environment may still say where the host is.
        if (const char* env = std::getenv("HOLDFAST_DATA_DIR"); !env || !*env) return fail(errc::config_invalid, located.error().to_string());
    } else {
        configured = string_or(member(located->value, "host"), "data_dir", configured);
    }
    json holder{{"d", configured}};
    std::set<std::string> secrets;
    if (auto v = config::resolve_references(holder, base, config::reference_sources::real(), secrets); !v.empty())
        return fail(errc::config_invalid, path + ": /host/data_dir: " + v[0].message);
    return data_directory(holder["d"], base);
}

}  // namespace

int explain(const error& e) {
    std::cerr << "holdfast: " << printable(e.message, true) << " [" << to_string(e.code) << "]";
    if (e.retry_after.count() > 0) std::cerr << " (retry in " << human_duration(e.retry_after.count()) << ")";
    std::cerr << "\n";
    switch (e.code) {
        case errc::invalid_argument: return exit_usage;
        case errc::config_invalid: return exit_config;
        default: return exit_failed;
    }
}

std::string data_dir_of(const common_options& o) {
    auto dir = quick_data_dir(find_config(o.config));
    if (dir) return *dir;
    std::cerr << dir.error().message << "\n";
    return "";
}

std::unique_ptr<control_client> connect_or_explain(const common_options& o, int& code) {
    const std::string dir = data_dir_of(o);
    if (dir.empty()) return code = exit_config, nullptr;
    auto client = control_client::connect(dir);
    if (client) return std::move(*client);
    std::cerr << "holdfast: " << client.error().message << "\n";
    code = client.error().code == errc::unavailable ? exit_not_running : exit_failed;
    return nullptr;
}

int list_command(const common_options& o, const std::string& method, json params) {
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call(method, std::move(params), seconds(120));
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else print_result(method, *r);
    return exit_ok;
}

int reload_command(const common_options& o, const std::string& id, const std::string& from) {
    json params{{"id", id}};
    if (!from.empty()) params["from"] = std::filesystem::absolute(from).string();
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call("plugin.reload", std::move(params), seconds(600));
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else
        std::cout << printable(id) << " is " << printable(string_or(*r, "state")) << ": version " << printable(string_or(*r, "version")) << " of " << printable(string_or(*r, "path"))
                  << (string_or(*r, "reload") == "probation" ? "; it gives way to the version before should it fail soon" : "") << "\n";
    return exit_ok;
}

int call_command(const common_options& o, const std::string& method, json params) {
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call(method, std::move(params), seconds(600));
    if (!r) {
        if (o.as_json) std::cout << dump({{"error", r.error().to_json()}}) << "\n";
        return explain(r.error());
    }
    std::cout << (o.as_json ? dump(*r) : r->dump(2, ' ', false, json::error_handler_t::replace)) << "\n";
    return exit_ok;
}

int servers_command(const common_options& o, const std::string& action, const std::vector<std::string>& names, json config) {
    json params = json::object();
    if (!config.is_null()) params["config"] = std::move(config);
    if (names.size() == 1) {
        params["name"] = names[0];
        return list_command(o, "server." + action, std::move(params));
    }
    params["action"] = action;
    if (!names.empty()) params["names"] = names;
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call("server.bulk", std::move(params), seconds(600));
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else print_result("server.bulk", *r);
    return int_or(*r, "failed", 0) == 0 ? exit_ok : exit_failed;
}

int log_command(const common_options& o, const std::string& server, int limit) {
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call("server.log", {{"name", server}, {"limit", limit}});
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else
        for (const json& line : member(*r, "lines")) std::cout << printable(line.is_string() ? line.get<std::string>() : dump(line)) << "\n";
    return exit_ok;
}

int login_command(const common_options& o, const std::string& server) {
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call("server.login", {{"name", server}}, seconds(60));
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << std::endl;
    else std::cout << "Open this address in a browser on this machine:\n\n" << printable(string_or(*r, "authorization_url")) << "\n" << std::endl;
    r = host->call("server.login", {{"name", server}, {"wait", true}}, seconds(630));  // longer than the transport allows the person
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else if (string_or(*r, "status") == "disabled") std::cout << "Logged in to " << printable(server) << ". It is disabled: `holdfast server enable " << printable(server) << "` lets it be used.\n";
    else std::cout << "Logged in to " << printable(server) << ".\n";
    return exit_ok;
}

int tool_command(const common_options& o, const std::string& server, const std::string& tool, const std::string& arguments) {
    auto args = parse_json(arguments.empty() ? "{}" : arguments);
    if (!args || !args->is_object()) {
        std::cerr << "holdfast: expected the arguments as a JSON object, for example '{\"text\":\"hi\"}'\n";
        return exit_usage;
    }
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call("tool.call", {{"server", server}, {"tool", tool}, {"arguments", *args}}, seconds(600));
    if (!r) return explain(r.error());
    if (o.as_json) {
        std::cout << dump(*r) << "\n";
    } else {
        for (const json& part : member(*r, "content"))
            std::cout << (string_or(part, "type") == "text" ? printable(string_or(part, "text"), true) : dump(part)) << "\n";
    }
    return bool_or(*r, "isError", false) ? exit_failed : exit_ok;
}

int events_command(const common_options& o, const events_options& e) {
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    const bool pattern = !e.topic.empty() && e.topic.back() == '*';
    if (!e.follow && !pattern) {
        json params{{"topic", e.topic}, {"limit", e.limit}};
        if (e.from) params["from"] = *e.from;
        auto r = host->call("events.read", std::move(params));
        if (!r) return explain(r.error());
        for (const json& event : member(*r, "events")) std::cout << dump(event) << "\n";
        return exit_ok;
    }
    if (!e.follow) {
        // Every topic of the pattern, one after the other.
        auto sessions = host->call("session.list", {{"limit", 1000}});
        if (!sessions) return explain(sessions.error());
        for (const json& s : member(*sessions, "sessions")) {
            const std::string topic = "session:" + string_or(s, "session_id");
            if (topic.compare(0, e.topic.size() - 1, e.topic, 0, e.topic.size() - 1) != 0) continue;
            auto r = host->call("events.read", {{"topic", topic}, {"limit", e.limit}});
            if (!r) return explain(r.error());
            for (const json& event : member(*r, "events")) std::cout << dump(event) << "\n";
        }
        return exit_ok;
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool lost = false;
    json options{{"topic", e.topic}, {"policy", "drop_oldest"}};
    if (e.from) options["from"] = *e.from;
    host->on_lost([&] {
        std::lock_guard lock(mutex);
        lost = true;
        changed.notify_all();
    });
    auto sub = host->subscribe(std::move(options), [](const json& event) { std::cout << dump(event) << std::endl; });
    if (!sub) return explain(sub.error());
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return lost; });
    std::cerr << "holdfast: the host has gone away\n";
    return exit_failed;
}

result<std::unique_ptr<borrowed_host>> borrowed_host::start(const common_options& o, const std::string& data_dir) {
    std::cerr << "holdfast: no host is running, starting one\n";
    const std::string log = data_dir + "/chat-host.log";
    std::vector<std::string> words{o.program, "run", "--quiet"};
    if (!o.config.empty()) words.insert(words.end(), {"--config", o.config});
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC), out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const pid_t me = ::getpid(), pid = null < 0 || out < 0 ? -1 : ::fork();
    if (pid == 0) {  // only what may be called after a fork of several threads
        ::setpgid(0, 0);  // Ctrl-C in the chat is not for the host
        // Ends as ~borrowed_host would have it, also when we are killed. Kept across exec; our main thread starts it, and ends last.
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (::getppid() != me) ::_exit(0);
        ::dup2(null, 0), ::dup2(out, 1), ::dup2(out, 2);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    const int why = errno;
    for (const int fd : {null, out})
        if (fd >= 0) ::close(fd);
    if (pid < 0) return fail(errc::unavailable, std::string("a host cannot be started: ") + std::strerror(why));
    std::unique_ptr<borrowed_host> host(new borrowed_host(pid));

    const auto deadline = std::chrono::steady_clock::now() + host_start_deadline;
    while (std::chrono::steady_clock::now() < deadline) {
        if (auto probe = control_client::connect(data_dir)) return host;
        int status = 0;
        if (::waitpid(pid, &status, WNOHANG) == pid) {
            host->pid_ = 0;
            std::ifstream in(log);
            return fail(errc::unavailable, "the host did not start:\n" + std::string(std::istreambuf_iterator<char>(in), {}));
        }
        ::poll(nullptr, 0, 10);
    }
    return fail(errc::timeout, "the host did not come up within 30 s: see " + log);
}

borrowed_host::~borrowed_host() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
}

}  // namespace holdfast::app
