#include "net-client/http_text.hpp"

#include <charconv>
#include <cstdint>
#include <ctime>

namespace holdfast::net {
namespace {
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string_view trimmed(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r' || s.back() == '\n')) s.remove_suffix(1);
    return s;
}
}  // namespace

bool valid_header_name(std::string_view name) {
    for (const char c : name) {
        const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) return false;
    }
    return !name.empty();
}

bool valid_header_value(std::string_view value) {
    for (const char c : value) {
        const auto u = static_cast<unsigned char>(c);
        if ((u < 0x20 && c != '\t') || u == 0x7F) return false;
    }
    return true;
}

bool same_name(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (lower(a[i]) != lower(b[i])) return false;
    return true;
}

std::string media_type(std::string_view content_type) {
    std::string out(trimmed(content_type.substr(0, content_type.find(';'))));
    for (char& c : out) c = lower(c);
    return out;
}

std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, std::chrono::system_clock::time_point now) {
    using namespace std::chrono;
    value = trimmed(value);
    double seconds = 0;
    const auto r = std::from_chars(value.data(), value.data() + value.size(), seconds);
    if (!value.empty() && r.ec == std::errc() && r.ptr == value.data() + value.size()) {
        if (!(seconds >= 0) || seconds > 1e9) return std::nullopt;
        return milliseconds(static_cast<std::int64_t>(seconds * 1000));
    }
    std::tm tm{};
    const std::string text(value);
    const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end) return std::nullopt;
    const auto at = system_clock::from_time_t(::timegm(&tm));
    return std::max(milliseconds(0), duration_cast<milliseconds>(at - now));
}

std::string base64(std::string_view bytes) {
    static constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const auto at = [&](std::size_t k) { return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u; };
        const std::uint32_t v = at(0) << 16 | at(1) << 8 | at(2);
        out += letters[v >> 18];
        out += letters[v >> 12 & 63];
        out += i + 1 < bytes.size() ? letters[v >> 6 & 63] : '=';
        out += i + 2 < bytes.size() ? letters[v & 63] : '=';
    }
    return out;
}

bool json_depth_within(std::string_view json, std::size_t limit) {
    std::size_t depth = 0;
    for (std::size_t i = 0; i < json.size(); ++i) {
        const char c = json[i];
        if (c == '"') {
            for (++i; i < json.size() && json[i] != '"'; ++i)
                if (json[i] == '\\') ++i;
        } else if (c == '{' || c == '[') {
            if (++depth > limit) return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    return true;
}

std::string excerpt(std::string_view text, std::size_t bytes) {
    text = trimmed(text);
    bool cut = false;
    if (text.size() > bytes) {
        std::size_t n = bytes;
        while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
        text = text.substr(0, n);
        cut = true;
    }
    std::string out(text);
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return cut ? out + "…" : out;
}

}  // namespace holdfast::net
