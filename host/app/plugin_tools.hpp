#pragma once
// `holdfast plugin inspect|new|check`: the tools of plugin authors. None of them talks to a host.
#include <string>
#include <vector>

#include "app/commands.hpp"

namespace holdfast::app {

struct plugin_check_options {
    std::string file, only, isolation, settings, config, unreachable;
    bool persistent = false, no_answers = false, no_start = false;
    int timeout_s = 30;
};

struct plugin_new_options {
    std::string kind, name, language = "c++", directory;
};

int new_plugin_command(const common_options& o, const plugin_new_options& n);
int inspect_command(const common_options& o, const std::string& use);
int check_plugin_command(const common_options& o, const plugin_check_options& c);

}  // namespace holdfast::app
