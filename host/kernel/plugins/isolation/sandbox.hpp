#pragma once
// What a runner may still do once the plugin's code runs (SEC-4). Entered by the runner itself, before it loads the plugin and before
// it has a second thread; never left again.
#include <string>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::plugins::isolation {

/// The wish, from the configuration and the host.
struct sandbox_wish {
    bool on = true;
    bool network = true;              ///< internet sockets
    std::vector<std::string> read;    ///< below these; empty: everywhere
    std::vector<std::string> write;   ///< below these only
    json to_json() const;
    static sandbox_wish from_json(const json& j);
};

/// Three layers, each as far as this kernel offers it: capabilities are given up; a system call filter denies programs and processes of
/// its own, signals to others, tracing, mounts, kernel interfaces and, if so wished, the network; Landlock restricts files.
/// Returns what took effect: {"level": "full"|"partial"|"none"|"off", "calls": bool, "files": bool, "network": bool, "missing": [why…]}.
json enter_sandbox(const sandbox_wish& wish);

}  // namespace holdfast::plugins::isolation
