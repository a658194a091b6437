#include "llm-openai/answer_errors.hpp"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "net-client/http_text.hpp"

namespace holdfast::llm_openai {
namespace {
using json = nlohmann::json;
using std::chrono::milliseconds;
using wall = std::chrono::system_clock::time_point;

constexpr std::size_t max_words = 300;

/// Removes the key itself and what providers echo of it ("sk-abc***xyz").
std::string without_secrets(std::string text, const settings& s) {
    if (!s.api_key.empty())
        for (std::size_t at; (at = text.find(s.api_key)) != std::string::npos;) text.replace(at, s.api_key.size(), "(api key)");
    for (std::size_t at = 0; (at = text.find("sk-", at)) != std::string::npos;) {
        const bool word = at == 0 || !std::isalnum(static_cast<unsigned char>(text[at - 1]));
        std::size_t end = at + 3;
        while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '-' || text[end] == '_' || text[end] == '*')) ++end;
        if (!word || end - at < 8) {
            at += 3;
            continue;
        }
        text.replace(at, end - at, "(api key)");
    }
    return text;
}

json parsed(std::string_view text) {
    return net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
}

std::string words_of(const json& error) {
    if (error.is_string()) return error.get<std::string>();
    if (!error.is_object()) return {};
    for (const char* key : {"message", "type", "code"})
        if (const auto it = error.find(key); it != error.end() && it->is_string() && !it->get_ref<const std::string&>().empty()) return it->get<std::string>();
    return {};
}

bool has_code(const json& error, std::string_view code) {
    if (!error.is_object()) return false;
    for (const char* key : {"code", "type"})
        if (const auto it = error.find(key); it != error.end() && it->is_string() && it->get_ref<const std::string&>() == code) return true;
    return false;
}

std::optional<milliseconds> wished(const net::headers& h, wall now) {
    const std::string_view ms = net::find_header(h, "retry-after-ms");
    double value = 0;
    const auto r = std::from_chars(ms.data(), ms.data() + ms.size(), value);
    if (!ms.empty() && r.ec == std::errc() && r.ptr == ms.data() + ms.size() && value >= 0 && value < 1e12)
        return milliseconds(static_cast<std::int64_t>(value));
    if (const auto after = net::find_header(h, "retry-after"); !after.empty()) return net::parse_retry_after(after, now);
    return std::nullopt;
}

bool worth_repeating(int status) { return status == 408 || status == 409 || status == 429 || status >= 500; }

milliseconds backoff(int attempt, double jitter) {
    const double full = std::min<double>(static_cast<double>(longest_retry.count()), static_cast<double>(first_retry.count()) * std::pow(2.0, attempt));
    return milliseconds(static_cast<std::int64_t>(full * (1 - jitter * 0.25)));
}

sdk::status meaning(int http, const json& error, const settings& s) {
    sdk::status out;
    out.peer_status = http;
    std::string words = without_secrets(net::excerpt(words_of(error), max_words), s);
    const std::string said = words.empty() ? "." : ": " + words;
    const std::string number = http ? " (HTTP " + std::to_string(http) + ")" : "";
    if (http == 401 || http == 403 || has_code(error, "invalid_api_key")) {
        out.code = HF_E_AUTH;
        out.message = s.origin + " refused the credentials" + number +
                      (s.api_key.empty() ? ": set the setting \"api_key\"." : ": check the settings \"api_key\" and \"organization\", and what the key may use.");
    } else if (http == 429 || has_code(error, "rate_limit_exceeded") || has_code(error, "insufficient_quota")) {
        out.code = HF_E_RATE_LIMITED;
        out.retryable = !has_code(error, "insufficient_quota");
        out.message = s.origin + (out.retryable ? " limits the rate of requests" : " says that the quota is used up") + number + said;
    } else if (http == 408 || http == 409 || http >= 500 || has_code(error, "server_error") || has_code(error, "overloaded_error")) {
        out.code = HF_E_UNAVAILABLE;
        out.retryable = true;
        out.message = s.origin + " could not answer" + number + said;
    } else if (http >= 300 && http < 400) {
        out.code = HF_E_PEER;
        out.message = s.origin + " redirects elsewhere" + number + ": set \"base_url\" to the final address.";
    } else if (http == 404) {
        out.code = HF_E_PEER;
        out.message = s.origin + " knows no such model or address" + number + said + (words.empty() ? " Check \"model\" and \"base_url\"." : "");
    } else {
        out.code = HF_E_PEER;
        out.message = s.origin + " refused the request" + number + said;
    }
    return out;
}

}  // namespace

sdk::status status_of_answer(int http, const net::headers& h, std::string_view body, const settings& s, wall now) {
    json j = parsed(body);
    json error;
    if (j.is_array() && !j.empty()) j = json(j[0]);
    if (j.is_object()) {
        if (const auto it = j.find("error"); it != j.end()) error = *it;
        else error = std::move(j);
    }
    sdk::status out = meaning(http, error, s);
    if (const auto wait = wished(h, now)) out.retry_after = *wait;
    if (net::find_header(h, "x-should-retry") == "false") out.retryable = false;
    return out;
}

sdk::status status_of_error_object(std::string_view text, int http, const settings& s) {
    const json error = parsed(text);
    // Some put the HTTP status they would have sent into "code".
    if (error.is_object())
        if (const auto it = error.find("code"); it != error.end() && it->is_number_integer()) {
            const auto code = it->get<std::int64_t>();
            if (code >= 400 && code < 600) http = static_cast<int>(code);
        }
    return meaning(http < 400 ? 0 : http, error, s);
}

sdk::status status_of_result(const net::result& r, const settings&) {
    sdk::status out;
    out.message = r.message + ".";
    out.peer_status = r.status;
    switch (r.what) {
        case net::outcome::ok: return {};
        case net::outcome::forbidden:
        case net::outcome::invalid: out.code = HF_E_INVALID; break;
        case net::outcome::timed_out:
        case net::outcome::idle: out.code = HF_E_TIMEOUT; out.retryable = true; break;
        case net::outcome::too_large: out.code = HF_E_PROTOCOL; break;
        case net::outcome::cancelled: out.code = HF_E_CANCELLED; break;
        case net::outcome::failed: out.code = HF_E_INTERNAL; break;
        case net::outcome::unresolved:
        case net::outcome::tls: out.code = HF_E_TRANSPORT; break;
        case net::outcome::refused:
        case net::outcome::lost: out.code = HF_E_TRANSPORT; out.retryable = true; break;
    }
    return out;
}

std::optional<milliseconds> retry_after_answer(int attempt, int http, const net::headers& h, double jitter, wall now) {
    const std::string_view asked = net::find_header(h, "x-should-retry");
    if (asked == "false") return std::nullopt;
    if (asked != "true" && !worth_repeating(http)) return std::nullopt;
    if (const auto wait = wished(h, now)) return *wait <= longest_obeyed ? wait : std::nullopt;
    return backoff(attempt, jitter);
}

std::optional<milliseconds> retry_after_result(int attempt, net::outcome what, double jitter) {
    if (what != net::outcome::refused && what != net::outcome::lost && what != net::outcome::timed_out) return std::nullopt;
    return backoff(attempt, jitter);
}

}  // namespace holdfast::llm_openai
