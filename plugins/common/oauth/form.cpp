#include "oauth/form.hpp"

#include <algorithm>

namespace holdfast::oauth {
namespace {
int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}
std::optional<std::string> decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+') {
            out += ' ';
        } else if (text[i] == '%') {
            if (i + 2 >= text.size()) return std::nullopt;
            const int high = hex(text[i + 1]), low = hex(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            out += static_cast<char>(high * 16 + low);
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}
}  // namespace

std::string form_encode(std::string_view text) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            const auto u = static_cast<unsigned char>(c);
            out += '%';
            out += digits[u >> 4];
            out += digits[u & 15];
        }
    }
    return out;
}

std::string form_encode(const fields& all) {
    std::string out;
    for (const auto& [name, value] : all) {
        if (!out.empty()) out += '&';
        out += form_encode(name) + "=" + form_encode(value);
    }
    return out;
}

std::optional<fields> form_decode(std::string_view text) {
    fields out;
    while (!text.empty()) {
        const std::string_view one = text.substr(0, text.find('&'));
        text.remove_prefix(std::min(one.size() + 1, text.size()));
        if (one.empty()) continue;
        const auto eq = one.find('=');
        auto name = decoded(one.substr(0, eq));
        auto value = eq == std::string_view::npos ? std::optional<std::string>("") : decoded(one.substr(eq + 1));
        if (!name || !value || out.size() >= max_form_fields) return std::nullopt;
        out.emplace_back(std::move(*name), std::move(*value));
    }
    return out;
}

std::optional<std::string> sole(const fields& all, std::string_view name) {
    std::optional<std::string> found;
    for (const auto& [n, value] : all) {
        if (n != name) continue;
        if (found) return std::nullopt;
        found = value;
    }
    return found;
}

bool repeated(const fields& all, std::string_view name) {
    return std::count_if(all.begin(), all.end(), [name](const auto& f) { return f.first == name; }) > 1;
}

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::string_view one = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(one.size() + 1, text.size()));
        if (!one.empty()) unite(out, {std::string(one)});
    }
    return out;
}

std::string joined(const std::vector<std::string>& all) {
    std::string out;
    for (const auto& one : all) out += (out.empty() ? "" : " ") + one;
    return out;
}

void unite(std::vector<std::string>& into, const std::vector<std::string>& more) {
    for (const auto& one : more)
        if (std::find(into.begin(), into.end(), one) == into.end()) into.push_back(one);
}

bool includes(const std::vector<std::string>& all, const std::vector<std::string>& some) {
    return std::all_of(some.begin(), some.end(), [&](const auto& one) { return std::find(all.begin(), all.end(), one) != all.end(); });
}

}  // namespace holdfast::oauth
