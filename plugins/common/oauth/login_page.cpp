#include "oauth/login_page.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "holdfast/status.hpp"
#include "net-server/http_server.hpp"

namespace holdfast::oauth {
namespace {

constexpr const char* path = "/callback";
constexpr std::chrono::milliseconds last_words{1'000};  // for the answer to reach the browser

web::server_limits limits() {
    web::server_limits l;
    l.max_connections = 16;  // browsers open some ahead of need
    l.body_bytes = 4 * 1024;
    l.idle_time = std::chrono::milliseconds(30'000);
    return l;
}

std::string page(bool well, std::string_view sentence) {
    std::string safe;
    for (const char c : sentence) safe += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
    return "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Holdfast</title><body style=\"font:1.1em system-ui;margin:4em\"><h1>" +
           std::string(well ? "Logged in" : "Not logged in") + "</h1><p>" + safe + "</p></body></html>";
}

class server final : public login_page, web::http_handler {
  public:
    server(int listener, on_visit visited) : visited_(std::move(visited)) {
        auto s = web::http_server::serve({.listener = listener, .limits = limits()}, *this);
        if (!s) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the login page cannot be served: " + s.error());
        server_ = std::move(*s);
    }
    ~server() override {
        if (!stopped_) server_->stop({});
    }

    std::string redirect_uri() const override { return "http://127.0.0.1:" + std::to_string(server_->port()) + path; }
    void serve(const std::function<bool()>& go_on) override {
        server_->run([&] { return go_on() && !closed_.load(); });
        if (!std::exchange(stopped_, true)) server_->stop(last_words);
    }
    void close() override { closed_.store(true); }

  private:
    void on_request(web::http_request request, web::responder respond) override {
        if (request.path != path || request.method != "GET") return respond(web::http_response::text(404, "text/plain; charset=utf-8", "There is nothing here.\n"));
        // std::function copies: the responder is shared by the copies of `show`, and whoever comes first answers.
        const auto once = std::make_shared<web::responder>(std::move(respond));
        visited_(request.query, [once](bool well, std::string_view sentence) {
            auto r = web::http_response::text(well ? 200 : 400, "text/html; charset=utf-8", page(well, sentence));
            r.headers.emplace_back("Cache-Control", "no-store");
            r.headers.emplace_back("Referrer-Policy", "no-referrer");  // the address holds the code
            r.headers.emplace_back("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
            (*once)(std::move(r));
        });
    }
    web::upgrade_answer on_upgrade(const web::http_request&) override { return {web::http_response::text(404, "text/plain; charset=utf-8", ""), nullptr, {}}; }

    const on_visit visited_;
    std::unique_ptr<web::http_server> server_;
    std::atomic<bool> closed_{false};
    bool stopped_ = false;  // by the thread in serve(); read again only when that has ended
};

}  // namespace

std::shared_ptr<login_page> login_page::open(std::uint16_t port, on_visit visited) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    if (fd >= 0) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || ::listen(fd, 16) != 0) {
        if (fd >= 0) ::close(fd);
        throw sdk::plugin_error(HF_E_UNAVAILABLE, "port " + std::to_string(port) + " of 127.0.0.1 is in use: the login page needs it; set \"redirect_port\" to another.");
    }
    return std::make_shared<server>(fd, std::move(visited));
}

}  // namespace holdfast::oauth
