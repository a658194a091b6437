#include "ui-http/json_check.hpp"

#include <algorithm>
#include <deque>
#include <vector>

namespace holdfast::ui_http {
namespace {

constexpr std::size_t few_keys = 16;  // compared with one another; more are sorted

class checker {
  public:
    checker(std::string_view text, std::size_t depth) : at_(text.data()), begin_(text.data()), end_(text.data() + text.size()), depth_(depth) {}

    std::string run() {
        if (value() && (space(), at_ == end_)) return {};
        if (why_ == nullptr) why_ = at_ == end_ ? "the JSON text ends too early" : "not valid JSON";
        return std::string(why_) + " at byte " + std::to_string(at_ - begin_);
    }

  private:
    bool fail(const char* why) { return why_ = why_ ? why_ : why, false; }
    void space() {
        while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
    }
    bool take(char c) { return at_ != end_ && *at_ == c && (++at_, true); }
    bool word(std::string_view w) {
        if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, w.size()) != w) return false;
        at_ += w.size();
        return true;
    }
    bool digits() {
        const char* first = at_;
        while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
        return at_ != first;
    }
    bool number() {
        take('-');
        if (!take('0') && !digits()) return false;
        if (take('.') && !digits()) return false;
        if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
            ++at_;
            if (!take('+')) take('-');
            if (!digits()) return false;
        }
        return true;
    }
    bool hex4(unsigned& out) {
        out = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            if (at_ == end_) return false;
            const char c = *at_;
            const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
            if (digit < 0) return false;
            out = out * 16 + static_cast<unsigned>(digit);
        }
        return true;
    }
    static void put_utf8(std::string& to, unsigned c) {
        if (c < 0x80) return to.push_back(static_cast<char>(c));
        if (c < 0x800) {
            to.push_back(static_cast<char>(0xC0 | c >> 6));
        } else {
            if (c < 0x10000) {
                to.push_back(static_cast<char>(0xE0 | c >> 12));
            } else {
                to.push_back(static_cast<char>(0xF0 | c >> 18));
                to.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
            }
            to.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
        }
        to.push_back(static_cast<char>(0x80 | (c & 0x3F)));
    }
    /// After the backslash. What it stands for goes to `decoded`, if wanted.
    bool escape(std::string* decoded) {
        if (at_ == end_) return false;
        static constexpr std::string_view names = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        const char c = *at_++;
        if (const auto i = names.find(c); i != names.npos) {
            if (decoded) decoded->push_back(meanings[i]);
            return true;
        }
        unsigned code = 0, low = 0;
        if (c != 'u' || !hex4(code)) return fail("a bad escape in a string");
        if (code >= 0xDC00 && code < 0xE000) return fail("half a surrogate pair");
        if (code >= 0xD800 && code < 0xDC00) {
            if (!take('\\') || !take('u') || !hex4(low) || low < 0xDC00 || low >= 0xE000) return fail("half a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        if (decoded) put_utf8(*decoded, code);
        return true;
    }
    /// A multi-byte sequence as Unicode allows it (table 3-7).
    bool utf8() {
        const auto lead = static_cast<unsigned char>(*at_++);
        int more = 0;
        unsigned char low = 0x80, high = 0xBF;
        if (lead >= 0xC2 && lead <= 0xDF) more = 1;
        else if (lead >= 0xE0 && lead <= 0xEF) more = 2, low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
        else if (lead >= 0xF0 && lead <= 0xF4) more = 3, low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
        else return fail("a string that is not UTF-8");
        for (; more > 0; --more, ++at_, low = 0x80, high = 0xBF)
            if (at_ == end_ || static_cast<unsigned char>(*at_) < low || static_cast<unsigned char>(*at_) > high) return fail("a string that is not UTF-8");
        return true;
    }
    /// The key as its owner means it, escapes resolved.
    bool string(std::string_view* key = nullptr) {
        if (!take('"')) return false;
        const char* first = at_;
        std::string* decoded = nullptr;
        for (;;) {
            const char* plain = at_;
            while (at_ != end_ && static_cast<unsigned char>(*at_) >= 0x20 && static_cast<unsigned char>(*at_) < 0x80 && *at_ != '"' && *at_ != '\\') ++at_;
            if (decoded) decoded->append(plain, at_);
            if (at_ == end_) return false;
            if (*at_ == '"') break;
            if (*at_ == '\\') {
                if (key && !decoded) decoded = &decoded_.emplace_back(first, at_);
                ++at_;
                if (!escape(decoded)) return false;
                continue;
            }
            if (static_cast<unsigned char>(*at_) < 0x20) return fail("a control character in a string");
            const char* sequence = at_;
            if (!utf8()) return false;
            if (decoded) decoded->append(sequence, at_);
        }
        if (key) *key = decoded ? std::string_view(*decoded) : std::string_view(first, static_cast<std::size_t>(at_ - first));
        ++at_;
        return true;
    }
    bool distinct(std::size_t from) {
        const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(from);
        bool twice = false;
        if (keys_.size() - from <= few_keys) {
            for (auto a = first; a != keys_.end() && !twice; ++a) twice = std::find(a + 1, keys_.end(), *a) != keys_.end();
        } else {
            std::sort(first, keys_.end());
            twice = std::adjacent_find(first, keys_.end()) != keys_.end();
        }
        keys_.resize(from);
        return !twice || fail("an object with the same key twice, which ends");
    }
    // Recursion is bounded by depth_.
    bool value() {
        space();
        if (at_ == end_) return false;
        switch (*at_) {
            case '{': return object();
            case '[': return array();
            case '"': return string();
            case 't': return word("true");
            case 'f': return word("false");
            case 'n': return word("null");
            default: return number();
        }
    }
    bool object() {
        if (depth_ == 0) return fail("JSON nested too deep");
        --depth_;
        ++at_;
        const std::size_t from = keys_.size();
        space();
        if (!take('}')) {
            do {
                space();
                std::string_view key;
                if (!string(&key)) return false;
                keys_.push_back(key);
                space();
                if (!take(':') || !value()) return false;
                space();
            } while (take(','));
            if (!take('}') || !distinct(from)) return false;
        }
        ++depth_;
        return true;
    }
    bool array() {
        if (depth_ == 0) return fail("JSON nested too deep");
        --depth_;
        ++at_;
        space();
        if (!take(']')) {
            do {
                if (!value()) return false;
                space();
            } while (take(','));
            if (!take(']')) return false;
        }
        ++depth_;
        return true;
    }

    const char* at_;
    const char* begin_;
    const char* end_;
    std::size_t depth_;
    const char* why_ = nullptr;
    std::vector<std::string_view> keys_;  // of the objects being read, the innermost last
    std::deque<std::string> decoded_;     // keys that have escapes
};

}  // namespace

std::string json_problem(std::string_view text, std::size_t depth) { return checker(text, depth).run(); }

}  // namespace holdfast::ui_http
