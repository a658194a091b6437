#pragma once
// What the demonstration model says: a pure function of the chat request (holdfast/ext/llm.h).
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace llm_demo {

using json = nlohmann::json;

inline constexpr const char* model_name = "demonstration";
inline constexpr std::int64_t max_story_words = 20'000;
inline constexpr std::size_t max_calls = 8;

struct tool_call {
    std::string id, name;
    json input = json::object();
};

struct answer {
    std::string text;              ///< streamed word by word
    std::vector<tool_call> calls;  ///< then these
};

/// Deterministic: the same request gives the same answer, the ids of calls included.
answer answer_to(const json& request);

/// The result object of a chat.
json chat_result(const answer& a, const json& request);

/// Pieces of one word each with the space after it; joined they are the text.
std::vector<std::string> words_of(std::string_view text);

}  // namespace llm_demo
