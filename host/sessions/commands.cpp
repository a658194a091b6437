#include "sessions/commands.hpp"

#include <algorithm>
#include <array>
#include <cctype>

namespace holdfast::sessions {
namespace {

struct builtin {
    std::string_view name, usage, summary;
};
constexpr std::array builtins{
    builtin{"help", "/help", "this list"},
    builtin{"model", "/model [name|auto]", "which model answers, or choose one"},
    builtin{"servers", "/servers [name… | all]", "the servers whose tools this session sees, or restrict them"},
    builtin{"tools", "/tools [server]", "the tools offered to the model"},
    builtin{"title", "/title [text]", "the session's title"},
    builtin{"alias", "/alias [name expansion]", "list aliases, or set one; $* and $1 … $9 stand for what follows it"},
    builtin{"unalias", "/unalias name", "forget an alias"},
    builtin{"allow", "/allow [server/tool | server/* …| none]", "tools that run without asking"},
    builtin{"stats", "/stats", "messages, tool calls, tokens"},
    builtin{"history", "/history [n]", "the newest messages"},
    builtin{"cancel", "/cancel", "stop the answer or the tools under way"},
};

std::string_view trim(std::string_view s) {
    const auto first = s.find_first_not_of(" \t\r\n");
    if (first == std::string_view::npos) return {};
    return s.substr(first, s.find_last_not_of(" \t\r\n") - first + 1);
}

std::vector<std::string> split(std::string_view s) {
    std::vector<std::string> out;
    for (s = trim(s); !s.empty(); s = trim(s)) {
        const auto end = s.find_first_of(" \t\r\n");
        out.emplace_back(s.substr(0, end));
        s = end == std::string_view::npos ? std::string_view() : s.substr(end);
    }
    return out;
}

command_line parse(std::string_view typed) {
    command_line c;
    std::string_view s = trim(typed);
    if (s.empty() || s.front() != '/') {
        c.rest = s;
        return c;
    }
    const auto end = s.find_first_of(" \t\r\n");
    c.name = s.substr(1, end == std::string_view::npos ? end : end - 1);
    c.rest = end == std::string_view::npos ? std::string_view() : trim(s.substr(end));
    c.words = split(c.rest);
    return c;
}

std::string substitute(const std::string& expansion, const command_line& c) {
    std::string out;
    bool used = false;
    for (std::size_t i = 0; i < expansion.size(); ++i) {
        const char next = i + 1 < expansion.size() ? expansion[i + 1] : '\0';
        if (expansion[i] == '$' && next == '*') out += c.rest;
        else if (expansion[i] == '$' && next >= '1' && next <= '9') {
            const auto n = static_cast<std::size_t>(next - '1');
            if (n < c.words.size()) out += c.words[n];
        } else {
            out += expansion[i];
            continue;
        }
        used = true;
        ++i;
    }
    if (!used && !c.rest.empty()) out += " " + c.rest;
    return out;
}

}  // namespace

bool is_builtin(std::string_view name) {
    return std::any_of(builtins.begin(), builtins.end(), [&](const builtin& b) { return b.name == name; });
}

std::string help_text(const alias_table& aliases) {
    std::string out;
    for (const builtin& b : builtins) {
        out += b.usage;
        out += "  ";
        out += b.summary;
        out += '\n';
    }
    for (const auto& [name, expansion] : aliases) out += "/" + name + "  alias for: " + expansion + "\n";
    out.pop_back();
    return out;
}

result<command_line> expand(std::string_view typed, const alias_table& aliases) {
    std::string line(typed);
    for (unsigned depth = 0; depth <= max_alias_depth; ++depth) {
        command_line c = parse(line);
        if (const auto bare = trim(line); c.name.empty() && !bare.empty() && bare.front() == '/') return fail(errc::command_not_found, "an empty command; /help lists them");
        if (c.name.empty() || is_builtin(c.name)) return c;
        const auto found = aliases.find(c.name);
        if (found == aliases.end()) return fail(errc::command_not_found, "there is no command or alias /" + c.name + "; /help lists them");
        line = substitute(found->second, c);
        if (line.size() > max_alias_bytes * 4) break;
    }
    return fail(errc::invalid_argument, "the alias leads back to itself; change it with /alias");
}

result<void> check_alias(std::string_view name, std::string_view expansion) {
    const bool clean = !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char ch) {
        return std::isalnum(static_cast<unsigned char>(ch)) || ch == '-' || ch == '_';
    });
    if (!clean) return fail(errc::invalid_argument, "the name of an alias has 1 to 64 letters, digits, - or _");
    if (is_builtin(name)) return fail(errc::invalid_argument, "/" + std::string(name) + " is a command of the host; choose another name");
    if (trim(expansion).empty() || expansion.size() > max_alias_bytes)
        return fail(errc::invalid_argument, "an alias stands for 1 to " + std::to_string(max_alias_bytes) + " characters");
    return {};
}

}  // namespace holdfast::sessions
