#include "servers/failure_burst.hpp"

#include <algorithm>

namespace holdfast::servers {

std::vector<std::string> failure_burst::failed(const std::string& server, steady_time now) {
    while (!recent_.empty() && recent_.front().first + burst_window < now) recent_.pop_front();
    if (recent_.empty()) next_alert_ = burst_size;
    const auto same = std::find_if(recent_.begin(), recent_.end(), [&](const auto& r) { return r.second == server; });
    if (same != recent_.end()) recent_.erase(same);
    recent_.emplace_back(now, server);
    if (recent_.size() > burst_remembered) recent_.pop_front();
    if (recent_.size() < next_alert_) return {};
    next_alert_ = recent_.size() * 2;
    std::vector<std::string> names;
    for (const auto& [at, name] : recent_) names.push_back(name);
    return names;
}

}  // namespace holdfast::servers
