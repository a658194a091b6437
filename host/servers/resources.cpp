#include "servers/resources.hpp"

namespace holdfast::servers {

json resource_usage::to_json() const {
    if (at == steady_time{}) return nullptr;
    return {{"memory", memory_bytes}, {"cpu", cpu_percent}, {"processes", processes}, {"descriptors", descriptors}, {"sockets", sockets}};
}

std::map<std::int64_t, resource_usage> resource_watch::look(const std::vector<supervise::process_usage>& all, steady_time now) {
    std::map<std::int64_t, resource_usage> out;
    std::map<std::int64_t, past> fresh;
    for (const auto& u : all) {
        resource_usage& r = out[u.pid];
        r.pid = u.pid;
        r.memory_bytes = u.rss_bytes;
        r.processes = u.processes;
        r.descriptors = u.descriptors;
        r.sockets = u.sockets;
        r.at = now;
        // The sum falls when a process of the tree ends: that is no negative share.
        if (auto it = before_.find(u.pid); it != before_.end() && now > it->second.at && u.cpu_ms >= it->second.cpu_ms)
            r.cpu_percent = static_cast<double>(u.cpu_ms - it->second.cpu_ms) / 10 / std::chrono::duration<double>(now - it->second.at).count();
        fresh[u.pid] = {u.cpu_ms, now};
    }
    before_ = std::move(fresh);
    return out;
}

}  // namespace holdfast::servers
