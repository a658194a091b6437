#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "call.hpp"
#include "file_root.hpp"
#include "protocol.hpp"

namespace holdfast::demo {

struct settings {
    std::string root = ".";   ///< what list_files and read_file can see
    std::string count_file;   ///< where `count` writes; empty = `count` answers with an error
    bool conformance = false; ///< also offers what only the conformance suite asks for
};

/// What a tool does to the server beside answering; carried out by the reader.
enum class effect { none, toggle_tool, toggle_prompt, touch_resource };

struct tool {
    json definition;        ///< as in tools/list
    bool blocking = false;  ///< waits, or touches the disk: runs on a worker thread
    std::function<outcome(call&)> run;
    effect then = effect::none;
};

struct prompt {
    json definition;  ///< as in prompts/list
    bool blocking = false;
    std::function<outcome(call&)> get;
};

/// Everything the server offers. Owner: reader. Workers only run tools they were handed; entries never move or die.
class catalogue {
  public:
    /// Errors: io_error when the root cannot be opened.
    static result<catalogue> create(const settings& with);

    json list_tools() const;
    const tool* find_tool(std::string_view name) const;
    json list_prompts() const;
    const prompt* find_prompt(std::string_view name) const;
    static json list_resources();
    static json list_templates();
    static bool has_resource(std::string_view uri);
    /// The contents of a resource, or null when there is none.
    json read_resource(std::string_view uri) const;
    /// Values for an argument that start with `typed`; nothing = the reference is unknown.
    std::optional<json> complete(const json& ref, std::string_view argument, std::string_view typed) const;

    void toggle_tool() { extra_tool_ = !extra_tool_; }
    void toggle_prompt() { extra_prompt_ = !extra_prompt_; }
    void touch_resource() { ++revision_; }

  private:
    std::vector<tool> tools_;
    std::vector<prompt> prompts_;
    tool dynamic_tool_;
    prompt dynamic_prompt_;
    bool extra_tool_ = false, extra_prompt_ = false;
    std::uint64_t revision_ = 1;
};

std::vector<tool> own_tools(std::shared_ptr<file_root> root, std::string count_file);
std::vector<tool> content_tools();
std::vector<tool> interactive_tools();
tool dynamic_tool();
std::vector<prompt> all_prompts();
prompt dynamic_prompt();

inline constexpr const char* watched_resource = "test://watched-resource";
extern const char* const sample_png_base64;  ///< one red pixel
extern const char* const sample_wav_base64;  ///< a header and no samples

/// {key: elicitation/create} with an object schema of `properties`; all of them required when `required` is empty.
json elicit(const std::string& key, const std::string& message, json properties, json required);

}  // namespace holdfast::demo
