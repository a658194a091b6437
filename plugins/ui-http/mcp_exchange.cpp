#include "ui-http/mcp_exchange.hpp"

#include "ui-http/mcp_endpoint.hpp"

namespace holdfast::ui_http {

void allow_origin(web::http_response& r, const std::string& cors_origin) {
    if (cors_origin.empty()) return;
    r.headers.emplace_back("Access-Control-Allow-Origin", cors_origin);
    r.headers.emplace_back("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate");
    r.headers.emplace_back("Vary", "Origin");
}

std::string event_text(std::string_view piece) {
    const auto line = piece.find('\n');
    std::string_view before = piece.substr(0, line), message = line == piece.npos ? std::string_view() : piece.substr(line + 1);
    std::string out;
    out.reserve(piece.size() + 32);
    if (!before.empty()) {
        const auto gap = before.find(' ');
        out.append("id: ").append(before.substr(0, gap)).append("\n");
        if (gap != before.npos) {
            std::string_view retry = before.substr(gap + 1);
            if (retry.substr(0, 6) == "retry:") retry.remove_prefix(6);
            out.append("retry: ").append(retry).append("\n");
        }
    }
    // JSON as the host writes it has no line breaks; another line would need another field.
    do {
        const auto end = message.find('\n');
        out.append("data: ").append(message.substr(0, end)).append("\n");
        message = end == message.npos ? std::string_view() : message.substr(end + 1);
    } while (!message.empty());
    return out += '\n';
}

web::http_response mcp_exchange::head(const char* content_type) const {
    web::http_response r;
    r.status = status_;
    if (content_type) r.headers.emplace_back("Content-Type", content_type);
    r.headers.emplace_back("Cache-Control", "no-store");
    if (!session_.empty()) r.headers.emplace_back("Mcp-Session-Id", session_);
    allow_origin(r, cors_origin_);
    return r;
}

void mcp_exchange::on_piece(std::string_view piece) { begun_ ? on_event(piece) : on_head(piece); }

void mcp_exchange::on_head(std::string_view text) {
    begun_ = true;
    const json h = parse_json(text).value_or(json());
    status_ = h.is_object() ? h.value("status", 200) : 500;
    streams_ = h.is_object() && h.value("stream", false);
    session_ = string_or(h, "session");
    if (!streams_) return;
    answered_ = true;
    auto r = head("text/event-stream");
    r.headers.emplace_back("X-Accel-Buffering", "no");
    stream_ = respond_.stream(std::move(r), endless_);
}

void mcp_exchange::on_event(std::string_view piece) {
    if (streams_) {
        if (stream_) stream_->write(event_text(piece));  // a client that has gone cancels the call by itself
        return;
    }
    if (answered_) return;
    answered_ = true;
    auto r = head("application/json");
    const auto line = piece.find('\n');
    r.body = std::make_shared<const std::string>(line == piece.npos ? piece : piece.substr(line + 1));
    respond_(std::move(r));
}

void mcp_exchange::on_done(const api_result& r) {
    if (stream_) return stream_->end();
    if (answered_) return;
    answered_ = true;
    if (begun_) return respond_(head(nullptr));  // 202 and the like: no message
    respond_(mcp_endpoint::refusal(r.ok ? 500 : http_status(r.error.code), r.ok ? "the gateway gave no answer" : r.error.message, cors_origin_));
}

}  // namespace holdfast::ui_http
