#pragma once
// Servers that other files describe: those named by "import" and those in "servers_dir" (formats: servers/import.hpp).
#include <string>
#include <vector>

#include "kernel/config/document.hpp"
#include "servers/import.hpp"

namespace holdfast::app {

struct server_files {
    std::vector<config::problem> problems;  ///< a server with a problem is left out; the rest of the file counts
    std::vector<std::string> watched;       ///< files; a folder ends in '/'
    json origins = json::object();          ///< server → file
};

/// Puts the servers of those files beside mcpServers of `doc.resolved`. A name that stands in the configuration itself, or in an
/// earlier file, wins. A problem in one of these files is none of the configuration: the host goes on without what it concerns.
server_files add_server_files(config::document& doc);

/// Reads one file. Errors: io_error.
result<servers::import_result> read_server_file(const std::string& path, servers::import_place& place);

}  // namespace holdfast::app
