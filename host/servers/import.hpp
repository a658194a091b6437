#pragma once
// Servers out of the files of other programs, as those programs document them: Claude Desktop, Claude Code, Cursor ("mcpServers"),
// VS Code ("servers" and "inputs", also inside settings.json under "mcp"), Zed ("context_servers"). Pure: the text comes in.
//
// Variables become references of our own configuration and are resolved where its are:
//   ${NAME}, ${NAME:-default}   Claude Code   → ${env:NAME}, ${env:NAME:-default}
//   ${input:id}                 VS Code       → ${env:HOLDFAST_INPUT_ID}, with the input's default if it has one
//   ${workspaceFolder} ${workspaceFolderBasename} ${userHome} ${pathSeparator} ${/}  → their values
#include <string>
#include <string_view>
#include <vector>

#include "kernel/config/document.hpp"

namespace holdfast::servers {

inline constexpr std::size_t max_import_bytes = 4u << 20;

struct import_place {
    std::string file;                   ///< absolute; its folder, or the one above .vscode and .cursor, is the workspace
    std::string home;                   ///< for ${userHome}
    config::reference_sources sources;  ///< for "envFile"
};

struct imported_server {
    std::string name;
    json entry;              ///< of mcpServers; references not resolved
    config::place at;
    std::vector<std::string> ignored;  ///< keys without a meaning here
};

struct import_result {
    std::string format;      ///< "Claude Desktop, Claude Code or Cursor", "VS Code" …
    std::vector<imported_server> servers;   ///< by name
    std::vector<config::problem> problems;  ///< a server with a problem is left out
    bool whole = true;                      ///< false: nothing of it could be read; what it describes is not known
    std::vector<std::string> left_out;      ///< names of servers with a problem
    json to_json() const;
};

/// Comments and trailing commas are allowed, as VS Code does. A file that holds one server alone ("command" or "url" at the top)
/// gives it the file's name.
import_result import_servers(std::string_view text, const import_place& place);

/// Resolves the references of the entries, and takes the servers out that have some that cannot be or that server_set::check
/// refuses: they become problems. `name` of a variable and what to do stand in them.
void resolve_imported(import_result& imported, const import_place& place);

}  // namespace holdfast::servers
