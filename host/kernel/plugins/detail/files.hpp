#pragma once
#include <memory>
#include <string>

#include "kernel/core/result.hpp"

namespace holdfast::plugins::detail {

/// SHA-256 of everything behind descriptor `from`, in hexadecimal; the bytes also go to `to` unless it is negative.
/// Errors: io_error.
result<std::string> hash_and_copy(int from, int to);

/// Closed with its last owner.
std::shared_ptr<const int> shared_descriptor(int fd);

/// Creates the directory (and those above it) with mode 0700 and checks that it is ours alone. Errors: io_error.
result<void> private_directory(const std::string& path);

/// The file this process runs.
std::string own_program();

}  // namespace holdfast::plugins::detail
