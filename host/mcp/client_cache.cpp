// Results of resources/read that the server calls fresh for a while. Spec: server/utilities/caching.
#include <algorithm>

#include "mcp/client_impl.hpp"
#include "mcp/sub_resource.hpp"

namespace holdfast::mcp {
namespace {

constexpr std::int64_t max_ttl_ms = 24 * 3'600'000;

}  // namespace

std::int64_t ttl_ms(const json& result) {
    const json& ttl = member(result, "ttlMs");
    return ttl.is_number_integer() ? std::clamp<std::int64_t>(ttl.get<std::int64_t>(), 0, max_ttl_ms) : -1;
}

/// What makes two reads the same. `owner` is empty for what everybody may see.
std::string client_machine::impl::read_key(const json& params, std::string_view owner) {
    json plain = params;
    plain.erase("_meta");
    return dump(plain) + '\n' + std::string(owner);
}

const client_machine::impl::cached_read* client_machine::impl::fresh_read(const in::call& c, steady_time now) {
    if (reads.empty() || c.method != "resources/read") return nullptr;
    for (std::string_view owner : {std::string_view(), std::string_view(c.owner)}) {
        const auto it = reads.find(read_key(c.params, owner));
        if (it != reads.end() && now < it->second.until) return &it->second;
        if (c.owner.empty()) break;
    }
    return nullptr;
}

void client_machine::impl::drop_read(std::map<std::string, cached_read>::iterator it) {
    read_bytes -= it->second.bytes;
    reads.erase(it);
}

void client_machine::impl::keep_read(const call_state& c, const json& result, steady_time now) {
    if (c.request.method != "resources/read" || identity.detected != era::modern || c.rounds > 0) return;
    if (c.forgotten_before != reads_forgotten) return;  // a change was told while it was under way: perhaps it is from before
    const std::int64_t ttl = ttl_ms(result);
    if (ttl <= 0) return;
    const bool shared = string_or(result, "cacheScope") == "public";
    if (!shared && c.request.owner.empty()) return;
    cached_read kept{result, string_or(c.request.params, "uri"), dump(result).size(), now + milliseconds(ttl), next_read++};
    if (kept.bytes > options.limits.max_cached_bytes / 4) return;  // one must not push out all others
    const std::string key = read_key(c.request.params, shared ? std::string_view() : std::string_view(c.request.owner));
    if (auto old = reads.find(key); old != reads.end()) drop_read(old);
    read_bytes += kept.bytes;
    reads.emplace(key, std::move(kept));
    while (reads.size() > options.limits.max_cached_reads || read_bytes > options.limits.max_cached_bytes)
        drop_read(std::min_element(reads.begin(), reads.end(), [](const auto& a, const auto& b) { return a.second.order < b.second.order; }));
}

void client_machine::impl::forget_reads(std::string_view uri) {
    ++reads_forgotten;
    for (auto it = reads.begin(); it != reads.end();) {
        const auto next = std::next(it);
        if (uri.empty() || is_at_or_below(uri, it->second.uri)) drop_read(it);
        it = next;
    }
}

}  // namespace holdfast::mcp
