#pragma once
// Arguments made to fit a tool's input schema.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llm_demo {

/// What a request offers to fill a schema with.
struct material {
    std::string text, path, timezone;
    std::vector<double> numbers;
    std::optional<std::int64_t> duration_ms;
};

/// By the names and types of the properties; required ones that nothing fits get their default or a plain value.
nlohmann::json fill(const nlohmann::json& schema, const material& m);

/// "{…}", or "k=v other=\"two words\"": values are converted to the schema's types.
nlohmann::json explicit_arguments(std::string_view text, const nlohmann::json& schema);

std::vector<double> numbers_in(std::string_view text);

}  // namespace llm_demo
