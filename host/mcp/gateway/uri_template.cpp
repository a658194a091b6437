#include "mcp/gateway/uri_template.hpp"

#include <vector>

namespace holdfast::mcp::gateway {
namespace {

struct piece {
    std::string_view literal;  // expression: empty
    bool segment = false;      // expression that stands for one segment
};

std::vector<piece> split(std::string_view t) {
    std::vector<piece> out;
    while (!t.empty()) {
        const auto open = t.find('{');
        const auto close = open == std::string_view::npos ? open : t.find('}', open);
        if (close == std::string_view::npos) {
            out.push_back({t, false});
            break;
        }
        if (open > 0) out.push_back({t.substr(0, open), false});
        const auto name = t.substr(open + 1, close - open - 1);
        const bool plain = !name.empty() && std::string_view("+#./;?&").find(name.front()) == std::string_view::npos && name.back() != '*';
        out.push_back({{}, plain});
        t.remove_prefix(close + 1);
    }
    return out;
}

}  // namespace

bool matches(std::string_view uri_template, std::string_view uri) {
    const auto pieces = split(uri_template);
    // reached[i]: the pieces so far can stand for the first i characters. No back-tracking: bounded whatever the template.
    std::vector<bool> reached(uri.size() + 1, false);
    reached[0] = true;
    for (const piece& p : pieces) {
        std::vector<bool> next(uri.size() + 1, false);
        if (!p.literal.empty()) {
            for (std::size_t i = 0; i + p.literal.size() <= uri.size(); ++i)
                if (reached[i] && uri.compare(i, p.literal.size(), p.literal) == 0) next[i + p.literal.size()] = true;
        } else {
            bool open = false;
            for (std::size_t i = 0; i <= uri.size(); ++i) {
                if (p.segment) {
                    // One character at least: what is reached here counts from the next one on.
                    if (i > 0) {
                        if (uri[i - 1] == '/') open = false;
                        next[i] = open;
                    }
                    open = open || reached[i];
                } else {
                    open = open || reached[i];
                    next[i] = open;
                }
            }
        }
        reached.swap(next);
    }
    return reached[uri.size()];
}

std::size_t literal_length(std::string_view uri_template) {
    std::size_t n = 0;
    for (const piece& p : split(uri_template)) n += p.literal.size();
    return n;
}

std::string_view scheme_of(std::string_view uri) {
    const auto colon = uri.find(':');
    return colon == std::string_view::npos ? std::string_view{} : uri.substr(0, colon);
}

}  // namespace holdfast::mcp::gateway
