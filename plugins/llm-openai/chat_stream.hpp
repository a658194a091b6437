#pragma once
// The chunks of one answer become an hf.llm/1 result. Pure: what it learns comes out as chunks, what it is told goes in.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/status.hpp"
#include "llm-openai/chat_request.hpp"
#include "llm-openai/settings.hpp"

namespace holdfast::llm_openai {

/// Owner: one attempt of one chat.
class chat_stream {
  public:
    chat_stream(const settings& s, const tool_names& names, std::string model) : settings_(s), names_(names), model_(std::move(model)) {}

    /// The data of one SSE event. Returns the chunks to pass on. After it, look at over() and failure().
    std::vector<std::string> event(std::string_view data);
    /// A whole answer that is not a stream.
    std::vector<std::string> whole(std::string_view body);

    bool done_seen() const { return done_; }                 ///< [DONE]: nothing more will come
    bool finished() const { return done_ || finish_seen_; }  ///< a terminal event came: the answer is complete
    bool any_content() const { return content_; }            ///< something was passed on
    const sdk::status& failure() const { return failure_; }  ///< not ok: the provider reported an error in the stream

    /// The result, or why there is none: no terminal event, or tool arguments that are not whole. Call it once, at the end.
    sdk::status result(std::string& out);

  private:
    struct tool_call {
        std::int64_t index = -1;
        std::string id, name, arguments;
        bool told = false;
    };
    void choice(const json& c, std::vector<std::string>& out);
    void delta(const json& d, std::vector<std::string>& out);
    void text(const std::string& t, std::vector<std::string>& out);
    void reasoning(const std::string& t, std::vector<std::string>& out);
    void call_delta(const json& c, std::size_t position, std::vector<std::string>& out);
    void tell(tool_call& c, std::vector<std::string>& out);
    void usage(const json& u);

    const settings& settings_;
    const tool_names& names_;
    std::string model_, text_, finish_;
    std::vector<tool_call> calls_;
    std::int64_t input_tokens_ = 0, output_tokens_ = 0, cached_tokens_ = 0;
    bool done_ = false, finish_seen_ = false, content_ = false, refused_ = false;
    sdk::status failure_;
};

}  // namespace holdfast::llm_openai
