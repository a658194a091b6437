#pragma once
// An hf.llm/1 chat request becomes the body of POST /chat/completions. Pure.
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace holdfast::llm_openai {

using json = nlohmann::json;

/// Tool names as the provider accepts them (letters, digits, _ and -, at most 64), and the way back. Owner: one chat.
class tool_names {
  public:
    std::string to_wire(const std::string& name);
    /// Unknown names (a model may invent one) are returned as they are.
    std::string from_wire(const std::string& name) const;

  private:
    std::map<std::string, std::string> wire_, back_;
};

/// Throws sdk::plugin_error (HF_E_INVALID).
json parse_chat_request(std::string_view text);

/// `official`: api.openai.com itself, whose models refuse max_tokens. Throws sdk::plugin_error (HF_E_INVALID).
json chat_body(const json& request, const std::string& model, bool official, tool_names& names);

}  // namespace holdfast::llm_openai
