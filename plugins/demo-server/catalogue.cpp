#include "catalogue.hpp"

namespace holdfast::demo {

json text_block(std::string text) { return {{"type", "text"}, {"text", std::move(text)}}; }

json text_result(std::string text, bool is_error) {
    json result = {{"content", json::array({text_block(std::move(text))})}};
    if (is_error) result["isError"] = true;
    return result;
}

int log_severity(std::string_view level) {
    static constexpr std::string_view levels[] = {"debug", "info",     "notice", "warning",
                                                  "error", "critical", "alert",  "emergency"};
    for (int i = 0; i < 8; ++i)
        if (levels[i] == level) return i;
    return -1;
}

const json& server_info() {
    static const json info = {
        {"name", "holdfast-demo-server"}, {"title", "Holdfast demo server"}, {"version", HOLDFAST_VERSION}};
    return info;
}

namespace {
/// The names the conformance suite wants. A model would only be tempted by them.
bool for_conformance(const tool& t) {
    const std::string name = string_or(t.definition, "name");
    return name.rfind("test_", 0) == 0 || name == "json_schema_2020_12_tool";
}
}  // namespace

result<catalogue> catalogue::create(const settings& with) {
    auto root = file_root::open(with.root);
    if (!root) return unexpected(root.error());
    catalogue all;
    // Shared by the two file tools.
    const auto files = std::make_shared<file_root>(std::move(*root));
    for (auto&& part : {own_tools(files, with.count_file), content_tools(), interactive_tools()})
        for (const auto& entry : part)
            if (with.conformance || !for_conformance(entry)) all.tools_.push_back(entry);
    if (with.conformance) all.prompts_ = all_prompts();
    all.dynamic_tool_ = dynamic_tool();
    all.dynamic_prompt_ = dynamic_prompt();
    return all;
}

json catalogue::list_tools() const {
    json list = json::array();
    for (const auto& entry : tools_) list.push_back(entry.definition);
    if (extra_tool_) list.push_back(dynamic_tool_.definition);
    return list;
}

const tool* catalogue::find_tool(std::string_view name) const {
    for (const auto& entry : tools_)
        if (string_or(entry.definition, "name") == name) return &entry;
    return extra_tool_ && string_or(dynamic_tool_.definition, "name") == name ? &dynamic_tool_ : nullptr;
}

json catalogue::list_prompts() const {
    json list = json::array();
    for (const auto& entry : prompts_) list.push_back(entry.definition);
    if (extra_prompt_) list.push_back(dynamic_prompt_.definition);
    return list;
}

const prompt* catalogue::find_prompt(std::string_view name) const {
    for (const auto& entry : prompts_)
        if (string_or(entry.definition, "name") == name) return &entry;
    return extra_prompt_ && string_or(dynamic_prompt_.definition, "name") == name ? &dynamic_prompt_ : nullptr;
}

}  // namespace holdfast::demo
