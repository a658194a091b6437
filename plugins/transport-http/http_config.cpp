#include "transport-http/http_config.hpp"

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"
#include "net-client/http_text.hpp"
#include "net-client/url.hpp"

namespace holdfast::transport_http {
namespace {
using json = nlohmann::json;
[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

json object_of(std::string_view text, const char* what) {
    json j = net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
    if (!j.is_object()) refuse(std::string(what) + " has to be a JSON object");
    return j;
}

// What the transport itself says. Two voices in one header would let a server and its proxy read different things.
bool ours(std::string_view name) {
    for (const char* taken : {"accept", "content-type", "content-length", "transfer-encoding", "connection", "host", "expect", "mcp-protocol-version",
                              "mcp-session-id", "mcp-method", "mcp-name", "last-event-id"})
        if (net::same_name(name, taken)) return true;
    return name.size() > 10 && net::same_name(name.substr(0, 10), "mcp-param-");
}
}  // namespace

settings read_settings(std::string_view text) {
    const json o = object_of(text.empty() ? "{}" : text, "the settings");
    settings s;
    if (const auto it = o.find("max_message_bytes"); it != o.end() && !it->is_null()) {
        if (!it->is_number_integer() || *it < 1024 || *it > (256 << 20)) refuse("\"max_message_bytes\" has to be a whole number from 1024 to 268435456");
        s.max_message_bytes = it->get<std::size_t>();
    }
    return s;
}

server_config read_server(std::string_view text) {
    const json o = object_of(text, "the server's configuration");
    server_config c;
    const auto url = o.find("url");
    if (url == o.end() || !url->is_string()) refuse("\"url\" has to name the server's MCP endpoint");
    c.url = url->get<std::string>();
    const auto parts = net::parse_url(c.url);
    if (!parts) refuse("\"url\" has to begin with http:// or https:// and name a host");
    if (parts->has_credentials) refuse("\"url\" must not hold a user name or password: use \"headers\"");
    c.origin = parts->origin;
    if (const auto h = o.find("headers"); h != o.end() && !h->is_null()) {
        if (!h->is_object()) refuse("\"headers\" has to be an object of texts");
        for (const auto& [name, value] : h->items()) {
            if (!value.is_string() || !net::valid_header_name(name) || !net::valid_header_value(value.get_ref<const std::string&>()))
                refuse("\"headers\": \"" + net::excerpt(name, 60) + "\" cannot be sent");
            if (ours(name)) refuse("\"headers\": \"" + net::excerpt(name, 60) + "\" is the transport's own");
            c.headers.push_back({name, value.get<std::string>()});
        }
    }
    if (const auto n = o.find("name"); n != o.end() && n->is_string()) c.name = n->get<std::string>();
    if (c.name.empty()) c.name = c.url;
    if (const auto a = o.find("auth"); a != o.end() && !a->is_null()) {
        c.auth = oauth::read_auth(a->dump());
        if (!net::find_header(c.headers, "authorization").empty()) refuse("\"headers\" must not hold \"Authorization\" beside \"auth\"");
    }
    if (const auto t = o.find("connect_timeout_s"); t != o.end() && !t->is_null()) {
        if (!t->is_number() || t->get<double>() <= 0 || t->get<double>() > 600) refuse("\"connect_timeout_s\" has to be a number of seconds up to 600");
        c.connect_timeout = std::chrono::milliseconds(std::max(1L, static_cast<long>(t->get<double>() * 1000)));
    }
    if (const auto t = o.find("type"); t != o.end() && t->is_string()) c.sse = *t == "sse";
    return c;
}

}  // namespace holdfast::transport_http
