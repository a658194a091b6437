#pragma once
// result<T>: how expected failures travel. An error has a stable code for programs and a sentence for people.
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "kernel/core/error.hpp"

namespace holdfast {

template <class T>
using result = tl::expected<T, error>;

using tl::unexpected;

inline tl::unexpected<error> fail(errc code, std::string message) {
    return tl::unexpected<error>(error{code, std::move(message)});
}

}  // namespace holdfast
