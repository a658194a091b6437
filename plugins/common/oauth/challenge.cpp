#include "oauth/challenge.hpp"

#include "net-client/http_text.hpp"
#include "oauth/form.hpp"

namespace holdfast::oauth {
namespace {

bool word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// One header value: challenges and their parameters, separated by commas alike. A word followed by '=' is a parameter, any
// other word begins a challenge; what looks like neither (token68) is passed over.
struct reader {
    std::string_view rest;

    void skip(std::string_view what) {
        while (!rest.empty() && what.find(rest.front()) != std::string_view::npos) rest.remove_prefix(1);
    }
    std::string_view word() {
        std::size_t n = 0;
        while (n < rest.size() && word_char(rest[n])) ++n;
        const auto out = rest.substr(0, n);
        rest.remove_prefix(n);
        return out;
    }
    std::string value() {
        if (rest.empty() || rest.front() != '"') return std::string(word());
        std::string out;
        for (rest.remove_prefix(1); !rest.empty() && rest.front() != '"'; rest.remove_prefix(1)) {
            if (rest.front() == '\\' && rest.size() > 1) rest.remove_prefix(1);
            out += rest.front();
        }
        if (!rest.empty()) rest.remove_prefix(1);
        return out;
    }
};

void read_into(challenge& out, std::string_view text) {
    reader r{text};
    bool ours = false, done = out.bearer;
    while (!r.rest.empty()) {
        r.skip(" \t,");
        const std::string_view name = r.word();
        if (name.empty()) {
            if (!r.rest.empty()) r.rest.remove_prefix(1);
            continue;
        }
        reader ahead = r;
        ahead.skip(" \t");
        if (ahead.rest.empty() || ahead.rest.front() != '=') {
            ours = !done && net::same_name(name, "bearer");
            done |= ours;
            out.bearer |= ours;
            continue;
        }
        ahead.rest.remove_prefix(1);
        ahead.skip(" \t");
        const std::string value = ahead.value();
        r = ahead;
        if (!ours) continue;
        if (net::same_name(name, "resource_metadata")) out.resource_metadata = value;
        if (net::same_name(name, "error")) out.error = error_name(value);
        if (net::same_name(name, "scope"))
            for (const auto& one : words(value))
                if (valid_scope(one) && out.scopes.size() < max_scopes) out.scopes.push_back(one);
    }
}

}  // namespace

challenge read_challenge(const net::headers& all) {
    challenge out;
    std::size_t seen = 0;
    for (const auto& h : all) {
        if (!net::same_name(h.name, "www-authenticate") || out.bearer) continue;
        seen += h.value.size();
        if (seen > max_challenge_bytes) break;
        read_into(out, h.value);
    }
    return out;
}

bool valid_scope(std::string_view scope) {
    for (const char c : scope)
        if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F || c == '"' || c == '\\') return false;
    return !scope.empty() && scope.size() <= max_scope_bytes;
}

std::string error_name(std::string_view text) {
    for (const char c : text) {
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
        if (!fine) return {};
    }
    return text.size() <= 64 ? std::string(text) : std::string();
}

}  // namespace holdfast::oauth
