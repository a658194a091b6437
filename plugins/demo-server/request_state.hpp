#pragma once
#include <array>
#include <string>
#include <string_view>

#include "protocol.hpp"

namespace holdfast::demo {

/// Seals what a multi round-trip request must remember, so that the client can carry it but not change it.
/// The key lives as long as the process: a restart refuses older states, and the client starts the request again.
/// Spec: MCP 2026-07-28, basic/patterns/mrtr, server requirements 4 and 5. [any thread, const]
class request_state {
  public:
    request_state();

    /// `request` names what the state belongs to (method, name and arguments); it must match when opened.
    std::string seal(const json& payload, std::string_view request) const;
    /// Errors: invalid_params when the state was altered, belongs to another request, or is older than ten minutes.
    outcome open(std::string_view state, std::string_view request) const;

  private:
    std::string tag(std::string_view text, std::string_view request) const;

    std::array<unsigned char, 32> key_{};
};

}  // namespace holdfast::demo
