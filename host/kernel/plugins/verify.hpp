#pragma once
// The checks between "a file with that name exists" and "its code may run". Each refusal names the check that failed.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/plugins/manifest.hpp"

namespace holdfast::plugins {

/// Checks `settings` against a JSON Schema; the error message lists each violation with its JSON pointer. Provided by kernel/config.
using settings_validator = std::function<result<void>(const json& schema, const json& settings)>;

struct verify_request {
    std::string name;                   ///< for messages: the instance's id, or the plugin's when only looking
    std::string path;
    std::optional<std::string> sha256;  ///< pinned hash, hexadecimal
    std::string expected_id;            ///< the manifest's id must be this; empty = any
    const json* settings = nullptr;     ///< null: do not check settings
    settings_validator validate;        ///< null: settings must be an object, nothing more
};

struct verified_plugin {
    std::string path;      ///< canonical
    manifest about;
    std::string sha256;    ///< of exactly the bytes that were checked and that the loader copies
    /// The checked file, held open: the loader copies from here, so that a file exchanged after the check changes nothing.
    std::shared_ptr<const int> file;  ///< second owner: the loader while it copies. Closed with the last copy.
    std::uint64_t size = 0;
};

/// In this order: file, architecture, manifest, abi, entry, ownership, permissions, sha256, settings.
/// Errors: plugin_refused, "plugin 'x' (/path): check 'permissions' failed: what is wrong; what to do".
///
/// ownership: the file and every directory above it belong to root or to the user the host runs as.
/// permissions: none of them is writable by group or others, except a directory with the sticky bit (like /tmp): there, others
/// can add names but can neither replace nor rename what root or we own, and what is below is checked to be ours.
result<verified_plugin> verify(const verify_request& request);

/// SHA-256 of everything behind a descriptor, in hexadecimal. Errors: io_error.
result<std::string> file_sha256(int fd);

/// The checks by name, in order: for documentation and the command line.
const std::vector<std::string>& verification_checks();

}  // namespace holdfast::plugins
