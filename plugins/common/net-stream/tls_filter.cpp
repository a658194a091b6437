#include "net-stream/tls_filter.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <new>

namespace holdfast::net {
namespace {
template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* p) const {
        Free(p);
    }
};
bool numeric(const std::string& host) {
    unsigned char any[sizeof(in6_addr)];
    return inet_pton(AF_INET, host.c_str(), any) == 1 || inet_pton(AF_INET6, host.c_str(), any) == 1;
}
}  // namespace

struct tls_filter::impl {
    std::unique_ptr<SSL_CTX, freed_by<&SSL_CTX_free>> context;
    std::unique_ptr<SSL, freed_by<&SSL_free>> ssl;
    BIO* in = nullptr;   // owned by ssl
    BIO* out = nullptr;  // owned by ssl
};

tls_filter::tls_filter(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
tls_filter::~tls_filter() = default;

std::unique_ptr<tls_filter> tls_filter::client(const std::string& host, const std::string& ca_file) {
    auto i = std::make_unique<impl>();
    ERR_clear_error();
    i->context.reset(SSL_CTX_new(TLS_client_method()));
    if (!i->context) throw std::bad_alloc();
    SSL_CTX* const c = i->context.get();
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    const bool trust = ca_file.empty() ? SSL_CTX_set_default_verify_paths(c) == 1 : SSL_CTX_load_verify_locations(c, ca_file.c_str(), nullptr) == 1;
    i->ssl.reset(SSL_new(c));
    i->in = BIO_new(BIO_s_mem());
    i->out = BIO_new(BIO_s_mem());
    if (!i->ssl || !i->in || !i->out) throw std::bad_alloc();
    BIO_set_mem_eof_return(i->in, -1);
    BIO_set_mem_eof_return(i->out, -1);
    SSL* const s = i->ssl.get();
    SSL_set_bio(s, i->in, i->out);
    SSL_set_connect_state(s);
    if (numeric(host)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s), host.c_str());
    } else {
        SSL_set_hostflags(s, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        SSL_set1_host(s, host.c_str());
        SSL_set_tlsext_host_name(s, host.c_str());
    }
    std::unique_ptr<tls_filter> f(new tls_filter(std::move(i)));
    if (!trust) f->fail("the file of certificate authorities cannot be read");
    return f;
}

tls_filter::state tls_filter::fail(const std::string& otherwise) {
    const auto code = ERR_peek_last_error();
    const long verdict = SSL_get_verify_result(impl_->ssl.get());
    if (verdict != X509_V_OK)
        why_ = X509_verify_cert_error_string(verdict);
    else if (const char* reason = code ? ERR_reason_error_string(code) : nullptr)
        why_ = reason;
    else
        why_ = otherwise;
    ERR_clear_error();
    return state_ = state::failed;
}

tls_filter::state tls_filter::feed(std::string_view cipher, std::string& plain) {
    if (state_ == state::failed || state_ == state::ended) return state_;
    ERR_clear_error();
    SSL* const s = impl_->ssl.get();
    if (!cipher.empty()) BIO_write(impl_->in, cipher.data(), static_cast<int>(cipher.size()));
    if (state_ == state::shaking) {
        const int r = SSL_do_handshake(s);
        if (r != 1) {
            const int e = SSL_get_error(s, r);
            if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return state_;
            return fail("the handshake failed");
        }
        state_ = state::open;
    }
    char piece[16 * 1024];
    for (;;) {
        const int n = SSL_read(s, piece, sizeof piece);
        if (n > 0) {
            plain.append(piece, static_cast<std::size_t>(n));
            continue;
        }
        const int e = SSL_get_error(s, n);
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) return state_;
        if (e == SSL_ERROR_ZERO_RETURN) return state_ = state::ended;
        return fail("the connection was disturbed");
    }
}

bool tls_filter::write(std::string_view plain) {
    ERR_clear_error();
    while (!plain.empty()) {
        const int n = SSL_write(impl_->ssl.get(), plain.data(), static_cast<int>(std::min<std::size_t>(plain.size(), 1u << 20)));
        if (n <= 0) {
            fail("the connection was disturbed");
            return false;
        }
        plain.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

void tls_filter::close() {
    ERR_clear_error();
    if (state_ == state::open) SSL_shutdown(impl_->ssl.get());
}

std::string tls_filter::take_output() {
    std::string out;
    const auto pending = BIO_ctrl_pending(impl_->out);
    out.resize(pending);
    if (pending) BIO_read(impl_->out, out.data(), static_cast<int>(pending));
    return out;
}

}  // namespace holdfast::net
