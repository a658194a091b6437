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

std::int64_t rfc3339_ms(std::string_view text) noexcept {
    // 2026-11-21T12:00:00.123Z
    constexpr std::string_view shape = "0000-00-00T00:00:00.000Z";
    if (text.size() != shape.size()) return 0;
    for (std::size_t i = 0; i < shape.size(); ++i)
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i]) return 0;
    const auto number = [&](std::size_t at, std::size_t digits) {
        int n = 0;
        for (std::size_t i = 0; i < digits; ++i) n = n * 10 + (text[at + i] - '0');
        return n;
    };
    const std::chrono::year_month_day day{std::chrono::year(number(0, 4)), std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                          std::chrono::day(static_cast<unsigned>(number(8, 2)))};
    if (!day.ok() || number(11, 2) > 23 || number(14, 2) > 59 || number(17, 2) > 59) return 0;
    const auto t = std::chrono::sys_days(day) + std::chrono::hours(number(11, 2)) + std::chrono::minutes(number(14, 2)) +
                   std::chrono::seconds(number(17, 2)) + milliseconds(number(20, 3));
    return std::chrono::duration_cast<milliseconds>(t.time_since_epoch()).count();
}

}  // namespace holdfast
