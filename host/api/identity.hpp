#pragma once
// Who may do what: the host's token and the identities derived from it.
#include <string>

#include "api/method_table.hpp"

namespace holdfast::api {

/// The host's own token: 32 random bytes in <data_dir>/token (mode 0600), created on first use. [any thread]
class token_authority {
  public:
    enum class mode { token, none };
    /// Errors: io_error (the file cannot be read or made), config_invalid (it is readable by others).
    static result<token_authority> open(const std::string& data_dir, mode m);
    const std::string& token() const noexcept { return token_; }
    mode how() const noexcept { return mode_; }
    /// Constant-time comparison. Errors: unauthorized. In mode none everybody is the local admin.
    result<identity> authenticate(std::string_view presented) const;

  private:
    std::string token_;
    mode mode_ = mode::token;
};

/// The identity a UI plugin states for a call, limited by what the plugin itself may do.
result<identity> identity_from(const json& stated, const identity& limit);

}  // namespace holdfast::api
