#include "kernel/config/located_json.hpp"

#include <charconv>
#include <cmath>

namespace holdfast::config {

std::string problem::to_string() const {
    std::string out = file + ":" + std::to_string(at.line) + ":" + std::to_string(at.column) + ": ";
    if (!pointer.empty()) out += pointer + ": ";
    return out + message;
}

json problem::to_json() const {
    return {{"file", file}, {"line", at.line}, {"column", at.column}, {"pointer", pointer}, {"message", message}};
}

std::string pointer_token(std::string_view key) {
    std::string out;
    for (char c : key) {
        if (c == '~')
            out += "~0";
        else if (c == '/')
            out += "~1";
        else
            out += c;
    }
    return out;
}

namespace {

place nearest_known(const std::map<std::string, place>& places, const std::map<std::string, place>& fallback,
                    std::string pointer) {
    for (;;) {
        if (auto it = places.find(pointer); it != places.end()) return it->second;
        if (auto it = fallback.find(pointer); it != fallback.end()) return it->second;
        const auto slash = pointer.rfind('/');
        if (slash == std::string::npos) return {};
        pointer.resize(slash);
    }
}

/// Recursive descent; the recursion is bounded by max_depth.
class parser {
  public:
    parser(std::string_view text, std::size_t max_depth) : text_(text), max_depth_(max_depth) {}

    bool document(located_json& out) {
        if (text_.substr(0, 3) == "\xEF\xBB\xBF") pos_ = 3;
        skip_space();
        if (!value(out.value, "", 0)) return false;
        skip_space();
        if (pos_ < text_.size()) return expected("the end of the document");
        out.values = std::move(values_);
        out.keys = std::move(keys_);
        return true;
    }

    place where(std::size_t offset) const {
        place p;
        for (std::size_t i = 0; i < offset && i < text_.size(); ++i) {
            if (text_[i] == '\n') {
                ++p.line;
                p.column = 1;
            } else if ((static_cast<unsigned char>(text_[i]) & 0xC0) != 0x80) {
                ++p.column;
            }
        }
        return p;
    }

    std::size_t error_at = 0;
    std::string error_message;
    std::string error_pointer;

  private:
    bool fail_at(std::size_t at, std::string message, std::string pointer = {}) {
        error_at = at;
        error_message = std::move(message);
        error_pointer = std::move(pointer);
        return false;
    }
    std::string found() const {
        if (pos_ >= text_.size()) return "the end of the file";
        const auto c = static_cast<unsigned char>(text_[pos_]);
        if (c == '/') return "'/' (comments are not part of JSON)";
        if (c == '\'') return "\"'\" (JSON strings use double quotes)";
        if (c < 0x20 || c == 0x7F) return "control character " + std::to_string(c);
        std::size_t n = 1;
        while (pos_ + n < text_.size() && n < 4 && (static_cast<unsigned char>(text_[pos_ + n]) & 0xC0) == 0x80) ++n;
        return "'" + std::string(text_.substr(pos_, n)) + "'";
    }
    bool expected(std::string_view what) {
        return fail_at(pos_, "expected " + std::string(what) + ", found " + found());
    }
    void skip_space() {
        while (pos_ < text_.size() && (text_[pos_] == ' ' || text_[pos_] == '\t' || text_[pos_] == '\n' || text_[pos_] == '\r'))
            ++pos_;
    }
    bool at(char c) const { return pos_ < text_.size() && text_[pos_] == c; }

    bool value(json& out, const std::string& pointer, std::size_t depth) {
        if (pos_ >= text_.size()) return expected("a value");
        const std::size_t start = pos_;
        values_.emplace(pointer, where_fast(start));
        switch (text_[pos_]) {
            case '{': return object(out, pointer, depth + 1);
            case '[': return array(out, pointer, depth + 1);
            case '"': {
                std::string s;
                if (!string(s)) return false;
                out = std::move(s);
                return true;
            }
            case 't': return word("true", json(true), out);
            case 'f': return word("false", json(false), out);
            case 'n': return word("null", json(nullptr), out);
            default: return number(out);
        }
    }
    bool word(std::string_view w, json v, json& out) {
        if (text_.substr(pos_, w.size()) != w) return expected("a value");
        pos_ += w.size();
        out = std::move(v);
        return true;
    }
    bool number(json& out) {
        const std::size_t start = pos_;
        std::size_t p = pos_;
        auto digits = [&] {
            const std::size_t from = p;
            while (p < text_.size() && text_[p] >= '0' && text_[p] <= '9') ++p;
            return p > from;
        };
        if (p < text_.size() && text_[p] == '-') ++p;
        const std::size_t first = p;
        if (!digits()) return expected("a value");
        if (text_[first] == '0' && p > first + 1) return fail_at(start, "expected a number, found one with a leading zero");
        bool integer = true;
        if (p < text_.size() && text_[p] == '.') {
            integer = false;
            ++p;
            if (!digits()) return fail_at(start, "expected digits after the decimal point");
        }
        if (p < text_.size() && (text_[p] == 'e' || text_[p] == 'E')) {
            integer = false;
            ++p;
            if (p < text_.size() && (text_[p] == '+' || text_[p] == '-')) ++p;
            if (!digits()) return fail_at(start, "expected digits in the exponent");
        }
        const std::string_view lexeme = text_.substr(start, p - start);
        std::int64_t i = 0;
        if (integer) {
            if (auto [end, ec] = std::from_chars(lexeme.data(), lexeme.data() + lexeme.size(), i); ec == std::errc{}) {
                out = i;
                pos_ = p;
                return true;
            }
        }
        double d = 0;
        auto [end, ec] = std::from_chars(lexeme.data(), lexeme.data() + lexeme.size(), d);
        if (ec != std::errc{} || !std::isfinite(d)) return fail_at(start, "expected a number that fits a double, found " + std::string(lexeme));
        out = d;
        pos_ = p;
        return true;
    }
    bool string(std::string& out) {
        const std::size_t start = pos_++;
        while (pos_ < text_.size()) {
            const auto c = static_cast<unsigned char>(text_[pos_]);
            if (c == '"') {
                ++pos_;
                return true;
            }
            if (c == '\n') return fail_at(start, "expected the closing '\"' of this string before the end of the line");
            if (c < 0x20) return fail_at(pos_, "control character " + std::to_string(c) + " in a string: escape it");
            if (c == '\\') {
                if (!escape(out)) return false;
            } else if (c < 0x80) {
                out += static_cast<char>(c);
                ++pos_;
            } else if (!utf8(out)) {
                return false;
            }
        }
        return fail_at(start, "expected the closing '\"' of this string before the end of the file");
    }
    bool utf8(std::string& out) {
        const auto c = static_cast<unsigned char>(text_[pos_]);
        const std::size_t n = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 && c < 0xE0 ? 2 : 0;
        if (n == 0 || c > 0xF4 || pos_ + n > text_.size()) return fail_at(pos_, "bytes that are not UTF-8: save the file as UTF-8");
        for (std::size_t i = 1; i < n; ++i)
            if ((static_cast<unsigned char>(text_[pos_ + i]) & 0xC0) != 0x80)
                return fail_at(pos_, "bytes that are not UTF-8: save the file as UTF-8");
        out.append(text_.substr(pos_, n));
        pos_ += n;
        return true;
    }
    bool hex4(std::uint32_t& out) {
        if (pos_ + 4 > text_.size()) return fail_at(pos_, "expected four hexadecimal digits after \\u");
        out = 0;
        for (int i = 0; i < 4; ++i) {
            const char h = text_[pos_ + i];
            const int v = h >= '0' && h <= '9' ? h - '0' : h >= 'a' && h <= 'f' ? h - 'a' + 10 : h >= 'A' && h <= 'F' ? h - 'A' + 10 : -1;
            if (v < 0) return fail_at(pos_, "expected four hexadecimal digits after \\u");
            out = out * 16 + static_cast<std::uint32_t>(v);
        }
        pos_ += 4;
        return true;
    }
    bool escape(std::string& out) {
        const std::size_t start = pos_;
        ++pos_;
        const char c = pos_ < text_.size() ? text_[pos_++] : '\0';
        switch (c) {
            case '"': out += '"'; return true;
            case '\\': out += '\\'; return true;
            case '/': out += '/'; return true;
            case 'b': out += '\b'; return true;
            case 'f': out += '\f'; return true;
            case 'n': out += '\n'; return true;
            case 'r': out += '\r'; return true;
            case 't': out += '\t'; return true;
            case 'u': break;
            default: return fail_at(start, "unknown escape in a string: write \\\\ for a backslash");
        }
        std::uint32_t cp = 0;
        if (!hex4(cp)) return false;
        if (cp >= 0xD800 && cp < 0xDC00) {
            std::uint32_t low = 0;
            if (text_.substr(pos_, 2) != "\\u") return fail_at(start, "half a surrogate pair in a string");
            pos_ += 2;
            if (!hex4(low)) return false;
            if (low < 0xDC00 || low > 0xDFFF) return fail_at(start, "half a surrogate pair in a string");
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        } else if (cp >= 0xDC00 && cp <= 0xDFFF) {
            return fail_at(start, "half a surrogate pair in a string");
        }
        if (cp < 0x80) {
            out += static_cast<char>(cp);
        } else if (cp < 0x800) {
            out += static_cast<char>(0xC0 | (cp >> 6));
            out += static_cast<char>(0x80 | (cp & 0x3F));
        } else if (cp < 0x10000) {
            out += static_cast<char>(0xE0 | (cp >> 12));
            out += static_cast<char>(0x80 | ((cp >> 6) & 0x3F));
            out += static_cast<char>(0x80 | (cp & 0x3F));
        } else {
            out += static_cast<char>(0xF0 | (cp >> 18));
            out += static_cast<char>(0x80 | ((cp >> 12) & 0x3F));
            out += static_cast<char>(0x80 | ((cp >> 6) & 0x3F));
            out += static_cast<char>(0x80 | (cp & 0x3F));
        }
        return true;
    }
    bool too_deep(std::size_t depth) {
        if (depth <= max_depth_) return false;
        fail_at(pos_, "nested deeper than " + std::to_string(max_depth_) + " levels");
        return true;
    }
    bool array(json& out, const std::string& pointer, std::size_t depth) {
        if (too_deep(depth)) return false;
        out = json::array();
        ++pos_;
        skip_space();
        if (at(']')) return ++pos_, true;
        for (;;) {
            json element;
            if (!value(element, pointer + "/" + std::to_string(out.size()), depth)) return false;
            out.push_back(std::move(element));
            skip_space();
            if (at(']')) return ++pos_, true;
            if (!at(',')) return expected("',' or ']'");
            const std::size_t comma = pos_++;
            skip_space();
            if (at(']')) return fail_at(comma, "expected another element after ',', found ']': remove the trailing comma");
        }
    }
    bool object(json& out, const std::string& pointer, std::size_t depth) {
        if (too_deep(depth)) return false;
        out = json::object();
        ++pos_;
        skip_space();
        if (at('}')) return ++pos_, true;
        for (;;) {
            if (!at('"')) return expected("a member name in double quotes");
            const std::size_t key_start = pos_;
            std::string key;
            if (!string(key)) return false;
            const std::string child = pointer + "/" + pointer_token(key);
            if (auto [it, fresh] = keys_.emplace(child, where_fast(key_start)); !fresh)
                return fail_at(key_start,
                               "duplicate member '" + key + "': the first one is on line " + std::to_string(it->second.line) +
                                   "; every name may appear once",
                               child);
            skip_space();
            if (!at(':')) return expected("':' after the member name");
            ++pos_;
            skip_space();
            json member;
            if (!value(member, child, depth)) return false;
            out.emplace(std::move(key), std::move(member));
            skip_space();
            if (at('}')) return ++pos_, true;
            if (!at(',')) return expected("',' or '}'");
            const std::size_t comma = pos_++;
            skip_space();
            if (at('}')) return fail_at(comma, "expected another member after ',', found '}': remove the trailing comma");
        }
    }

    /// where() for offsets that only grow: linear over the whole document.
    place where_fast(std::size_t offset) {
        for (; mark_ < offset; ++mark_) {
            if (text_[mark_] == '\n') {
                ++mark_place_.line;
                mark_place_.column = 1;
            } else if ((static_cast<unsigned char>(text_[mark_]) & 0xC0) != 0x80) {
                ++mark_place_.column;
            }
        }
        return mark_place_;
    }

    std::string_view text_;
    std::size_t max_depth_;
    std::size_t pos_ = 0;
    std::size_t mark_ = 0;
    place mark_place_;
    std::map<std::string, place> values_;
    std::map<std::string, place> keys_;
};

}  // namespace

place located_json::value_at(std::string_view pointer) const { return nearest_known(values, keys, std::string(pointer)); }
place located_json::key_at(std::string_view pointer) const { return nearest_known(keys, values, std::string(pointer)); }

tl::expected<located_json, problem> parse_located(std::string_view text, std::string_view file, std::size_t max_depth) {
    parser p(text, max_depth);
    located_json out;
    if (p.document(out)) return out;
    return tl::unexpected<problem>(problem{std::string(file), p.where(p.error_at), p.error_pointer, p.error_message});
}

}  // namespace holdfast::config
