#include "local_time.hpp"

#include <sys/stat.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <mutex>

namespace holdfast::demo {
namespace {

constexpr const char* zone_directory = "/usr/share/zoneinfo/";

bool known_zone(const std::string& zone) {
    const bool plain = zone.size() <= 64 && zone.find("..") == std::string::npos && zone.front() != '/' &&
                       zone.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") ==
                           std::string::npos;
    struct stat s {};
    return plain && ::stat((zone_directory + zone).c_str(), &s) == 0 && S_ISREG(s.st_mode);
}

/// The C library has one zone per process, so reading another one is a critical section.
std::tm in_zone(std::time_t at, const std::string& zone) {
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    ::setenv("TZ", (":" + zone).c_str(), 1);
    ::tzset();
    std::tm out{};
    ::localtime_r(&at, &out);
    return out;
}

std::string format(const char* pattern, const std::tm& t) {
    char text[96];
    return std::string(text, std::strftime(text, sizeof text, pattern, &t));
}

}  // namespace

result<clock_reading> read_clock(const std::string& zone) {
    using namespace std::chrono;
    const bool utc = zone.empty() || zone == "UTC" || zone == "Etc/UTC" || zone == "Z";
    if (!utc && !known_zone(zone))
        return fail(errc::invalid_argument,
                    "'" + zone + "' is not a time zone this machine knows; use an IANA name such as Europe/Berlin");
    const auto now = system_clock::now();
    const std::time_t seconds = system_clock::to_time_t(now);
    std::tm universal{};
    ::gmtime_r(&seconds, &universal);
    const std::tm local = utc ? universal : in_zone(seconds, zone);

    clock_reading out;
    out.unix_ms = duration_cast<milliseconds>(now.time_since_epoch()).count();
    out.utc = format("%Y-%m-%dT%H:%M:%SZ", universal);
    std::string offset = format("%z", local);  // +hhmm
    if (offset.size() == 5) offset.insert(3, ":");
    out.local = utc ? out.utc : format("%Y-%m-%dT%H:%M:%S", local) + offset;
    out.sentence = "It is " + format("%H:%M:%S on %A, ", local) + std::to_string(local.tm_mday) + format(" %B %Y", local) +
                   (utc ? " UTC." : " in " + zone + " (UTC" + offset + ").");
    return out;
}

}  // namespace holdfast::demo
