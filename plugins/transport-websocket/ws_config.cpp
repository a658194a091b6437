#include "transport-websocket/ws_config.hpp"

#include <nlohmann/json.hpp>

#include "holdfast/json.hpp"
#include "holdfast/status.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::transport_websocket {
namespace {
using json = nlohmann::json;
constexpr double default_ping_s = 30, longest_ping_s = 3600;

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

bool ours(std::string_view name) {
    for (const char* taken : {"host", "connection", "upgrade", "content-length", "transfer-encoding", "expect", "te", "trailer"})
        if (net::same_name(name, taken)) return true;
    return name.size() > 14 && net::same_name(name.substr(0, 14), "sec-websocket-");
}
}  // namespace

server_config read_server(std::string_view text) {
    const json o = net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
    if (!o.is_object()) refuse("the server's configuration has to be a JSON object");
    server_config c;
    const auto url = o.find("url");
    const auto to = url != o.end() && url->is_string() ? net::parse_stream_address(url->get_ref<const std::string&>(), true) : std::nullopt;
    if (!to) refuse("\"url\" has to begin with ws:// or wss://, name a host, and hold no user name: use \"headers\"");
    c.to = *to;
    if (const auto h = o.find("headers"); h != o.end() && !h->is_null()) {
        if (!h->is_object()) refuse("\"headers\" has to be an object of texts");
        for (const auto& [name, value] : h->items()) {
            if (!value.is_string() || !net::valid_header_name(name) || !net::valid_header_value(value.get_ref<const std::string&>()))
                refuse("\"headers\": \"" + net::excerpt(name, 60) + "\" cannot be sent");
            if (ours(name)) refuse("\"headers\": \"" + net::excerpt(name, 60) + "\" is the transport's own");
            c.headers.push_back({name, value.get<std::string>()});
        }
    }
    return c;
}

std::chrono::milliseconds read_ping(std::string_view settings) {
    const double s = sdk::json_number<double>(settings, "ping_s", default_ping_s);
    if (!(s >= 0) || s > longest_ping_s) refuse("\"ping_s\" has to be a number of seconds up to 3600");
    return std::chrono::milliseconds(static_cast<std::int64_t>(s * 1000));
}

}  // namespace holdfast::transport_websocket
