#include "llm-openai/settings.hpp"

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"
#include "net-client/http_text.hpp"
#include "net-client/url.hpp"

namespace holdfast::llm_openai {
namespace {
using json = nlohmann::json;
[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

std::string text(const json& o, const char* key, std::string otherwise = {}) {
    const auto it = o.find(key);
    if (it == o.end() || it->is_null()) return otherwise;
    if (!it->is_string()) refuse(std::string("\"") + key + "\" has to be a text");
    return it->get<std::string>();
}
double number(const json& o, const char* key, double otherwise, double low, double high) {
    const auto it = o.find(key);
    if (it == o.end() || it->is_null()) return otherwise;
    if (!it->is_number() || it->get<double>() < low || it->get<double>() > high)
        refuse(std::string("\"") + key + "\" has to be a number from " + std::to_string(static_cast<long>(low)) + " to " + std::to_string(static_cast<long>(high)));
    return it->get<double>();
}
}  // namespace

settings read_settings(std::string_view given) {
    const std::string_view source = given.empty() ? "{}" : given;
    const json o = net::json_depth_within(source, net::max_json_depth) ? json::parse(source, nullptr, false) : json();
    if (!o.is_object()) refuse("the settings have to be a JSON object");
    settings s;
    s.base_url = text(o, "base_url", default_base_url);
    while (!s.base_url.empty() && s.base_url.back() == '/') s.base_url.pop_back();
    const auto url = net::parse_url(s.base_url);
    if (!url) refuse("\"base_url\" has to begin with http:// or https:// and name a host");
    if (url->has_credentials) refuse("\"base_url\" must not hold a user name or password: use \"api_key\" or \"headers\"");
    s.origin = url->origin;
    s.local = net::is_loopback(url->host);
    s.official = url->host == "api.openai.com";
    s.api_key = text(o, "api_key");
    s.model = text(o, "model");
    if (s.model.empty() && s.official) s.model = default_model;
    s.organization = text(o, "organization");
    s.idle_timeout = std::chrono::milliseconds(static_cast<long>(number(o, "idle_timeout_s", 120, 0.001, 86'400) * 1000));
    s.max_retries = static_cast<int>(number(o, "max_retries", 2, 0, 10));
    if (!net::valid_header_value(s.api_key)) refuse("\"api_key\" holds a character that cannot be sent");
    if (!s.api_key.empty()) s.headers.push_back({"Authorization", "Bearer " + s.api_key});
    if (!s.organization.empty()) s.headers.push_back({"OpenAI-Organization", s.organization});
    if (const auto it = o.find("headers"); it != o.end() && !it->is_null()) {
        if (!it->is_object()) refuse("\"headers\" has to be an object of texts");
        for (const auto& [name, value] : it->items()) {
            if (!value.is_string() || !net::valid_header_name(name) || !net::valid_header_value(value.get_ref<const std::string&>()))
                refuse("\"headers\": \"" + net::excerpt(name, 60) + "\" cannot be sent");
            // What the operator writes wins over what we would send.
            std::erase_if(s.headers, [&name = name](const net::header& h) { return net::same_name(h.name, name); });
            s.headers.push_back({name, value.get<std::string>()});
        }
    }
    return s;
}

}  // namespace holdfast::llm_openai
