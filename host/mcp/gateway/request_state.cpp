#include "mcp/gateway/request_state.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <charconv>
#include <cstdlib>

namespace holdfast::mcp::gateway {
namespace {

constexpr std::size_t max_state_bytes = 256;

std::string hex(const unsigned char* bytes, std::size_t n) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(n * 2);
    for (std::size_t i = 0; i < n; ++i) {
        out += digits[bytes[i] >> 4];
        out += digits[bytes[i] & 15];
    }
    return out;
}

template <class T>
bool number(std::string_view& text, T& out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (failed != std::errc() || end == text.data() + text.size() || *end != '.') return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
    return true;
}

}  // namespace

state_seal::state_seal() {
    if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) std::abort();  // without randomness nothing here is safe
}

std::string state_seal::tag(std::string_view payload, std::string_view principal, std::string_view request) const {
    std::string text;
    for (auto part : {payload, principal, request}) {  // lengths first: no two triples look alike
        text += std::to_string(part.size()) + ':';
        text += part;
    }
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (!HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, &length)) std::abort();
    return hex(mac, length);
}

std::string state_seal::seal(const carried& c, std::string_view principal, std::string_view request) const {
    const std::string payload = std::to_string(c.call) + '.' + std::to_string(c.round) + '.' + std::to_string(c.expires_ms) + '.';
    return payload + tag(payload, principal, request);
}

result<carried> state_seal::open(std::string_view state, std::string_view principal, std::string_view request, steady_time now) const {
    const auto refused = fail(errc::invalid_argument, "requestState is not valid for this request; start it again without one");
    if (state.size() > max_state_bytes) return refused;
    carried c;
    std::string_view rest = state;
    if (!number(rest, c.call) || !number(rest, c.round) || !number(rest, c.expires_ms)) return refused;
    const std::string expected = tag(state.substr(0, state.size() - rest.size()), principal, request);
    if (rest.size() != expected.size() || CRYPTO_memcmp(rest.data(), expected.data(), expected.size()) != 0) return refused;
    if (std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count() > c.expires_ms)
        return fail(errc::invalid_argument, "the time for answering is over; start the request again without requestState");
    return c;
}

std::string digest_of(std::string_view text) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha256(), nullptr) != 1) std::abort();
    return hex(digest, length);
}

}  // namespace holdfast::mcp::gateway
