#pragma once
// What a modern client carries from one round of a request to the next, sealed so that it can be neither changed nor used by
// somebody else, for another request, or later. It names a call that is kept here; it holds nothing of it.
// Spec: MCP 2026-07-28, basic/patterns/mrtr, server requirements 4 and 5.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::mcp::gateway {

struct carried {
    std::uint64_t call = 0;   ///< the shell's number of the call
    std::uint32_t round = 0;  ///< one state is good for one round
    std::int64_t expires_ms = 0;  ///< of the process' steady clock
};

/// [any thread] The key lives as long as the process: so does the call.
class state_seal {
  public:
    state_seal();  ///< a random key
    explicit state_seal(std::array<unsigned char, 32> key) : key_(key) {}
    /// `principal` and `request` are bound, not contained.
    std::string seal(const carried& c, std::string_view principal, std::string_view request) const;
    /// Errors: invalid_argument, saying only that it cannot be used.
    result<carried> open(std::string_view state, std::string_view principal, std::string_view request, steady_time now) const;

  private:
    std::string tag(std::string_view payload, std::string_view principal, std::string_view request) const;
    std::array<unsigned char, 32> key_{};
};

/// SHA-256 in hexadecimal.
std::string digest_of(std::string_view text);

}  // namespace holdfast::mcp::gateway
