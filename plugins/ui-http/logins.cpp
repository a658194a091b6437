#include "ui-http/logins.hpp"

#include <sys/random.h>

#include <stdexcept>

#include "net-server/http_text.hpp"

namespace holdfast::ui_http {
namespace {
std::string random_value() {
    unsigned char bytes[32];
    if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) throw std::runtime_error("no random numbers from the kernel");
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (const unsigned char b : bytes) {
        out += digits[b >> 4];
        out += digits[b & 15];
    }
    return out;
}
}  // namespace

std::string person::identity_json() const {
    return R"({"user":)" + web::json_quote(user) + R"(,"role":)" + web::json_quote(role) + R"(,"ui":"web"})";
}

std::string logins::open(person who, clock::time_point now) {
    std::string value = random_value();
    const std::lock_guard lock(mutex_);
    make_room();
    entries_[value] = {std::move(who), now};
    return value;
}

void logins::make_room() {
    if (entries_.size() < max_logins) return;
    auto oldest = entries_.begin();
    for (auto it = entries_.begin(); it != entries_.end(); ++it)
        if (it->second.used < oldest->second.used) oldest = it;
    entries_.erase(oldest);
}

std::optional<person> logins::use(std::string_view value, clock::time_point now) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(std::string(value));
    if (found == entries_.end()) return std::nullopt;
    if (now - found->second.used > idle_limit) {
        entries_.erase(found);
        return std::nullopt;
    }
    found->second.used = std::max(found->second.used, now);
    return found->second.who;
}

bool logins::valid(std::string_view value, clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(std::string(value));
    return found != entries_.end() && now - found->second.used <= idle_limit;
}

void logins::close(std::string_view value) {
    const std::lock_guard lock(mutex_);
    entries_.erase(std::string(value));
}

void logins::drop_expired(clock::time_point now) {
    const std::lock_guard lock(mutex_);
    std::erase_if(entries_, [&](const auto& e) { return now - e.second.used > idle_limit; });
}

std::size_t logins::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

json logins::export_state(clock::time_point now) const {
    json out = json::array();
    const std::lock_guard lock(mutex_);
    for (const auto& [value, e] : entries_)
        out.push_back({{"value", value},
                       {"user", e.who.user},
                       {"role", e.who.role},
                       {"unused_ms", std::chrono::duration_cast<std::chrono::milliseconds>(now - e.used).count()}});
    return out;
}

void logins::import_state(const json& state, clock::time_point now) {
    if (!state.is_array()) return;
    const std::lock_guard lock(mutex_);
    for (const json& e : state) {
        const std::string value = string_or(e, "value");
        const json& unused = member(e, "unused_ms");
        if (value.size() != 64 || !unused.is_number_integer()) continue;
        make_room();
        entries_[value] = {{string_or(e, "user", "local"), string_or(e, "role", "viewer")}, now - std::chrono::milliseconds(unused.get<std::int64_t>())};
    }
}

}  // namespace holdfast::ui_http
