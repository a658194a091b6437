#include "kernel/core/ids.hpp"

#include <sys/random.h>

#include <cstdlib>
#include <ctime>

#include "kernel/core/clock.hpp"

namespace holdfast {
namespace {

void fill_random(unsigned char* out, std::size_t n) {
    while (n > 0) {
        const auto got = getrandom(out, n, 0);
        if (got <= 0) continue;  // only EINTR is possible without flags
        out += got;
        n -= static_cast<std::size_t>(got);
    }
}

}  // namespace

std::string random_id(std::string_view prefix) {
    static constexpr char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";  // 32 letters, none confusable
    unsigned char raw[20];
    fill_random(raw, sizeof raw);
    std::string out(prefix);
    for (unsigned char b : raw) out += alphabet[b & 31];
    return out;
}

std::string random_hex(std::size_t bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string raw(bytes, '\0');
    fill_random(reinterpret_cast<unsigned char*>(raw.data()), bytes);
    std::string out;
    for (unsigned char b : raw) {
        out += digits[b >> 4];
        out += digits[b & 15];
    }
    return out;
}

std::string rfc3339(wall_time t) {
    const auto ms = std::chrono::duration_cast<milliseconds>(t.time_since_epoch()).count();
    const std::time_t s = ms / 1000;
    std::tm tm{};
    gmtime_r(&s, &tm);
    char buf[48];
    std::snprintf(buf, sizeof buf, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                  tm.tm_hour, tm.tm_min, tm.tm_sec, static_cast<int>(ms % 1000));
    return buf;
}

}  // namespace holdfast
