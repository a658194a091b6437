#include "llm-demo/clauses.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace llm_demo {
namespace {

bool letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

struct cut {
    std::size_t at = std::string_view::npos, length = 0;
};

cut next_cut(std::string_view s, std::size_t from) {
    static constexpr std::array<std::string_view, 8> separators{" and then ", ", then ", ", and ", " and ", " then ", "; ", ", ", "? "};
    const std::string low = lower(s);
    cut best;
    for (const std::string_view sep : separators)
        if (const auto at = low.find(sep, from); at != std::string::npos && (at < best.at || (at == best.at && sep.size() > best.length))) best = {at, sep.size()};
    return best;
}

}  // namespace

std::string lower(std::string_view s) {
    std::string out(s);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

std::string_view trim(std::string_view s) {
    const auto first = s.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1);
}

bool starts_with_word(std::string_view s, std::string_view word) {
    return s.size() >= word.size() && lower(s.substr(0, word.size())) == word && (s.size() == word.size() || !letter(s[word.size()]));
}

bool has_word(std::string_view s, std::string_view word) {
    const std::string low = lower(s);
    for (auto at = low.find(word); at != std::string::npos; at = low.find(word, at + 1)) {
        const bool before = at == 0 || !letter(low[at - 1]);
        const auto end = at + word.size();
        if (before && (end == low.size() || !letter(low[end]))) return true;
    }
    return false;
}

std::vector<std::string> clauses_of(std::string_view message, bool (*is_request)(std::string_view)) {
    std::vector<std::string> out;
    std::size_t begin = 0, search = 0;
    for (;;) {
        const cut c = next_cut(message, search);
        if (c.at == std::string_view::npos) break;
        const std::string_view rest = message.substr(c.at + c.length);
        const cut after = next_cut(rest, 0);
        search = c.at + c.length;
        if (!is_request(trim(rest.substr(0, after.at)))) continue;
        out.emplace_back(trim(message.substr(begin, c.at - begin)));
        begin = search;
    }
    out.emplace_back(trim(message.substr(begin)));
    std::erase_if(out, [](const std::string& s) { return s.empty(); });
    return out;
}

}  // namespace llm_demo
