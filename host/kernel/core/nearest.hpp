#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace holdfast {

/// The candidate a person most likely meant (edit distance at most a third of the length, at least 1), or "".
std::string nearest(std::string_view given, const std::vector<std::string>& candidates);

}  // namespace holdfast
