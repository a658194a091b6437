#pragma once
// Errors across the plugin boundary, both ways.
#include "holdfast/abi/base.h"
#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::plugins {

/// HF_E_… (and hf_error's fields where filled) → error. `code` wins over err->code when they differ.
error from_abi(std::int32_t code, const hf_error* err);
std::int32_t to_abi(errc code) noexcept;
/// Fills *out if it is there. Returns the HF_E_ code, for `return`.
std::int32_t fill(hf_error* out, const error& e) noexcept;
hf_error make_hf_error(const error& e) noexcept;
/// An hf_error ready to be passed to a callee.
inline hf_error empty_hf_error() noexcept { hf_error e{}; e.size = sizeof e; return e; }

inline hf_str as_str(std::string_view s) noexcept { return {s.data(), s.size()}; }
inline hf_bytes as_bytes(std::string_view s) noexcept { return {s.data(), s.size()}; }
inline std::string_view view(hf_str s) noexcept { return s.data ? std::string_view{s.data, s.length} : std::string_view{}; }
inline std::string_view view(hf_bytes b) noexcept { return b.data ? std::string_view{static_cast<const char*>(b.data), b.length} : std::string_view{}; }
/// Puts an owned text into a buffer that the receiver releases.
void give(hf_buf* out, std::string text);
/// Takes the text out of a buffer that a callee filled, and releases it.
std::string take(hf_buf& buf);

}  // namespace holdfast::plugins
