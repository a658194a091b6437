#pragma once
// What was granted, on disk: one file of the plugin's data directory, readable by its owner alone, replaced as a whole.
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "oauth/client_identity.hpp"
#include "oauth/token.hpp"

namespace holdfast::oauth {

inline constexpr std::size_t max_credential_bytes = 16u << 20;

struct credentials {
    std::map<std::string, grant> grants;  ///< by the server's name in the configuration
    registrations clients;                ///< by issuer
};
/// Throws sdk::plugin_error (HF_E_CORRUPT).
credentials read_credentials(std::string_view text);
std::string write_credentials(const credentials& c);

/// Two generations of the plugin may use one file for a while: every change is made to what is there, under a lock.
/// [one thread at a time]
class credential_file {
  public:
    explicit credential_file(std::string directory) : directory_(std::move(directory)) {}

    /// Nothing when there is no file. Throws sdk::plugin_error (HF_E_IO, HF_E_CORRUPT).
    credentials load() const;
    /// Throws sdk::plugin_error (HF_E_IO, HF_E_CORRUPT); the old file is then still there.
    void change(const std::function<void(credentials&)>& f) const;

    std::string path() const { return directory_ + "/credentials.json"; }

  private:
    void save(const std::string& text) const;
    const std::string directory_;
};

}  // namespace holdfast::oauth
