// What other machines send, before anything is known to be JSON: Server-Sent Events, lines, WebSocket answers and frames, and the
// addresses a person writes. The first byte chooses which, the second how the rest is cut to pieces. However it is cut, what is
// heard has to be the same, and within its limits.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "net-client/http_text.hpp"
#include "net-client/sse.hpp"
#include "net-stream/address.hpp"
#include "net-stream/lines.hpp"
#include "transport-websocket/ws_framing.hpp"
#include "transport-websocket/ws_handshake.hpp"

namespace {

using namespace holdfast;
using strings = std::vector<std::string>;
constexpr std::size_t limit = 300;

void must(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

template <class F>
void cut(std::string_view bytes, unsigned seed, F&& each) {
    while (!bytes.empty()) {
        const std::size_t n = seed == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 1 + seed % 7);
        if (!each(bytes.substr(0, n))) return;
        bytes.remove_prefix(n);
        if (seed) seed = seed * 1103515245u + 12345u;
        if (seed == 0) seed = 1;
    }
}

strings sse(std::string_view bytes, unsigned seed) {
    strings heard;
    net::sse_parser p(limit);
    const auto on = [&heard](const net::sse_event& e) {
        must(e.data.size() <= limit && e.event.size() <= limit && e.id.size() <= limit, "an event is longer than allowed");
        heard.push_back(e.event + "\1" + e.data + "\1" + e.id);
    };
    bool fits = true;
    cut(bytes, seed, [&](std::string_view piece) { return fits = p.feed(piece, on); });
    if (fits) p.finish(on);
    heard.push_back(fits ? "fits" : "too long");
    return heard;
}

strings lines(std::string_view bytes, unsigned seed) {
    strings heard;
    net::line_splitter s(limit);
    cut(bytes, seed, [&](std::string_view piece) {
        s.feed(piece,
               [&](std::string_view line) {
                   must(!line.empty() && line.size() <= limit && line.find('\n') == line.npos, "not a line");
                   heard.emplace_back(line);
               },
               [&](std::size_t n) {
                   must(n > limit, "a line was dropped for nothing");
                   heard.push_back("dropped " + std::to_string(n));
               });
        must(s.held() <= limit, "more is held than allowed");
        return true;
    });
    return heard;
}

strings frames(std::string_view bytes, unsigned seed) {
    using namespace transport_websocket;
    strings heard;
    frame_reader r(limit);
    bool over = false;
    const frame_handlers on{[&](std::string_view t) {
                                must(t.size() <= limit && valid_utf8(t) && !over, "a message that should not be heard");
                                heard.push_back("text " + std::string(t));
                            },
                            [&](std::string_view t) { must(t.size() <= 125, "a long ping"), heard.push_back("ping " + std::string(t)); },
                            [&](std::string_view t) { heard.push_back("pong " + std::string(t)); },
                            [&](std::uint16_t c, std::string_view t) {
                                must(valid_utf8(t), "a reason that is no text");
                                over = true;
                                heard.push_back("close " + std::to_string(c) + std::string(t));
                            }};
    cut(bytes, seed, [&](std::string_view piece) {
        const auto fault = r.feed(piece, on);
        if (fault) heard.push_back("fault " + std::to_string(fault->code) + fault->why);
        return !fault;
    });
    return heard;
}

struct port final : net::framing_port {
    strings heard;
    bool over_ = false, ready_ = false;
    void write(std::string bytes) override { must(!bytes.empty(), "an empty write"); }
    bool idle() const override { return true; }
    void ready() override {
        must(!ready_ && !over_, "ready twice");
        ready_ = true;
    }
    void message(std::string_view text) override {
        must(ready_ && !over_, "a message at the wrong time");
        heard.emplace_back(text);
    }
    void dropped(const std::string&) override { must(false, "WebSocket drops nothing"); }
    void over(const sdk::status& s) override {
        must(!over_, "over twice");
        over_ = true;
        heard.push_back(s.message);
    }
    void finish() override {}
};

/// A whole connection. Bytes of the server; its answer to the handshake is given if they do not begin with one.
strings connection(std::string_view bytes, unsigned seed) {
    using namespace transport_websocket;
    port p;
    ws_framing f(ws_options{read_server(R"({"url":"ws://h/"})"), limit, std::chrono::seconds(30), std::chrono::seconds(10), [](std::size_t n) { return std::string(n, '\0'); }});
    net::framing::time_point now{};
    f.connected(p, now);
    if (!bytes.starts_with("HTTP")) f.received(p, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " + accept_value("AAAAAAAAAAAAAAAAAAAAAA==") + "\r\n\r\n", now);
    cut(bytes, seed, [&](std::string_view piece) {
        f.received(p, piece, now);
        return true;
    });
    if (p.ready_ && !p.over_) must(valid_utf8("x") && !f.encode("x").empty(), "a message cannot be sent");
    for (int i = 0; i < 300; ++i) f.tick(p, now += std::chrono::milliseconds(250));
    must(p.over_, "a silent server is never given up");
    must(!f.ended().message.empty(), "the end has no words");
    return p.heard;
}

void address(std::string_view text) {
    for (const bool web : {false, true})
        if (const auto a = net::parse_stream_address(text, web)) {
            must(a->unix_path.empty() ? !a->host.empty() && a->port != 0 : a->unix_path[0] == '/' && a->unix_path.size() < 108, "an address that leads nowhere");
            for (const char c : a->host + a->path) must(static_cast<unsigned char>(c) > 0x20, "a header could be smuggled");
            must(a->path[0] == '/', "a path that is none");
        }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
    const unsigned seed = data[1] + 1u;
    switch (data[0] % 5) {
        case 0: must(sse(bytes, 0) == sse(bytes, seed), "events depend on how they are cut"); break;
        case 1: must(lines(bytes, 0) == lines(bytes, seed), "lines depend on how they are cut"); break;
        case 2: must(frames(bytes, 0) == frames(bytes, seed), "frames depend on how they are cut"); break;
        case 3: must(connection(bytes, 0) == connection(bytes, seed), "a connection depends on how its bytes are cut"); break;
        case 4: address(bytes); break;
    }
    return 0;
}
