#include "llm-openai/models.hpp"

#include <nlohmann/json.hpp>

#include "llm-openai/answer_errors.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::llm_openai {
namespace {
using json = nlohmann::json;
using std::chrono::milliseconds;
constexpr milliseconds probe_connect{500}, probe_total{3'000};
constexpr std::chrono::seconds kept{5};
constexpr std::size_t max_list_bytes = 4u << 20;

std::string first_model(std::string_view body) {
    const json j = net::json_depth_within(body, net::max_json_depth) ? json::parse(body, nullptr, false) : json();
    if (!j.is_object()) return {};
    for (const char* list : {"data", "models"}) {
        const auto it = j.find(list);
        if (it == j.end() || !it->is_array() || it->empty() || !(*it)[0].is_object()) continue;
        for (const char* key : {"id", "model", "name"})
            if (const auto m = (*it)[0].find(key); m != (*it)[0].end() && m->is_string()) return m->get<std::string>();
    }
    return {};
}
}  // namespace

offer offer_of(int http, const net::headers& h, std::string_view body, const settings& s) {
    offer o;
    o.model = s.model;
    const bool ok = http >= 200 && http < 300;
    if (ok && o.model.empty()) o.model = first_model(body);
    // A server may serve chats and list no models.
    if (!o.model.empty() && (ok || http == 404 || http == 405 || http == 501)) {
        o.available = true;
        o.reason = s.origin + " answers.";
        return o;
    }
    if (ok || http == 404 || http == 405 || http == 501) {
        o.failure = {HF_E_UNAVAILABLE, s.origin + " answers but lists no model: load one, or set \"model\".", true};
    } else {
        o.failure = status_of_answer(http, h, body, s, std::chrono::system_clock::now());
    }
    o.reason = o.failure.message;
    return o;
}

void models::ask(std::function<void(const offer&)> then) {
    if (last_ && std::chrono::steady_clock::now() < fresh_until_) return then(*last_);
    waiting_.push_back(std::move(then));
    if (waiting_.size() > 1) return;  // the answer under way serves this one, too
    struct exchange {
        int status = 0;
        net::headers headers;
        std::string body;
    };
    auto x = std::make_shared<exchange>();  // owners: the three callbacks
    net::request r;
    r.url = settings_.base_url + "/models";
    r.headers = settings_.headers;
    r.headers.push_back({"Accept", "application/json"});
    // Half a second says whether something on this machine listens; the way to elsewhere is longer.
    r.timeouts = {settings_.local ? probe_connect : probe_total, milliseconds(0), probe_total};
    r.max_body_bytes = max_list_bytes;
    r.compressed = true;
    const auto id = client_.send(std::move(r), {[x](int status, const net::headers& h) { x->status = status, x->headers = h; },
                                                [x](std::string_view bytes) { x->body += bytes; },
                                                [this, x](const net::result& done) {
                                                    if (done.what == net::outcome::ok) return answered(offer_of(x->status, x->headers, x->body, settings_));
                                                    offer o;
                                                    o.model = settings_.model;
                                                    o.failure = status_of_result(done, settings_);
                                                    o.reason = o.failure.message;
                                                    answered(o);
                                                }});
    if (id == 0) answered({false, settings_.model, "too many requests are under way", {HF_E_OVERLOADED, "too many requests are under way", true}});
}

void models::answered(const offer& o) {
    last_ = o;
    fresh_until_ = std::chrono::steady_clock::now() + kept;
    std::vector<std::function<void(const offer&)>> all;
    all.swap(waiting_);
    for (const auto& f : all) f(o);
}

}  // namespace holdfast::llm_openai
