#include "net-server/http_text.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace holdfast::web {
namespace {
std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : char(c); });
    return out;
}
int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}
bool all_digits(std::string_view s) { return !s.empty() && s.find_first_not_of("0123456789") == s.npos; }

/// Length of the valid UTF-8 sequence at the front, 0 when invalid.
std::size_t utf8_sequence(std::string_view s) {
    const auto b = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    const auto cont = [&](std::size_t i) { return i < s.size() && (b(i) & 0xC0) == 0x80; };
    const unsigned c = b(0);
    if (c < 0x80) return 1;
    if (c >= 0xC2 && c <= 0xDF) return cont(1) ? 2 : 0;
    if (c >= 0xE0 && c <= 0xEF) {
        if (!cont(1) || !cont(2)) return 0;
        if ((c == 0xE0 && b(1) < 0xA0) || (c == 0xED && b(1) > 0x9F)) return 0;
        return 3;
    }
    if (c >= 0xF0 && c <= 0xF4) {
        if (!cont(1) || !cont(2) || !cont(3)) return 0;
        if ((c == 0xF0 && b(1) < 0x90) || (c == 0xF4 && b(1) > 0x8F)) return 0;
        return 4;
    }
    return 0;
}
}  // namespace

std::optional<authority> parse_authority(std::string_view text) {
    authority a;
    if (text.empty() || text.size() > 260) return std::nullopt;
    std::string_view rest;
    if (text.front() == '[') {
        const auto end = text.find(']');
        if (end == text.npos) return std::nullopt;
        a.host = lower(text.substr(1, end - 1));
        a.bracketed = true;
        rest = text.substr(end + 1);
        if (!is_ip_literal(a.host)) return std::nullopt;
    } else {
        const auto colon = text.find(':');
        a.host = lower(text.substr(0, colon));
        rest = colon == text.npos ? std::string_view{} : text.substr(colon);
        if (a.host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-_") != a.host.npos) return std::nullopt;
        if (!a.host.empty() && a.host.back() == '.') a.host.pop_back();  // the DNS root, same name
    }
    if (a.host.empty()) return std::nullopt;
    if (!rest.empty()) {
        if (rest.front() != ':' || !all_digits(rest.substr(1)) || rest.size() > 6) return std::nullopt;
        a.port = rest.substr(1);
    }
    return a;
}

std::optional<listen_address> parse_listen(std::string_view text) {
    const auto a = parse_authority(text);
    if (!a || a->port.empty()) return std::nullopt;
    unsigned port = 0;
    std::from_chars(a->port.data(), a->port.data() + a->port.size(), port);
    if (port > 65535) return std::nullopt;
    return listen_address{a->host, static_cast<unsigned short>(port)};
}

bool is_ip_literal(std::string_view host) {
    unsigned char out[16];
    const std::string h(host);
    return inet_pton(AF_INET, h.c_str(), out) == 1 || inet_pton(AF_INET6, h.c_str(), out) == 1;
}

bool is_loopback_host(std::string_view host) {
    if (host == "localhost") return true;
    unsigned char out[16];
    const std::string h(host);
    if (inet_pton(AF_INET, h.c_str(), out) == 1) return out[0] == 127;
    if (inet_pton(AF_INET6, h.c_str(), out) == 1) return std::all_of(out, out + 15, [](auto b) { return b == 0; }) && out[15] == 1;
    return false;
}

std::optional<std::string> percent_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        if (text.size() - i < 3) return std::nullopt;
        const int hi = hex(text[i + 1]), lo = hex(text[i + 2]);
        if (hi < 0 || lo < 0 || (hi == 0 && lo == 0)) return std::nullopt;
        out += static_cast<char>(hi * 16 + lo);
        i += 2;
    }
    return out;
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const auto amp = query.find('&');
        const auto pair = query.substr(0, amp);
        query = amp == query.npos ? std::string_view{} : query.substr(amp + 1);
        const auto eq = pair.find('=');
        if (pair.substr(0, eq) != name) continue;
        std::string value(eq == pair.npos ? std::string_view{} : pair.substr(eq + 1));
        std::replace(value.begin(), value.end(), '+', ' ');
        return percent_decode(value);
    }
    return std::nullopt;
}

bool is_json_type(std::string_view content_type) {
    const auto type = lower(content_type.substr(0, content_type.find(';')));
    const auto end = type.find_last_not_of(" \t");
    return end != type.npos && type.substr(0, end + 1) == "application/json";
}

std::string json_quote(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const std::size_t n = utf8_sequence(text);
        const unsigned char c = static_cast<unsigned char>(text.front());
        if (n == 0) {
            out += "\xEF\xBF\xBD";
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += text.front();
        } else if (c < 0x20) {
            constexpr char digits[] = "0123456789abcdef";
            out += "\\u00";
            out += digits[c >> 4];
            out += digits[c & 15];
        } else {
            out += text.substr(0, n);
        }
        text.remove_prefix(n == 0 ? 1 : n);
    }
    out += '"';
    return out;
}

bool json_depth_within(std::string_view text, std::size_t depth) {
    std::size_t level = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            else if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++level > depth) return false;
        } else if ((c == '}' || c == ']') && level > 0) {
            --level;
        }
    }
    return true;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    unsigned char diff = 0;
    for (std::size_t i = 0; i < a.size(); ++i) diff |= static_cast<unsigned char>(a[i] ^ b[i]);
    return diff == 0;
}

}  // namespace holdfast::web
