#pragma once
// What each command does once its arguments are known. All return an exit code of command_line.hpp.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/control_client.hpp"

namespace holdfast::app {

struct common_options {
    std::string config;     ///< --config
    bool as_json = false;   ///< --json
    std::string program;    ///< path of this binary, to start a host
};

struct chat_options {
    std::string session;    ///< "" = a new one (interactive: the last one used)
    std::string message;    ///< -m
    bool has_message = false;
    bool yes = false;       ///< approve every tool call
    int timeout_s = 600;
};

struct events_options {
    std::string topic = "session:*";
    std::optional<std::uint64_t> from;
    bool follow = false;
    int limit = 1000;
};

/// The data directory that --config means. Prints problems and returns "" when the file is broken.
std::string data_dir_of(const common_options& o);
/// Errors are printed. `code` is the exit code then.
std::unique_ptr<control_client> connect_or_explain(const common_options& o, int& code);
int explain(const error& e);  ///< prints to stderr; the exit code for it

int run_host(const common_options& o, bool quiet);
int check_config(const common_options& o);
int print_schema(const common_options& o);
int list_command(const common_options& o, const std::string& method, json params);   ///< call and print as a table or JSON
/// from: empty, or a file of the working directory.
int reload_command(const common_options& o, const std::string& id, const std::string& from);
int call_command(const common_options& o, const std::string& method, json params);   ///< call and print the result as JSON
int login_command(const common_options& o, const std::string& server);
/// One server: as list_command; several, or none for all: server.bulk. 1 when one of them failed. config: of update_config.
int servers_command(const common_options& o, const std::string& action, const std::vector<std::string>& names, json config = nullptr);
int log_command(const common_options& o, const std::string& server, int limit);
/// Which servers a file of another program describes, and what is wrong with it. Needs no host.
int show_import(const common_options& o, const std::string& file);
/// Adds them to the running host.
int import_command(const common_options& o, const std::string& file);
int events_command(const common_options& o, const events_options& e);
int tool_command(const common_options& o, const std::string& server, const std::string& tool, const std::string& arguments);
int mcp_command(const common_options& o);  ///< speaks MCP on stdin and stdout until stdin ends
int chat_command(const common_options& o, const chat_options& c);
int interactive_chat(control_client& host, const common_options& o, const std::string& session, bool yes);
int completion_command(const std::string& shell);

/// A host that this command started for itself because none was running; stopped when destroyed.
class borrowed_host {
  public:
    /// Errors: unavailable (it did not come up; the sentence holds what it printed).
    static result<std::unique_ptr<borrowed_host>> start(const common_options& o, const std::string& data_dir);
    ~borrowed_host();

  private:
    explicit borrowed_host(int pid) : pid_(pid) {}
    int pid_;
};

}  // namespace holdfast::app
