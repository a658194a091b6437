#pragma once
// Names of tools as models accept them: [a-zA-Z0-9_-]{1,64}, one name per (server, tool), the same in every request.
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "servers/tool_port.hpp"

namespace holdfast::sessions {

inline constexpr std::size_t max_tool_name = 64;

/// "files__read_file". A pair whose plain name is too long, has other characters, or could be read as another pair gets a
/// hash of the pair at its end. Pure: a history written earlier still names the same tool.
std::string encode_tool_name(std::string_view server, std::string_view tool);

/// The names offered in one request, to decode what the model says. A pair whose name is taken is not offered.
class tool_names {
  public:
    /// False if the name is taken by another pair.
    bool add(const std::string& server, const std::string& tool);
    std::optional<std::pair<std::string, std::string>> decode(const std::string& name) const;
    std::size_t size() const noexcept { return names_.size(); }

  private:
    std::map<std::string, std::pair<std::string, std::string>> names_;
};

}  // namespace holdfast::sessions
