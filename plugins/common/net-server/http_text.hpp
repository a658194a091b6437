#pragma once
// The small text formats around HTTP: pure functions, nothing here touches the network.
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::web {

/// "listen" setting: "127.0.0.1:7777", "[::1]:0", "localhost:7777".
struct listen_address {
    std::string host;  ///< without brackets
    unsigned short port = 0;
};
std::optional<listen_address> parse_listen(std::string_view text);

/// Host or authority of a header, split: "[::1]:80" → "::1", "80"; the port is empty when absent. Lower case. nullopt when malformed.
struct authority {
    std::string host;
    std::string port;
    bool bracketed = false;
};
std::optional<authority> parse_authority(std::string_view text);

bool is_ip_literal(std::string_view host);    ///< IPv4 dotted quad or IPv6, without brackets
bool is_loopback_host(std::string_view host);  ///< 127.0.0.0/8, ::1, "localhost"

/// %XX decoded; nullopt on a bad escape or an encoded NUL. '+' stays.
std::optional<std::string> percent_decode(std::string_view text);
/// The decoded value of one query parameter, '+' as space; nullopt when absent.
std::optional<std::string> query_value(std::string_view query, std::string_view name);
/// Calls back for each "name=value" of a Cookie header.
template <class F>
void for_each_cookie(std::string_view header, F&& f) {
    while (!header.empty()) {
        const auto semi = header.find(';');
        auto pair = header.substr(0, semi);
        header = semi == header.npos ? std::string_view{} : header.substr(semi + 1);
        while (!pair.empty() && pair.front() == ' ') pair.remove_prefix(1);
        if (const auto eq = pair.find('='); eq != pair.npos) f(pair.substr(0, eq), pair.substr(eq + 1));
    }
}
/// True when a media type header names application/json, with or without parameters.
bool is_json_type(std::string_view content_type);
/// A JSON string literal, quotes included. Invalid UTF-8 is replaced.
std::string json_quote(std::string_view text);
/// Whether JSON text nests no deeper than `depth`: checked before a DOM is built, because destroying a deep DOM overflows the stack.
bool json_depth_within(std::string_view text, std::size_t depth);
/// Compares without a data-dependent exit.
bool equal_constant_time(std::string_view a, std::string_view b);

}  // namespace holdfast::web
