#pragma once
// Just enough JSON to speak with the host without a library: writing objects, and looking up a member of one.
// Plugins that read more than a few fields should link a JSON library of their own; none crosses the ABI.
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::sdk {

/// `text` as a JSON string literal with its quotes.
inline std::string json_quote(std::string_view text) {
    static constexpr char hex[] = "0123456789abcdef";
    std::string out;
    out.reserve(text.size() + 2);
    out += '"';
    for (const char ch : text) {
        const auto c = static_cast<unsigned char>(ch);
        switch (c) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default:
                if (c < 0x20)
                    out.append("\\u00").append(1, hex[c >> 4]).append(1, hex[c & 15]);
                else
                    out += ch;
        }
    }
    out += '"';
    return out;
}

/// One member of an object under construction: `{"port", 80}`, `{"name", "x"}`, or raw JSON by `field::raw(key, text)`.
struct field {
    std::string_view key;
    std::string value;

    field(std::string_view k, std::string_view v) : key(k), value(json_quote(v)) {}
    field(std::string_view k, const char* v) : field(k, std::string_view(v)) {}
    field(std::string_view k, const std::string& v) : field(k, std::string_view(v)) {}
    field(std::string_view k, std::same_as<bool> auto v) : key(k), value(v ? "true" : "false") {}
    template <class N>
        requires(std::integral<N> && !std::same_as<N, bool>)
    field(std::string_view k, N v) : key(k), value(std::to_string(v)) {}
    field(std::string_view k, std::floating_point auto v) : key(k) {
        char text[40];
        const double d = static_cast<double>(v);
        value = std::isfinite(d) ? std::string(text, std::to_chars(text, text + sizeof text, d).ptr) : "null";
    }
    static field raw(std::string_view k, std::string json) {
        field f(k, false);
        f.value = std::move(json);
        return f;
    }
};

inline std::string json_object(std::initializer_list<field> fields) {
    std::string out = "{";
    for (const field& f : fields) {
        if (out.size() > 1) out += ',';
        out += json_quote(f.key);
        out += ':';
        out += f.value;
    }
    out += '}';
    return out;
}

namespace detail {
inline std::size_t skip_space(std::string_view s, std::size_t i) {
    while (i < s.size() && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r')) ++i;
    return i;
}
// Index one past the JSON string that begins at i; npos when it does not end.
inline std::size_t skip_string(std::string_view s, std::size_t i) {
    for (++i; i < s.size(); ++i) {
        if (s[i] == '\\')
            ++i;
        else if (s[i] == '"')
            return i + 1;
    }
    return std::string_view::npos;
}
// Index one past the value that begins at i. Counts brackets instead of recursing: depth costs nothing.
inline std::size_t skip_value(std::string_view s, std::size_t i) {
    std::size_t depth = 0;
    for (; i < s.size(); ++i) {
        const char c = s[i];
        if (c == '"') {
            i = skip_string(s, i);
            if (i == std::string_view::npos) return i;
            if (depth == 0) return i;
            --i;
        } else if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            if (depth == 0) return i;
            if (--depth == 0) return i + 1;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
            return i;
        }
    }
    return depth == 0 ? i : std::string_view::npos;
}
inline void append_utf8(std::string& out, std::uint32_t c) {
    const auto put = [&out](std::uint32_t b) { out += static_cast<char>(b); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | (c >> 6)), put(0x80 | (c & 63));
    } else if (c < 0x10000) {
        put(0xE0 | (c >> 12)), put(0x80 | ((c >> 6) & 63)), put(0x80 | (c & 63));
    } else {
        put(0xF0 | (c >> 18)), put(0x80 | ((c >> 12) & 63)), put(0x80 | ((c >> 6) & 63)), put(0x80 | (c & 63));
    }
}
}  // namespace detail

/// The text of a JSON string literal; nullopt when `literal` is not one.
inline std::optional<std::string> json_unquote(std::string_view literal) {
    if (literal.size() < 2 || literal.front() != '"' || literal.back() != '"') return std::nullopt;
    const auto hex4 = [&](std::size_t at) -> std::optional<std::uint32_t> {
        std::uint32_t v = 0;
        if (at + 4 > literal.size() - 1) return std::nullopt;
        const auto r = std::from_chars(literal.data() + at, literal.data() + at + 4, v, 16);
        return r.ptr == literal.data() + at + 4 ? std::optional(v) : std::nullopt;
    };
    std::string out;
    for (std::size_t i = 1; i + 1 < literal.size(); ++i) {
        if (literal[i] != '\\') {
            out += literal[i];
            continue;
        }
        if (++i + 1 >= literal.size()) return std::nullopt;
        switch (literal[i]) {
            case 'n': out += '\n'; break;
            case 't': out += '\t'; break;
            case 'r': out += '\r'; break;
            case 'b': out += '\b'; break;
            case 'f': out += '\f'; break;
            case 'u': {
                auto c = hex4(i + 1);
                if (!c) return std::nullopt;
                i += 4;
                if (*c >= 0xD800 && *c < 0xDC00 && literal.substr(i + 1, 2) == "\\u") {
                    const auto low = hex4(i + 3);
                    if (!low || *low < 0xDC00 || *low > 0xDFFF) return std::nullopt;
                    c = 0x10000 + ((*c - 0xD800) << 10) + (*low - 0xDC00);
                    i += 6;
                } else if (*c >= 0xD800 && *c < 0xE000) {
                    return std::nullopt;  // half of a surrogate pair
                }
                detail::append_utf8(out, *c);
                break;
            }
            default: out += literal[i];
        }
    }
    return out;
}

/// The raw text of member `key` of the object `json`, e.g. `"\"a\""`, `12`, `{…}`; empty when there is none. Members of
/// nested objects are not seen; keys written with escapes are not matched.
inline std::string_view json_member(std::string_view json, std::string_view key) {
    using namespace detail;
    std::size_t i = skip_space(json, 0);
    if (i >= json.size() || json[i] != '{') return {};
    i = skip_space(json, i + 1);
    while (i < json.size() && json[i] == '"') {
        const std::size_t end = skip_string(json, i);
        if (end == std::string_view::npos) return {};
        const std::string_view name = json.substr(i + 1, end - i - 2);
        i = skip_space(json, end);
        if (i >= json.size() || json[i] != ':') return {};
        i = skip_space(json, i + 1);
        const std::size_t value_end = skip_value(json, i);
        if (value_end == std::string_view::npos) return {};
        if (name == key) return json.substr(i, value_end - i);
        i = skip_space(json, value_end);
        if (i >= json.size() || json[i] != ',') return {};
        i = skip_space(json, i + 1);
    }
    return {};
}
/// Calls f(raw text) for each item of an array; for anything else, never.
template <class F>
void json_each(std::string_view array, F&& f) {
    using namespace detail;
    std::size_t i = skip_space(array, 0);
    if (i >= array.size() || array[i] != '[') return;
    for (i = skip_space(array, i + 1); i < array.size() && array[i] != ']';) {
        const std::size_t end = skip_value(array, i);
        if (end == std::string_view::npos || end == i) return;
        f(array.substr(i, end - i));
        i = skip_space(array, end);
        if (i < array.size() && array[i] == ',') i = skip_space(array, i + 1);
    }
}
inline std::string json_text(std::string_view json, std::string_view key, std::string_view otherwise = {}) {
    auto text = json_unquote(json_member(json, key));
    return text ? *text : std::string(otherwise);
}
template <class N>
    requires(std::integral<N> && !std::same_as<N, bool>) || std::floating_point<N>
N json_number(std::string_view json, std::string_view key, N otherwise = {}) {
    const std::string_view raw = json_member(json, key);
    N value{};
    const auto r = std::from_chars(raw.data(), raw.data() + raw.size(), value);
    return !raw.empty() && r.ec == std::errc() && r.ptr == raw.data() + raw.size() ? value : otherwise;
}
inline bool json_bool(std::string_view json, std::string_view key, bool otherwise = false) {
    const std::string_view raw = json_member(json, key);
    return raw == "true" || (raw != "false" && otherwise);
}

}  // namespace holdfast::sdk
