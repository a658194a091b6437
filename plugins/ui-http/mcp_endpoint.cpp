#include "ui-http/mcp_endpoint.hpp"

#include "ui-http/json_check.hpp"
#include "ui-http/mcp_exchange.hpp"

namespace holdfast::ui_http {
namespace {

using token_clock = web::token_bucket::clock;
constexpr double rate_burst = 4;  // times the rate
constexpr std::string_view param_prefix = "mcp-param-";
constexpr const char* methods = "GET, POST, DELETE, OPTIONS";

/// Whether an Accept header takes `type`; none at all takes anything.
bool accepts(std::string_view header, std::string_view type) {
    if (header.empty()) return true;
    const std::string_view family = type.substr(0, type.find('/') + 1);
    while (!header.empty()) {
        const auto comma = header.find(',');
        std::string_view item = header.substr(0, comma);
        header = comma == header.npos ? std::string_view() : header.substr(comma + 1);
        item = item.substr(0, item.find(';'));
        while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
        while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
        const auto same = [](std::string_view a, std::string_view b) {
            return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return (x >= 'A' && x <= 'Z' ? x + 32 : x) == y; });
        };
        if (item == "*/*" || same(item, type) || (item.size() == family.size() + 1 && item.back() == '*' && same(item.substr(0, family.size()), family))) return true;
    }
    return false;
}

void member_text(std::string& to, std::string_view name, std::string_view value) {
    to.append(to.back() == '{' ? "" : ",").append(web::json_quote(name)).append(":").append(web::json_quote(value));
}

struct handed_on {
    std::string_view header, name;
};
constexpr handed_on standard[] = {{"mcp-protocol-version", "protocol_version"}, {"mcp-method", "method"}, {"mcp-name", "name"}};

}  // namespace

mcp_endpoint::mcp_endpoint(std::shared_ptr<api_port> api, const mcp_settings& s)
    : api_(std::move(api)), settings_(s), rate_(s.rate > 0 ? s.rate : 1, s.rate > 0 ? rate_burst * s.rate : 1) {}

web::http_response mcp_endpoint::refusal(int status, std::string_view message, const std::string& cors_origin) {
    // An error about no request in particular has no id.
    auto r = web::http_response::text(status, "application/json",
                                      R"({"jsonrpc":"2.0","error":{"code":-32000,"message":)" + web::json_quote(message) + "}}");
    r.headers.emplace_back("Cache-Control", "no-store");
    allow_origin(r, cors_origin);
    return r;
}

web::http_response mcp_endpoint::preflight() {
    web::http_response r;
    r.status = 204;
    r.headers = {{"Allow", methods},
                 {"Access-Control-Allow-Methods", methods},
                 {"Access-Control-Allow-Headers", "*, authorization, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, mcp-name, last-event-id"},
                 {"Access-Control-Max-Age", "600"}};
    return r;
}

void mcp_endpoint::on_request(web::http_request request, web::responder respond, const person& who, const std::string& cors_origin) {
    if (settings_.rate > 0) {
        const std::lock_guard lock(mutex_);
        if (const auto wait = rate_.take(who.user, token_clock::now()); wait.count() > 0) {
            auto r = refusal(429, "too many requests; slow down", cors_origin);
            r.headers.emplace_back("Retry-After", std::to_string((wait.count() + 999) / 1000));
            return respond(std::move(r));
        }
    }
    std::size_t sessions = 0, resumes = 0;
    for (const auto& [name, value] : request.headers) {
        sessions += name == "mcp-session-id";
        resumes += name == "last-event-id";
        if (value.size() > mcp_max_header_value && (name.starts_with("mcp-") || name == "last-event-id"))
            return respond(refusal(431, "the header " + name + " is longer than " + std::to_string(mcp_max_header_value) + " bytes", cors_origin));
    }
    if (sessions > 1 || resumes > 1) return respond(refusal(400, "a request names one session and one event at most", cors_origin));
    if (request.method == "POST") return post(request, std::move(respond), who, cors_origin);
    if (request.method == "GET") return listen(request, std::move(respond), who, cors_origin);
    if (request.method == "DELETE") return close(request, std::move(respond), who, cors_origin);
    auto r = refusal(405, "this path is used with POST; with GET and DELETE in sessions", cors_origin);
    r.headers.emplace_back("Allow", methods);
    respond(std::move(r));
}

void mcp_endpoint::post(web::http_request& request, web::responder respond, const person& who, std::string cors_origin) {
    const auto accept = request.header("accept");
    if (!accepts(accept, "application/json") || !accepts(accept, "text/event-stream"))
        return respond(refusal(406, "the client must accept both application/json and text/event-stream", cors_origin));
    if (!web::is_json_type(request.header("content-type"))) return respond(refusal(415, "send the message as application/json", cors_origin));

    std::string params = R"({"via":"http")";
    params.reserve(request.body.size() + 512);
    if (const std::string problem = json_problem(request.body, mcp_max_depth); problem.empty()) params.append(R"(,"message":)").append(request.body);
    else member_text(params, "parse_error", problem);
    std::string headers = "{", custom = "{";
    for (const auto& [name, value] : request.headers) {
        if (name == "mcp-session-id") member_text(params, "session", value);
        else if (name == "last-event-id") member_text(params, "last_event_id", value);
        else if (name.starts_with(param_prefix)) {
            if (request.count(name) > 1) return respond(refusal(400, "the header " + name + " was sent twice", cors_origin));
            member_text(custom, name, value);
        } else {
            for (const auto& h : standard)
                if (name == h.header) {
                    if (request.count(name) > 1) return respond(refusal(400, "the header " + name + " was sent twice", cors_origin));
                    member_text(headers, h.name, value);
                }
        }
    }
    if (custom.size() > 1) headers.append(headers.size() > 1 ? "," : "").append(R"("params":)").append(custom).append("}");
    if (headers.size() > 1) params.append(R"(,"headers":)").append(headers).append("}");
    params += '}';

    auto exchange = std::make_shared<mcp_exchange>(std::move(respond), std::move(cors_origin), request.header("mcp-method") == "subscriptions/listen");
    auto id = std::make_shared<std::uint64_t>(0);  // owner: the connection's strand
    exchange->client().on_gone([api = api_, id] { api->cancel(*id); });
    *id = api_->call("mcp.post", params, who, [exchange](api_result r) { exchange->on_done(r); }, [exchange](std::string_view piece) { exchange->on_piece(piece); });
}

void mcp_endpoint::listen(const web::http_request& request, web::responder respond, const person& who, std::string cors_origin) {
    const auto session = request.header("mcp-session-id");
    if (session.empty()) {
        auto r = refusal(405, "events without a session come as the answer to a subscriptions/listen request", cors_origin);
        r.headers.emplace_back("Allow", "POST, OPTIONS");
        return respond(std::move(r));
    }
    if (!accepts(request.header("accept"), "text/event-stream")) return respond(refusal(406, "the client must accept text/event-stream", cors_origin));
    std::string params = "{";
    member_text(params, "session", session);
    if (const auto last = request.header("last-event-id"); !last.empty()) member_text(params, "last_event_id", last);
    params += '}';
    auto exchange = std::make_shared<mcp_exchange>(std::move(respond), std::move(cors_origin), true);
    auto id = std::make_shared<std::uint64_t>(0);  // owner: the connection's strand
    exchange->client().on_gone([api = api_, id] { api->cancel(*id); });
    *id = api_->call("mcp.listen", params, who, [exchange](api_result r) { exchange->on_done(r); }, [exchange](std::string_view piece) { exchange->on_piece(piece); });
}

void mcp_endpoint::close(const web::http_request& request, web::responder respond, const person& who, std::string cors_origin) {
    const auto session = request.header("mcp-session-id");
    if (session.empty()) {
        auto r = refusal(405, "there is no session to end", cors_origin);
        r.headers.emplace_back("Allow", "POST, OPTIONS");
        return respond(std::move(r));
    }
    std::string params = "{";
    member_text(params, "session", session);
    params += '}';
    auto once = std::make_shared<web::responder>(std::move(respond));
    api_->call("mcp.close", params, who, [once, cors = std::move(cors_origin)](api_result r) {
        if (!r.ok) return (*once)(refusal(http_status(r.error.code), r.error.message, cors));
        web::http_response done;
        done.status = 204;
        allow_origin(done, cors);
        (*once)(std::move(done));
    });
}

}  // namespace holdfast::ui_http
