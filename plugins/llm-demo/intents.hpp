#pragma once
// What a clause asks for, and which of the offered tools can do it.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "llm-demo/arguments.hpp"

namespace llm_demo {

enum class wish { none, named_tool, echo, list_files, read_file, time, add, count, slow, ask_name, story };

struct intent {
    wish what = wish::none;
    material with;
    std::string tool;       ///< named_tool: what the user called it
    std::string arguments;  ///< named_tool: as typed
    std::int64_t words = 0; ///< story
};

intent intent_of(std::string_view clause);
bool is_request(std::string_view clause);

/// "demo__get_time" → "get_time"
std::string base_name(std::string_view offered);
/// The offered tool for a wish, or null. `tools`: the request's list.
const nlohmann::json* choose_tool(const nlohmann::json& tools, const intent& i);
/// For people: "tell the time"
std::string_view describe(wish w);

}  // namespace llm_demo
