#include "llm-openai/chat.hpp"

#include <random>

#include "llm-openai/answer_errors.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::llm_openai {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t max_event_bytes = 16u << 20;
constexpr std::size_t max_whole_bytes = 16u << 20;
constexpr std::size_t max_error_bytes = 64u << 10;
constexpr std::size_t max_stream_bytes = 256u << 20;
constexpr milliseconds after_the_end{2'000};  // for the server to close, so that the connection can be kept

double jitter() {
    static thread_local std::mt19937 random{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(random);
}

bool good(int status) { return status >= 200 && status < 300; }

}  // namespace

void chat_job::begin() {
    if (over_) return;  // its cancellation was posted first
    if (call_.cancelled()) return cancel();
    const auto m = request_.find("model");
    model_ = m != request_.end() && m->is_string() ? m->get<std::string>() : std::string();
    if (model_.empty()) model_ = at_.options.model;
    if (!model_.empty()) return attempt();
    at_.offers.ask([self = shared_from_this()](const offer& o) {
        if (self->over_) return;
        if (!o.available) return self->fail(o.failure);
        self->model_ = o.model;
        self->attempt();
    });
}

void chat_job::attempt() {
    net::request r;
    try {
        names_ = {};
        const json body = chat_body(request_, model_, at_.options.official, names_);
        r.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
    } catch (...) {
        return fail(sdk::current_exception_status());
    }
    if (call_.has_deadline()) {
        const auto left = std::chrono::duration_cast<milliseconds>(call_.deadline() - clock::now());
        if (left.count() <= 0) return fail({HF_E_TIMEOUT, "the chat's deadline has passed.", true});
        r.timeouts.total = left;
    }
    r.method = "POST";
    r.url = at_.options.base_url + "/chat/completions";
    r.headers = at_.options.headers;
    r.headers.push_back({"Content-Type", "application/json"});
    r.headers.push_back({"Accept", "text/event-stream, application/json"});
    r.max_body_bytes = max_stream_bytes;
    status_ = 0;
    headers_.clear();
    stream_.emplace(at_.options, names_, model_);
    sse_ = net::sse_parser(max_event_bytes);
    form_ = form::unknown;
    text_.clear();
    last_event_ = clock::now();
    const auto self = shared_from_this();
    transfer_ = at_.client.send(std::move(r), {[self](int status, const net::headers& h) { self->on_headers(status, h); },
                                               [self](std::string_view bytes) { self->on_data(bytes); },
                                               [self](const net::result& done) { self->on_done(done); }});
    if (transfer_ == 0) return fail({HF_E_OVERLOADED, "too many requests are under way.", true});
    watch(transfer_);
}

// Silence is measured between events, not bytes: a proxy's comments prove nothing about the model behind it.
void chat_job::watch(std::uint64_t transfer) {
    const auto left = std::chrono::ceil<milliseconds>(last_event_ + at_.options.idle_timeout - clock::now());
    at_.client.after(left, [weak = weak_from_this(), transfer] {
        const auto self = weak.lock();
        if (!self || self->over_ || self->transfer_ != transfer) return;
        if (clock::now() - self->last_event_ < self->at_.options.idle_timeout) return self->watch(transfer);
        self->fail({HF_E_TIMEOUT, self->at_.options.origin + " sent nothing for " + std::to_string(self->at_.options.idle_timeout.count() / 1000.0).substr(0, 6) + " s (\"idle_timeout_s\").", true});
    });
}

void chat_job::on_headers(int status, const net::headers& h) {
    status_ = status;
    headers_ = h;
    last_event_ = clock::now();
    const std::string type = net::media_type(net::find_header(h, "content-type"));
    if (type == "text/event-stream") form_ = form::events;
    else if (type == "application/json") form_ = form::whole;
}

void chat_job::on_data(std::string_view bytes) {
    if (over_) return;
    if (!good(status_)) {
        text_ += bytes.substr(0, max_error_bytes - std::min(max_error_bytes, text_.size()));
        return;
    }
    if (form_ == form::unknown) {
        const auto first = bytes.find_first_not_of(" \t\r\n");
        if (first == std::string_view::npos) return;
        form_ = bytes[first] == '{' ? form::whole : form::events;
    }
    if (form_ == form::whole) {
        last_event_ = clock::now();
        if (text_.size() + bytes.size() > max_whole_bytes) return fail({HF_E_PROTOCOL, at_.options.origin + " sent more than this client accepts."});
        text_ += bytes;
        return;
    }
    const bool fits = sse_.feed(bytes, [this](const net::sse_event& e) { on_event(e.data); });
    if (!fits && !over_) fail({HF_E_PROTOCOL, at_.options.origin + " sent an event that is too long."});
}

void chat_job::on_event(std::string_view data) {
    if (over_) return;
    last_event_ = clock::now();
    pass_on(stream_->event(data));
    if (over_) return;
    if (!stream_->failure().ok()) return fail(stream_->failure());
    if (!stream_->done_seen()) return;
    const auto transfer = std::exchange(transfer_, 0);
    conclude();
    at_.client.after(after_the_end, [&client = at_.client, transfer] { client.cancel(transfer); });
}

void chat_job::pass_on(const std::vector<std::string>& chunks) {
    for (const auto& c : chunks) call_.chunk(c);
}

void chat_job::on_done(const net::result& r) {
    if (over_) return;
    transfer_ = 0;
    const bool shown = stream_->any_content();
    if (status_ != 0 && !good(status_)) {
        // The whole error text is nice to have; the status alone decides.
        const auto now = std::chrono::system_clock::now();
        const auto why = status_of_answer(status_, headers_, text_, at_.options, now);
        if (!try_again(retry_after_answer(attempts_, status_, headers_, jitter(), now), why)) fail(why);
        return;
    }
    if (r.what == net::outcome::ok && form_ == form::whole) {
        pass_on(stream_->whole(text_));
        return conclude();
    }
    if (r.what == net::outcome::ok) {
        sse_.finish([this](const net::sse_event& e) { on_event(e.data); });
        if (!over_) conclude();
        return;
    }
    if (stream_->finished()) return conclude();  // all was said; the line broke afterwards
    auto why = status_of_result(r, at_.options);
    if (r.what == net::outcome::timed_out && call_.has_deadline() && clock::now() >= call_.deadline()) why.message = "the chat's deadline has passed.";
    if (shown || !try_again(retry_after_result(attempts_, r.what, jitter()), why)) fail(why);
}

bool chat_job::try_again(std::optional<milliseconds> wait, const sdk::status& why) {
    if (!wait || attempts_ >= at_.options.max_retries) return false;
    if (call_.has_deadline() && clock::now() + *wait >= call_.deadline()) return false;
    ++attempts_;
    at_.log.warn("asking the model again", {{"attempt", attempts_ + 1}, {"wait_ms", wait->count()}, {"http_status", why.peer_status}, {"reason", why.message}});
    return at_.client.after(*wait, [self = shared_from_this()] {
        if (!self->over_) self->attempt();
    });
}

void chat_job::conclude() {
    std::string result;
    const sdk::status s = stream_->result(result);
    finish(s, result);
}

void chat_job::cancel() { fail({HF_E_CANCELLED, "the chat was cancelled."}); }

void chat_job::fail(sdk::status s) {
    if (over_) return;
    if (transfer_) at_.client.cancel(std::exchange(transfer_, 0));
    finish(s, {});
}

void chat_job::finish(const sdk::status& s, const std::string& result) {
    if (over_) return;
    over_ = true;
    const auto keep = shared_from_this();  // `ended` may drop the last other owner
    if (s.ok()) call_.done(result);
    else call_.fail(s);
    if (ended_) ended_(*this);
}

}  // namespace holdfast::llm_openai
