#include "net-server/token_bucket.hpp"

#include <algorithm>
#include <cmath>

namespace holdfast::web {

void token_bucket::forget_full(clock::time_point now) {
    std::erase_if(keys_, [&](const auto& entry) {
        return entry.second.left + std::chrono::duration<double>(now - entry.second.at).count() * rate_ >= burst_;
    });
}

std::chrono::milliseconds token_bucket::take(const std::string& key, clock::time_point now) {
    auto found = keys_.find(key);
    if (found == keys_.end()) {
        if (keys_.size() >= max_keys_) forget_full(now);
        if (keys_.size() >= max_keys_) return std::chrono::milliseconds(1000);  // refuse the newcomer rather than grow
        found = keys_.emplace(key, level{burst_, now}).first;
    }
    auto& l = found->second;
    l.left = std::min(burst_, l.left + std::chrono::duration<double>(now - l.at).count() * rate_);
    l.at = now;
    if (l.left >= 1) {
        l.left -= 1;
        return std::chrono::milliseconds(0);
    }
    return std::chrono::milliseconds(std::max<long>(1, std::lround(std::ceil((1 - l.left) / rate_ * 1000))));
}

}  // namespace holdfast::web
