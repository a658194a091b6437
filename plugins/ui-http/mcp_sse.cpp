#include "ui-http/mcp_sse.hpp"

#include <sys/random.h>

#include "ui-http/mcp_endpoint.hpp"
#include "ui-http/mcp_exchange.hpp"

namespace holdfast::ui_http {
namespace {
std::string random_name() {
    unsigned char bytes[16];
    if (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) throw std::runtime_error("no random numbers from the kernel");
    std::string out;
    for (const unsigned char b : bytes) out.append(1, "0123456789abcdef"[b >> 4]).append(1, "0123456789abcdef"[b & 15]);
    return out;
}
}  // namespace

void mcp_sse::on_request(web::http_request request, web::responder respond, const person& who, const std::string& cors_origin) {
    const bool stream = request.path == stream_path_;
    const char* const method = stream ? "GET" : "POST";
    if (request.method == method) return stream ? open(std::move(respond), who, cors_origin) : post(request, std::move(respond), who, cors_origin);
    auto r = mcp_endpoint::refusal(405, std::string("this path is used with ") + method, cors_origin);
    r.headers.emplace_back("Allow", method);
    respond(std::move(r));
}

void mcp_sse::open(web::responder respond, const person& who, const std::string& cors_origin) {
    struct outlet {  // the channel's way out, once there is one. Owners: the channel and the responder's callback
        std::shared_ptr<web::response_stream> stream;
    };
    const auto out = std::make_shared<outlet>();
    const auto channel = std::make_shared<mcp_channel>(api_, who, [out](std::string_view text) {
        std::string event = "event: message\n";
        event += event_text("\n" + std::string(text));
        if (out->stream) out->stream->write(event);
    });
    const std::string name = random_name();
    bool full = false;
    {
        const std::lock_guard lock(mutex_);
        full = streams_.size() >= max_sse_streams;
        if (!full) streams_.emplace(name, channel);
    }
    if (full) return respond(mcp_endpoint::refusal(503, "too many event streams are open", cors_origin));
    respond.on_gone([self = shared_from_this(), channel, name] {
        {
            const std::lock_guard lock(self->mutex_);
            self->streams_.erase(name);
        }
        channel->on_gone();
    });
    web::http_response head;
    head.headers = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}, {"X-Accel-Buffering", "no"}};
    allow_origin(head, cors_origin);
    out->stream = respond.stream(std::move(head), true);
    if (out->stream) out->stream->write("event: endpoint\ndata: " + post_path_ + "?sessionId=" + name + "\n\n");
}

void mcp_sse::post(const web::http_request& request, web::responder respond, const person& who, const std::string& cors_origin) {
    if (!web::is_json_type(request.header("content-type"))) return respond(mcp_endpoint::refusal(415, "send the message as application/json", cors_origin));
    const auto name = web::query_value(request.query, "sessionId");
    std::shared_ptr<mcp_channel> channel;
    if (name) {
        const std::lock_guard lock(mutex_);
        if (const auto it = streams_.find(*name); it != streams_.end()) channel = it->second;
    }
    // Another person's stream is none that this one could know of.
    if (!channel || channel->who().user != who.user || channel->who().role != who.role)
        return respond(mcp_endpoint::refusal(404, "there is no such event stream; open one first", cors_origin));
    web::http_response taken = web::http_response::text(202, "text/plain", "Accepted");
    allow_origin(taken, cors_origin);
    respond(std::move(taken));
    channel->on_message(request.body);
}

}  // namespace holdfast::ui_http
