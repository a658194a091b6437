#pragma once
// Mcp-Param-* headers: which parameters a server wants to see outside of the body is in its tools' schemas, which pass
// through the transport in the answers to tools/list. Pure. Whether a definition is valid at all is the host's to judge.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "net-client/http_client.hpp"

namespace holdfast::transport_http {

/// Owner: one link.
class param_headers {
  public:
    static constexpr std::size_t max_tools = 2'000, max_per_tool = 64;

    /// An answer to tools/list. What it says of a tool replaces what was known of it.
    void learn(std::string_view answer);
    bool knows(const std::string& tool) const { return tools_.count(tool) > 0; }
    /// For a whole tools/call message.
    net::headers of(const std::string& tool, std::string_view message) const;

  private:
    struct annotation {
        std::string header;             ///< Mcp-Param-…
        std::vector<std::string> path;  ///< in the arguments
    };
    std::map<std::string, std::vector<annotation>> tools_;  // tools with annotations only
};

}  // namespace holdfast::transport_http
