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
    json good = json::object();             ///< file → server → entry: what each file gave when it was last without a problem
};

/// Puts the servers of those files beside mcpServers of `doc.resolved`. A name that stands in the configuration itself, or in an
/// earlier file, wins. A problem in one of these files is none of the configuration: the host goes on without what it concerns, or with
/// what stood there `before`, if it was good: a slip of the pen stops no server that runs, a removal does.
server_files add_server_files(config::document& doc, const server_files& before = {});

/// Reads one file. Errors: io_error.
result<servers::import_result> read_server_file(const std::string& path, servers::import_place& place);

}  // namespace holdfast::app
