#include "mcp/client_machine.hpp"

#include <charconv>

#include "mcp/client_impl.hpp"

namespace holdfast::mcp {

std::string quote(std::string_view text) {
    std::string out;
    for (unsigned char c : text.substr(0, max_peer_text)) out += c < 0x20 || c == 0x7f ? ' ' : static_cast<char>(c);
    if (text.size() > max_peer_text) out += "…";
    return out;
}

error peer_error(const rpc_error& e) {
    return {errc::server_error, "the server answered with error " + std::to_string(e.code) + ": " + quote(e.message)};
}

client_machine::client_machine(client_options options) : impl_(std::make_unique<impl>(std::move(options))) {}
client_machine::~client_machine() = default;
client_machine::client_machine(client_machine&&) noexcept = default;
client_machine& client_machine::operator=(client_machine&&) noexcept = default;

void client_machine::on(client_event event, steady_time now, std::vector<client_action>& out) {
    impl& m = *impl_;
    m.last_now = now;
    if (auto* e = std::get_if<in::call>(&event)) return m.start_call(std::move(*e), now, out);
    if (auto* e = std::get_if<in::probe>(&event)) return m.start_probe(std::move(*e), now, out);
    if (m.at == impl::phase::over) return;
    if (std::get_if<in::opened>(&event)) {
        if (m.at != impl::phase::idle) return;
        m.hinted = m.options.known == era::legacy;
        if (m.hinted)
            m.initialize(std::string(legacy_versions.front()), now, out);
        else
            m.probe_era(now, out);
    } else if (auto* e = std::get_if<in::message>(&event)) {
        m.on_message(e->text, now, out);
    } else if (auto* e = std::get_if<in::request_failed>(&event)) {
        m.on_request_lost(e->request_id, e->why, e->peer_status, true, now, out);
    } else if (auto* e = std::get_if<in::send_failed>(&event)) {
        m.on_request_lost(e->request_id, e->why, 0, false, now, out);
    } else if (auto* e = std::get_if<in::closed>(&event)) {
        m.on_closed(e->why, now, out);
    } else if (auto* e = std::get_if<in::cancel>(&event)) {
        m.cancel_call(e->id, {errc::cancelled, e->reason.empty() ? "cancelled by the caller" : e->reason}, now, out);
    } else if (auto* e = std::get_if<in::answer>(&event)) {
        m.answer(std::move(*e), now, out);
    } else if (auto* e = std::get_if<in::watch>(&event)) {
        if (m.at == impl::phase::ready) m.watch(std::move(e->uris), now, out);
        else m.options.watched = std::move(e->uris);
    } else if (auto* e = std::get_if<in::log_level>(&event)) {
        if (m.at == impl::phase::ready) m.set_log_level(std::move(e->level), now, out);
        else m.options.log_level = std::move(e->level);
    } else if (std::get_if<in::refresh>(&event)) {
        if (m.at == impl::phase::ready)
            for (std::size_t k = 0; k < impl::list_kinds; ++k) m.want_list(static_cast<impl::list_kind>(k), now, out);
    } else {
        m.on_tick(now, out);
    }
}

namespace {

/// Takes "<request id>\n" from the front. Ours are numbers; a message begins with a bracket, so there is no doubt.
std::string_view cut_stream(std::string_view text, std::uint64_t& request) {
    const char* const end = text.data() + text.size();
    const auto [after, wrong] = std::from_chars(text.data(), end, request);
    if (wrong != std::errc() || after == end || *after != '\n') {
        request = 0;
        return text;
    }
    return text.substr(static_cast<std::size_t>(after - text.data()) + 1);
}

/// Of a wish to be told of changes: anything but "I do not take this", and until it is taken they are told to nobody.
bool may_pass(int code) {
    return code != rpc_code::method_not_found && code != rpc_code::invalid_params && code != rpc_code::resource_not_found;
}

}  // namespace

void client_machine::impl::on_message(std::string_view whole, steady_time now, actions& out) {
    if (at == phase::idle) return;
    ++counters.received;
    on_stream_of = 0;
    on_text(cut_stream(whole, on_stream_of), now, out);
    on_stream_of = 0;
}

void client_machine::impl::on_text(std::string_view text, steady_time now, actions& out) {
    if (speaks_batches() && !text.empty() && text.front() == '[' && text.size() <= max_message_bytes) {
        auto batch = parse_json(text);
        if (!batch) return violation(counters.garbage, batch.error().message, out);
        for (json& one : *batch) {
            auto message = decode_value(std::move(one));
            if (at == phase::over) return;
            if (message) on_rpc(std::move(*message), now, out);
            else violation(counters.garbage, message.error().message, out);
        }
        return;
    }
    auto message = decode(text);
    if (!message) return violation(counters.garbage, message.error().message + " — " + quote(text), out);
    on_rpc(std::move(*message), now, out);
}

/// Only that revision has them; the answer to initialize is never in one.
bool client_machine::impl::speaks_batches() const { return identity.version == "2025-03-26"; }

void client_machine::impl::on_rpc(rpc_message message, steady_time now, actions& out) {
    if (auto* r = std::get_if<rpc_response>(&message))
        on_response(std::move(*r), now, out);
    else if (auto* q = std::get_if<rpc_request>(&message))
        on_server_request(*q, now, out);
    else
        on_notification(std::get<rpc_notification>(message), now, out);
}

void client_machine::impl::on_response(rpc_response r, steady_time now, actions& out) {
    if (!r.id.is_number_integer() || r.id.get<std::int64_t>() <= 0 || r.id.get<std::uint64_t>() >= next_id)
        return violation(counters.foreign, "an answer to a request that was never made, id " + quote(id_text(r.id)), out);
    const auto rpc = r.id.get<std::uint64_t>();
    auto it = pending.find(rpc);
    if (it == pending.end()) {
        if (auto late = std::find(forgotten.begin(), forgotten.end(), rpc); late != forgotten.end()) {
            forgotten.erase(late);
            ++counters.late;  // it crossed our cancellation: legal
            return;
        }
        return violation(counters.repeated, "a second answer to request " + std::to_string(rpc), out);
    }
    const waiting w = it->second;
    pending.erase(it);
    violations_in_row = 0;
    switch (w.what) {
        case purpose::discover: return on_discovered(r, now, out);
        case purpose::initialize: return on_initialized(r, now, out);
        case purpose::list: return on_page(static_cast<list_kind>(w.subject), r, now, out);
        case purpose::listen:
            if (r.error) out.push_back(out::log{true, "subscriptions/listen: " + peer_error(*r.error).message});
            return listen_ended(rpc, !r.error || may_pass(r.error->code), now, out);
        case purpose::watch:
            if (r.error) out.push_back(out::log{true, "what the server should tell: " + peer_error(*r.error).message});
            if (r.error && may_pass(r.error->code)) return not_subscribed(w.uri, now);
            if (!w.uri.empty()) now_covered(w.uri, out);
            if (!r.error) listen_retry = retry_first;
            return;
        case purpose::call: return on_call_answer(w.subject, r, now, out);
        case purpose::probe: return on_probe_answer(w.subject, w, r, now, out);
    }
}

void client_machine::impl::on_request_lost(const std::string& id, const error& why, int status, bool was_sent, steady_time now,
                                           actions& out) {
    const auto parsed = parse_json(id);
    if (!parsed) return;
    auto rpc = parsed->is_number_integer() ? parsed->get<std::uint64_t>() : 0;
    if (parsed->is_null()) {  // some answer was lost on the way (a line too long); with one request waiting it was that one's
        std::size_t waiting_now = 0;
        for (const auto& [other, w] : pending)
            if (w.what != purpose::listen && ++waiting_now == 1) rpc = other;
        if (waiting_now != 1) return violation(counters.garbage, why.message, out);
        ++counters.garbage;
    }
    auto it = pending.find(rpc);
    if (it == pending.end()) return;
    const waiting w = it->second;
    pending.erase(it);
    switch (w.what) {
        case purpose::discover:
        case purpose::initialize: return on_connect_lost(w.what, why, status, now, out);
        case purpose::list: return list_failed(static_cast<list_kind>(w.subject), why, false, now, out);
        case purpose::listen: return listen_ended(rpc, true, now, out);
        case purpose::watch:
            out.push_back(out::log{true, "what the server should tell: " + why.message});
            return not_subscribed(w.uri, now);
        case purpose::probe: out.push_back(out::probed{w.subject, tl::unexpected(why), now - w.sent}); return;
        case purpose::call: {
            auto c = calls.find(w.subject);
            if (c == calls.end()) return;
            c->second.rpc = 0;
            if (!was_sent && c->second.rounds == 0) c->second.sent = false;
            return end_call(w.subject, tl::unexpected(why), now, out);
        }
    }
}

void client_machine::impl::on_closed(const error& why, steady_time now, actions& out) {
    at = phase::over;
    // O7: at once, not each at its own timeout.
    for (auto& [rpc, w] : pending)
        if (w.what == purpose::probe) out.push_back(out::probed{w.subject, tl::unexpected(why), now - w.sent});
    pending.clear();
    while (!calls.empty())
        end_call(calls.begin()->first, fail(errc::transport_lost, "the connection was lost: " + why.message), now, out);
}

void client_machine::impl::give_up(error why, steady_time now, actions& out) {
    if (at == phase::over) return;
    on_closed(why, now, out);
    out.push_back(out::failed{std::move(why)});
}

void client_machine::impl::violation(std::uint64_t& counter, std::string what, actions& out) {
    ++counter;
    out.push_back(out::log{true, "protocol: " + std::move(what)});
    if (++violations_in_row <= options.limits.max_violations) return;
    give_up({errc::protocol_error, "the server sent " + std::to_string(violations_in_row) +
                                       " messages in a row that the protocol forbids; look at its log"}, last_now, out);
}

std::uint64_t client_machine::impl::send(purpose what, std::uint64_t subject, std::string_view method, json params,
                                         json capabilities, std::optional<milliseconds> deadline, steady_time now, actions& out) {
    const std::uint64_t id = next_id++;
    if (identity.detected == era::modern || what == purpose::discover) {
        json& m = params["_meta"];
        m[meta::protocol_version] = modern_version;
        m[meta::client_info] = options.client_info;
        m[meta::client_capabilities] = std::move(capabilities);
    }
    waiting w{what, subject, now, {}};
    if (deadline) w.deadline = now + *deadline;
    pending.emplace(id, w);
    ++counters.sent;
    out.push_back(out::send{encode_request(id, method, params), std::to_string(id)});
    return id;
}

void client_machine::impl::forget(std::uint64_t rpc) {
    pending.erase(rpc);
    forgotten.push_back(rpc);
    if (forgotten.size() > max_forgotten_ids) forgotten.pop_front();
}

/// We no longer want the answer; the server is told the way its transport has for it.
void client_machine::impl::stop_waiting(std::uint64_t rpc, std::string_view reason, actions& out) {
    if (!pending.count(rpc)) return;
    forget(rpc);
    // A legacy HTTP server does not take a closed stream for a cancellation; a modern one does and expects no message.
    if (!options.http || identity.detected == era::legacy)
        out.push_back(out::send{encode_notification("notifications/cancelled", {{"requestId", rpc}, {"reason", reason}}), {}});
    if (options.http) out.push_back(out::abandon{std::to_string(rpc)});
}

std::optional<steady_time> client_machine::impl::next_deadline() const {
    std::optional<steady_time> first;
    const auto consider = [&](const std::optional<steady_time>& t) {
        if (t && (!first || *t < *first)) first = t;
    };
    if (at == phase::over) return first;
    for (const auto& [id, w] : pending) consider(w.deadline);
    for (const auto& [id, c] : calls) consider(call_deadline(c));
    for (const auto& run : runs) consider(run.due);
    if (opening.rpc == 0) consider(listen_due);  // else its acknowledgement or its end looks again
    return first;
}

void client_machine::impl::on_tick(steady_time now, actions& out) {
    std::vector<std::uint64_t> expired;
    for (const auto& [id, w] : pending)
        if (w.deadline && *w.deadline <= now) expired.push_back(id);
    for (auto rpc : expired) {
        auto it = pending.find(rpc);
        if (it == pending.end() || at == phase::over) continue;
        on_expired(rpc, it->second, now, out);
    }
    std::vector<call_id> slow;
    for (const auto& [id, c] : calls)
        if (auto d = call_deadline(c); d && *d <= now) slow.push_back(id);
    for (auto id : slow) expire_call(id, now, out);
    for (std::size_t k = 0; k < list_kinds; ++k)
        if (runs[k].due && *runs[k].due <= now) start_list(static_cast<list_kind>(k), now, out);
    if (listen_due && *listen_due <= now) follow_watched(now, out);
}

void client_machine::impl::on_expired(std::uint64_t rpc, waiting w, steady_time now, actions& out) {
    const auto took = std::chrono::duration_cast<milliseconds>(now - w.sent).count();
    const error why{errc::timeout, "no answer within " + std::to_string(took) + " ms"};
    switch (w.what) {
        case purpose::discover:
            if (at == phase::probing && !options.http && initializes == 0) {
                // Silence means legacy; but a slow modern server may still answer, so the id stays known.
                pending[rpc].deadline.reset();
                out.push_back(out::log{false, "no answer to server/discover: trying initialize"});
                return initialize(std::string(legacy_versions.front()), now, out);
            }
            return give_up(why, now, out);
        case purpose::initialize: return give_up(why, now, out);
        case purpose::list:
            stop_waiting(rpc, "timeout", out);
            return list_failed(static_cast<list_kind>(w.subject), why, false, now, out);
        case purpose::probe:
            stop_waiting(rpc, "timeout", out);
            out.push_back(out::probed{w.subject, tl::unexpected(why), now - w.sent});
            return;
        case purpose::watch:
            stop_waiting(rpc, "timeout", out);
            out.push_back(out::log{true, "what the server should tell: " + why.message});
            return not_subscribed(w.uri, now);
        case purpose::listen:
        case purpose::call: return;  // have no deadline here
    }
}

std::optional<steady_time> client_machine::next_deadline() const { return impl_->next_deadline(); }
bool client_machine::is_ready() const noexcept { return impl_->at == impl::phase::ready; }
bool client_machine::is_over() const noexcept { return impl_->at == impl::phase::over; }
bool client_machine::is_reading_tools() const noexcept { return impl_->runs[impl::tools].running || impl_->runs[impl::tools].due; }
const server_identity& client_machine::identity() const noexcept { return impl_->identity; }
const client_counters& client_machine::counters() const noexcept { return impl_->counters; }
std::size_t client_machine::pending_calls() const noexcept { return impl_->calls.size(); }

std::string_view client_machine::phase() const noexcept {
    switch (impl_->at) {
        case impl::phase::idle: return "idle";
        case impl::phase::probing: return "probing";
        case impl::phase::initializing: return "initializing";
        case impl::phase::listing: return "listing";
        case impl::phase::ready: return "ready";
        case impl::phase::over: return "over";
    }
    return "over";
}

}  // namespace holdfast::mcp
