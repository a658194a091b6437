// Everything OAuth reads of strangers: metadata, challenges, redirects, answers of token and registration endpoints, the file of
// credentials; first alone, then in the order of a whole login. An hour of it: tests/fuzz/run.sh oauth 3600
#include <cstdint>
#include <cstdlib>

#include "oauth/credential_file.hpp"
#include "oauth/flow.hpp"

namespace {
using namespace holdfast::oauth;
namespace net = holdfast::net;

void must(bool held) {
    if (!held) std::abort();
}

std::string lower(std::string text) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return text;
}

template <class F>
void allow_refusal(F f) {
    try {
        f();
    } catch (const holdfast::sdk::plugin_error&) {
    }
}

// Parts are separated by 0xFF, which is in no UTF-8.
std::string_view part(std::string_view& rest) {
    const auto end = rest.find('\xFF');
    const auto out = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return out;
}

void alone(std::string_view text) {
    const std::string whole(text), server = "https://mcp.example/mcp", issuer = "https://as.example";
    allow_refusal([&] { must(covers(read_resource_metadata(text, server).resource, server)); });
    allow_refusal([&] { must(read_server_metadata(text, issuer).issuer == issuer); });
    allow_refusal([&] { (void)read_credentials(write_credentials(read_credentials(text))); });
    const challenge c = read_challenge({{"WWW-Authenticate", whole}});
    for (const auto& s : c.scopes) must(valid_scope(s));
    must(c.scopes.size() <= max_scopes);
    for (const int status : {200, 400, 500}) {
        const token_answer a = read_token_answer(status, text);
        must(a.access_token.empty() == !a.error.empty());
        grant g;
        if (!a.access_token.empty()) accept(g, a, wall_time(std::chrono::seconds(1'000'000'000)));
        server_metadata m;
        m.issuer = issuer;
        allow_refusal([&] { must(!read_registration(status, text, m, "http://127.0.0.1:1/callback").client.client_id.empty()); });
    }
    if (const auto f = form_decode(text)) must(form_decode(form_encode(*f)) == f);
    for (const auto r : {reach::everywhere, reach::machine}) (void)refusal(text, server, r);
    (void)reach_of(text);
    allow_refusal([&] { (void)read_auth(text.empty() ? "{}" : text.front() == '{' ? text : std::string_view("{}")); });
}

// A login at a public server: wherever it is led, nothing inside the network may be asked, and no code may leave for a stranger.
void login(std::string_view rest) {
    const std::string issuer = "https://as.example";
    const auto choices = part(rest);
    flow_inputs in{{}, "https://mcp.example/mcp", {}, std::nullopt, {}, {}, "http://127.0.0.1:5/callback", "state", "verifier"};
    if (!choices.empty() && choices[0] & 1) in.known = refused{{}, reach::everywhere};
    if (!choices.empty() && choices[0] & 2) in.own.issuer = issuer;
    flow f(in);
    next_step s = f.start();
    const wall_time now(std::chrono::seconds(1'000'000'000));
    for (int turns = 0; turns < 40; ++turns) {
        if (const auto* ask = std::get_if<step::fetch>(&s)) {
            if (ask->what.url != in.server_url) {
                must(lower(ask->what.url.substr(0, 8)) == "https://");
                must(ask->what.may_connect && !ask->what.may_connect("127.0.0.1") && !ask->what.may_connect("10.0.0.1") && !ask->what.may_connect("169.254.169.254"));
            }
            answer a;
            a.result.address = "203.0.113.9";
            const auto head = part(rest);
            a.result.status = head.empty() ? 404 : head[0] == 'r' ? 302 : head[0] == 'u' ? 401 : head[0] == 'e' ? 500 : head[0] == 'n' ? 404 : 200;
            if (head.size() > 1) a.headers = {{a.result.status == 302 ? "location" : "www-authenticate", std::string(head.substr(1))}};
            a.body = part(rest);
            s = f.on_answer(a, now);
        } else if (const auto* v = std::get_if<step::visit>(&s)) {
            must(lower(v->url.substr(0, 8)) == "https://");
            auto next = f.on_redirect(part(rest));
            if (!next) return;
            s = std::move(*next);
        } else {
            if (const auto* d = std::get_if<step::done>(&s)) must(!d->got.access_token.empty() && d->got.issuer == f.issuer() && covers(d->got.resource, in.server_url));
            return;
        }
    }
    must(false);  // a login has an end
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    alone(text);
    login(text);
    return 0;
}
