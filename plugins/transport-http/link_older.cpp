// How a connection of Streamable HTTP becomes one of HTTP with SSE: because the configuration says so, or because the server
// refuses `initialize` as servers do that know only the older transport (2025-11-25, basic/transports, backwards compatibility).
#include "transport-http/link.hpp"

namespace holdfast::transport_http {

void link::open_older() {
    const auto weak = weak_from_this();
    older_ = std::make_shared<sse_link>(client_, server_, settings_, sink_,
                                        sse_hooks{[this](const char* method) { return request_to_server(method); },
                                                  [weak] {
                                                      const auto self = weak.lock();
                                                      if (self && !self->closed_) self->sink_.opened(sdk::json_object({{"url", self->server_.origin}}));
                                                  },
                                                  [weak](const sdk::status& why) {
                                                      if (const auto self = weak.lock()) self->shut(why);
                                                  },
                                                  [weak] {
                                                      if (const auto self = weak.lock()) self->load.fetch_sub(1);
                                                  },
                                                  account_});
    if (!account_) return older_->open();
    account_->freshen([weak] {
        const auto self = weak.lock();
        if (self && self->older_ && !self->closed_) self->older_->open();
    });
}

/// True: the request is tried the older way, and fails as it would have if that fails, too.
bool link::fall_back(const exchange_ptr& x) {
    if (x->out.method != "initialize" || x->out.modern || older_ || closing_) return false;
    if (x->status != 400 && x->status != 404 && x->status != 405) return false;
    if (read_incoming(x->body).valid && read_incoming(x->body).id == x->out.id) return false;  // it answers requests: no old server
    auto refusal = error_response(x->body, x->out.id, x->status);  // of no request in particular
    x->over = true;  // its place in `load` goes over to the message that is sent anew
    exchanges_.erase(x.get());
    const auto weak = weak_from_this();
    const int refused = x->status;
    auto asked = std::make_shared<bool>(true);  // until the endpoint is known. Owners: the two hooks
    older_ = std::make_shared<sse_link>(client_, server_, settings_, sink_,
                                        sse_hooks{[this](const char* method) { return request_to_server(method); }, [asked] { *asked = false; },
                                                  [weak, asked, refused, refusal = std::move(refusal), id = x->out.id](const sdk::status& why) {
                                                      const auto self = weak.lock();
                                                      if (!self) return;
                                                      if (!*asked) return self->shut(why);
                                                      self->older_.reset();
                                                      if (refusal) return self->sink_.message(*refusal);
                                                      self->sink_.request_failed(id, status_of_refusal(refused, self->server_.origin));
                                                  },
                                                  [weak] {
                                                      if (const auto self = weak.lock()) self->load.fetch_sub(1);
                                                  },
                                                  account_});
    older_->deliver(x->text, x->out);
    older_->open();
    return true;
}

}  // namespace holdfast::transport_http
