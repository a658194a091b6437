#pragma once
// `holdfast plugin inspect|new|check`: the tools of plugin authors. None of them talks to a host.
#include <string>
#include <vector>

#include "app/commands.hpp"

namespace holdfast::app {

int inspect_command(const common_options& o, const std::string& use);

}  // namespace holdfast::app
