// holdfast-demo-server: an MCP server on stdin and stdout.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "server.hpp"

namespace {

constexpr const char* usage =
    "Usage: holdfast-demo-server [--root DIR] [--count-file FILE] [--conformance]\n"
    "An MCP server on stdin and stdout, one JSON-RPC message per line. Speaks MCP 2026-07-28 (no handshake) and\n"
    "2025-11-25, 2025-06-18, 2025-03-26 and 2024-11-05 (initialize). Ends when stdin ends.\n"
    "\n"
    "  --root DIR          what list_files and read_file can see (default: the current directory)\n"
    "  --count-file FILE   where the tool count appends its lines (default: $HOLDFAST_COUNT_FILE)\n"
    "  --conformance       also offer the tools and prompts that the MCP conformance suite asks for\n"
    "  --help              this text\n"
    "  --version           the version\n"
    "\n"
    "Exit status: 0 stdin ended, 1 the root cannot be opened or work was left unfinished, 2 wrong usage.\n";

}  // namespace

int main(int argc, char** argv) {
    holdfast::demo::settings with;
    if (const char* file = std::getenv("HOLDFAST_COUNT_FILE")) with.count_file = file;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        std::string* value = name == "--root" ? &with.root : name == "--count-file" ? &with.count_file : nullptr;
        if (name == "--help" || name == "-h") {
            std::fputs(usage, stdout);
            return 0;
        }
        if (name == "--version") {
            std::puts("holdfast-demo-server " HOLDFAST_VERSION);
            return 0;
        }
        if (name == "--conformance") {
            with.conformance = true;
            continue;
        }
        if (!value || i + 1 == argc) {
            std::fprintf(stderr, "holdfast-demo-server: %s '%s'\n%s", value ? "a value is missing after" : "unknown argument",
                         argv[i], usage);
            return 2;
        }
        *value = argv[++i];
    }
    // A client that stops reading is noticed by the failing write, not by dying of it.
    std::signal(SIGPIPE, SIG_IGN);
    auto offered = holdfast::demo::catalogue::create(with);
    if (!offered) {
        std::fprintf(stderr, "holdfast-demo-server: %s\n", offered.error().message.c_str());
        return 1;
    }
    return holdfast::demo::server(std::move(*offered), STDIN_FILENO, STDOUT_FILENO).run();
}
