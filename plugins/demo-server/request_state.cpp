#include "request_state.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <cstdlib>
#include <ctime>

namespace holdfast::demo {
namespace {

constexpr std::int64_t lifetime_s = 600;

std::string to_hex(const unsigned char* bytes, std::size_t size) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(size * 2);
    for (std::size_t i = 0; i < size; ++i) {
        out += digits[bytes[i] >> 4];
        out += digits[bytes[i] & 15];
    }
    return out;
}

int nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

bool from_hex(std::string_view text, std::string& out) {
    if (text.size() % 2 != 0) return false;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = nibble(text[i]), low = nibble(text[i + 1]);
        if (high < 0 || low < 0) return false;
        out += static_cast<char>(high * 16 + low);
    }
    return true;
}

/// Boot-relative, so that a step of the wall clock neither revives nor kills a state.
std::int64_t seconds_now() {
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec;
}

}  // namespace

request_state::request_state() {
    // Without randomness there is no integrity; nothing sensible can follow.
    if (::getrandom(key_.data(), key_.size(), 0) != static_cast<ssize_t>(key_.size())) std::abort();
}

std::string request_state::tag(std::string_view text, std::string_view request) const {
    std::string input = std::to_string(text.size()) + ":";
    input.append(text).append(request);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(input.data()),
         input.size(), mac, &size);
    return to_hex(mac, size);
}

std::string request_state::seal(const json& payload, std::string_view request) const {
    std::uint64_t nonce = 0;
    if (::getrandom(&nonce, sizeof nonce, 0) != sizeof nonce) std::abort();
    const std::string text = dump({{"payload", payload}, {"nonce", nonce}, {"expires", seconds_now() + lifetime_s}});
    return to_hex(reinterpret_cast<const unsigned char*>(text.data()), text.size()) + "." + tag(text, request);
}

outcome request_state::open(std::string_view state, std::string_view request) const {
    const auto refuse = [](const char* why) {
        return fail_with(code::invalid_params, std::string("Invalid params: requestState ") + why +
                                                   "; send the request again without it");
    };
    const auto dot = state.find('.');
    std::string text;
    if (dot == std::string_view::npos || !from_hex(state.substr(0, dot), text)) return refuse("is not one of ours");
    const std::string expected = tag(text, request);
    const std::string_view given = state.substr(dot + 1);
    if (given.size() != expected.size() || CRYPTO_memcmp(given.data(), expected.data(), expected.size()) != 0)
        return refuse("failed its integrity check");
    auto parsed = parse_json(text);
    if (!parsed) return refuse("cannot be read");
    if (int_or(*parsed, "expires", 0) < seconds_now()) return refuse("has expired");
    return member(*parsed, "payload");
}

}  // namespace holdfast::demo
