#include "kernel/plugins/abi_errors.hpp"

#include <cstring>

namespace holdfast::plugins {
namespace {

struct pair {
    std::int32_t abi;
    errc code;
};
// The first match counts in each direction.
constexpr pair table[] = {
    {HF_E_INTERNAL, errc::plugin_failed},    {HF_E_INVALID, errc::invalid_argument}, {HF_E_NOT_FOUND, errc::not_found},
    {HF_E_EXISTS, errc::already_exists},     {HF_E_UNSUPPORTED, errc::plugin_failed}, {HF_E_STATE, errc::unavailable},
    {HF_E_TIMEOUT, errc::timeout},           {HF_E_CANCELLED, errc::cancelled},      {HF_E_UNAVAILABLE, errc::unavailable},
    {HF_E_OVERLOADED, errc::overloaded},     {HF_E_TRANSPORT, errc::transport_lost}, {HF_E_PROTOCOL, errc::protocol_error},
    {HF_E_PEER, errc::server_error},         {HF_E_IO, errc::io_error},              {HF_E_READ_ONLY, errc::read_only},
    {HF_E_CORRUPT, errc::corrupt},           {HF_E_AUTH, errc::unauthorized},        {HF_E_RATE_LIMITED, errc::rate_limited},
    {HF_E_COMMAND_NOT_FOUND, errc::command_not_found},
    // host → plugin only
    {HF_E_AUTH, errc::forbidden},            {HF_E_NOT_FOUND, errc::session_not_found}, {HF_E_NOT_FOUND, errc::server_not_found},
    {HF_E_EXISTS, errc::server_already_exists}, {HF_E_OVERLOADED, errc::max_overflow_reached}, {HF_E_OVERLOADED, errc::max_children},
    {HF_E_UNAVAILABLE, errc::restarting},    {HF_E_UNAVAILABLE, errc::unavailable}, {HF_E_INVALID, errc::config_invalid}, {HF_E_STATE, errc::stale},
};

}  // namespace

error from_abi(std::int32_t code, const hf_error* err) {
    error out{errc::plugin_failed, {}};
    for (const auto& p : table) {
        if (p.abi != code) continue;
        out.code = p.code;
        break;
    }
    if (err != nullptr) {
        out.message.assign(err->message, strnlen(err->message, sizeof err->message));
        if (err->retry_after_ms > 0 && err->retry_after_ms < 86'400'000'000) out.retry_after = milliseconds(err->retry_after_ms);
        if (err->peer_status != 0 && code == HF_E_PEER) out.message += " (status " + std::to_string(err->peer_status) + ")";
    }
    if (out.message.empty()) out.message = "the plugin answered with error " + std::to_string(code) + " and no message";
    return out;
}

std::int32_t to_abi(errc code) noexcept {
    if (code == errc::unavailable) return HF_E_UNAVAILABLE;
    for (const auto& p : table)
        if (p.code == code) return p.abi;
    return HF_E_INTERNAL;
}

hf_error make_hf_error(const error& e) noexcept {
    hf_error out = empty_hf_error();
    out.code = to_abi(e.code);
    out.retryable = e.retry_after.count() > 0 ? 1 : 0;
    out.retry_after_ms = e.retry_after.count();
    std::size_t n = std::min(e.message.size(), sizeof out.message - 1);
    while (n > 0 && n < e.message.size() && (static_cast<unsigned char>(e.message[n]) & 0xC0) == 0x80) --n;  // whole characters only
    std::memcpy(out.message, e.message.data(), n);
    return out;
}

std::int32_t fill(hf_error* out, const error& e) noexcept {
    const hf_error full = make_hf_error(e);
    if (out != nullptr && out->size >= sizeof(std::uint32_t)) {
        const auto size = out->size;  // the plugin may know a shorter struct
        std::memcpy(out, &full, std::min<std::size_t>(size, sizeof full));
        out->size = size;
    }
    return full.code;
}

void give(hf_buf* out, std::string text) {
    auto* owned = new std::string(std::move(text));
    out->data = owned->data();
    out->length = owned->size();
    out->owner = owned;
    out->release = [](hf_buf* b) {
        delete static_cast<std::string*>(b->owner);
        b->data = nullptr, b->length = 0, b->owner = nullptr, b->release = nullptr;
    };
}

std::string take(hf_buf& buf) {
    std::string out;
    if (buf.data != nullptr) out.assign(static_cast<const char*>(buf.data), buf.length);
    if (buf.release != nullptr) buf.release(&buf);
    return out;
}

}  // namespace holdfast::plugins
