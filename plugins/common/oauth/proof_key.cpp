#include "oauth/proof_key.hpp"

#include <openssl/evp.h>
#include <sys/random.h>

#include <array>
#include <stdexcept>

#include "net-client/http_text.hpp"

namespace holdfast::oauth {
namespace {
std::string base64url(std::string_view bytes) {
    std::string out = net::base64(bytes);
    while (!out.empty() && out.back() == '=') out.pop_back();
    for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
    return out;
}
}  // namespace

std::string unguessable() {
    std::array<char, 32> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) throw std::runtime_error("the system gives no random bytes");
    return base64url({bytes.data(), bytes.size()});
}

std::string s256(std::string_view verifier) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int n = 0;
    if (EVP_Digest(verifier.data(), verifier.size(), digest.data(), &n, EVP_sha256(), nullptr) != 1) throw std::runtime_error("no SHA-256");
    return base64url({reinterpret_cast<const char*>(digest.data()), n});
}

}  // namespace holdfast::oauth
