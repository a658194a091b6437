#include "net-server/http_types.hpp"

#include "net-server/http_text.hpp"

namespace holdfast::web {

std::string_view http_request::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

std::size_t http_request::count(std::string_view name) const {
    std::size_t n = 0;
    for (const auto& [key, value] : headers) n += key == name;
    return n;
}

http_response http_response::text(int status, std::string content_type, std::string body) {
    http_response r;
    r.status = status;
    r.headers = {{"Content-Type", std::move(content_type)}, {"X-Content-Type-Options", "nosniff"}};
    r.body = std::make_shared<const std::string>(std::move(body));
    return r;
}

http_response http_response::failure(int status, std::string_view code, std::string_view message, std::int64_t retry_after_ms) {
    std::string body = R"({"error":{"code":)" + json_quote(code) + R"(,"message":)" + json_quote(message);
    if (retry_after_ms > 0) body += R"(,"retry_after_ms":)" + std::to_string(retry_after_ms);
    body += "}}";
    http_response r = text(status, "application/json", std::move(body));
    r.headers.emplace_back("Cache-Control", "no-store");
    if (retry_after_ms > 0) r.headers.emplace_back("Retry-After", std::to_string((retry_after_ms + 999) / 1000));
    return r;
}

responder::~responder() {
    if (sink_) (*this)(http_response::failure(500, "internal", "the request was dropped without an answer; this is a defect, please report it"));
}

void responder::operator()(http_response response) {
    if (auto sink = std::exchange(sink_, nullptr)) sink->answer(std::move(response));
}

std::shared_ptr<response_stream> responder::stream(http_response head, bool endless) {
    auto sink = std::exchange(sink_, nullptr);
    return sink ? sink->stream(std::move(head), endless) : nullptr;
}

void responder::on_gone(std::function<void()> f) {
    if (sink_) sink_->on_gone(std::move(f));
}

}  // namespace holdfast::web
