#include "llm-demo/intents.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>

#include "llm-demo/answer.hpp"
#include "llm-demo/clauses.hpp"

namespace llm_demo {
namespace {

using nlohmann::json;

/// "please could you echo hi" → "echo hi"
std::string_view without_courtesy(std::string_view s) {
    static constexpr std::array<std::string_view, 10> polite{"please", "can you", "could you", "would you", "i want you to", "now", "then", "and", "also", "you"};
    for (bool again = true; again;) {
        again = false;
        s = trim(s);
        for (const std::string_view p : polite)
            if (starts_with_word(s, p)) {
                s = trim(s.substr(p.size()));
                if (!s.empty() && s.front() == ',') s.remove_prefix(1);
                again = true;
            }
    }
    return s;
}

std::string_view without_end(std::string_view s) {
    s = trim(s);
    while (!s.empty() && (s.back() == '?' || s.back() == '!' || (s.back() == '.' && s.size() > 1 && s[s.size() - 2] != '.' && s[s.size() - 2] != '/' && s[s.size() - 2] != ' '))) s.remove_suffix(1);
    return trim(s);
}

std::string unquoted(std::string_view s) {
    s = trim(s);
    if (s.size() >= 2 && (s.front() == '"' || s.front() == '\'' || s.front() == '`') && s.back() == s.front()) s = s.substr(1, s.size() - 2);
    return std::string(s);
}

/// What follows the first of the words that begins the text; none: nothing.
std::optional<std::string_view> after_any(std::string_view s, std::initializer_list<std::string_view> words) {
    for (const std::string_view w : words)
        if (starts_with_word(s, w)) return trim(s.substr(w.size()));
    return std::nullopt;
}

/// The path after "in", "of", "under" …, else the fallback.
std::string path_in(std::string_view s, std::string fallback) {
    for (const std::string_view w : {" in the directory ", " in the folder ", " in directory ", " under ", " inside ", " in ", " of ", " from "}) {
        const auto at = lower(s).find(w);
        if (at == std::string::npos) continue;
        std::string p = unquoted(without_end(s.substr(at + w.size())));
        const std::string low = lower(p);
        if (low == "here" || low == "this directory" || low == "the current directory" || low == "this folder" || low == "the directory") return fallback;
        if (!p.empty()) return p;
    }
    return fallback;
}

std::string zone_in(std::string_view s) {
    const auto slash = s.find('/');
    if (slash != std::string_view::npos) {
        auto begin = s.find_last_of(" \t", slash);
        begin = begin == std::string_view::npos ? 0 : begin + 1;
        return std::string(without_end(s.substr(begin, s.find_first_of(" \t?!,", slash) - begin)));
    }
    return has_word(s, "utc") ? "UTC" : "";
}

std::optional<std::int64_t> duration_in(std::string_view s) {
    const auto numbers = numbers_in(s);
    if (numbers.empty()) return std::nullopt;
    const bool ms = has_word(s, "ms") || lower(s).find("millisecond") != std::string::npos || lower(s).find("ms") != std::string::npos;
    return static_cast<std::int64_t>(numbers.front() * (ms ? 1 : 1000));
}

std::string last_word(std::string_view s) {
    s = without_end(s);
    const auto space = s.find_last_of(" \t");
    return unquoted(space == std::string_view::npos ? s : s.substr(space + 1));
}

bool looks_like_path(std::string_view s) { return s.find('.') != std::string_view::npos || s.find('/') != std::string_view::npos; }

/// "call demo/echo {"text":"x"}", "use echo with text=hi"
std::optional<intent> named(std::string_view s) {
    const auto rest = after_any(s, {"call the tool", "call tool", "use the tool", "use tool", "run the tool", "run tool", "call", "use", "run", "invoke"});
    if (!rest || rest->empty()) return std::nullopt;
    intent i;
    i.what = wish::named_tool;
    const auto end = rest->find_first_of(" \t{");
    i.tool = unquoted(without_end(rest->substr(0, end)));
    std::string_view args = end == std::string_view::npos ? std::string_view() : trim(rest->substr(end));
    for (const std::string_view w : {"with arguments", "with", "on", "and"})
        if (starts_with_word(args, w)) args = trim(args.substr(w.size()));
    i.arguments = args;
    i.with.text = unquoted(args);
    i.with.numbers = numbers_in(args);
    if (looks_like_path(args)) i.with.path = last_word(args);
    return i;
}

std::string_view base(std::string_view name) {
    const auto at = name.find("__");
    if (at == std::string_view::npos || at + 2 >= name.size()) return name;
    std::string_view rest = name.substr(at + 2);
    if (const auto hash = rest.rfind("__"); hash != std::string_view::npos && rest.size() - hash == 18) rest = rest.substr(0, hash);
    return rest;
}

const json* by_base(const json& tools, std::initializer_list<std::string_view> names) {
    for (const std::string_view wanted : names)
        for (const json& t : tools)
            if (lower(base_name(t.value("name", ""))) == wanted) return &t;
    return nullptr;
}

const json* by_part(const json& tools, std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts)
        for (const json& t : tools)
            if (std::string b = lower(base_name(t.value("name", ""))); b.find(part) != std::string::npos && b.rfind("test_", 0) != 0) return &t;
    return nullptr;
}

const json* by_name(const json& tools, std::string wanted) {
    wanted = lower(wanted);
    if (const auto slash = wanted.find('/'); slash != std::string::npos) wanted.replace(slash, 1, "__");
    for (const json& t : tools)
        if (lower(t.value("name", "")) == wanted) return &t;
    for (const json& t : tools)
        if (lower(base_name(t.value("name", ""))) == wanted) return &t;
    return nullptr;
}

}  // namespace

std::string base_name(std::string_view offered) { return std::string(base(offered)); }

intent intent_of(std::string_view clause) {
    const std::string_view s = without_courtesy(clause);
    intent i;
    const std::string low = lower(s);
    if (low.find("story") != std::string::npos && (has_word(s, "long") || has_word(s, "words") || has_word(s, "tell"))) {
        const auto n = numbers_in(s);
        i.what = wish::story;
        i.words = n.empty() ? 100 : std::clamp<std::int64_t>(static_cast<std::int64_t>(n.front()), 1, max_story_words);
        return i;
    }
    if (auto n = named(s)) return *n;
    if (auto rest = after_any(s, {"echo", "say", "repeat after me", "repeat"}); rest && !rest->empty()) {
        std::string_view text = *rest;
        if (text.front() == ':') text = trim(text.substr(1));
        i.what = wish::echo;
        i.with.text = unquoted(text);
        return i;
    }
    const bool files = has_word(s, "files") || has_word(s, "directory") || has_word(s, "directories") || has_word(s, "folder");
    if ((files && (has_word(s, "list") || has_word(s, "show") || has_word(s, "what") || has_word(s, "which"))) || starts_with_word(s, "ls")) {
        i.what = wish::list_files;
        i.with.path = starts_with_word(s, "ls") && s.size() > 3 ? unquoted(s.substr(3)) : path_in(s, ".");
        return i;
    }
    if (auto rest = after_any(s, {"read me the file", "read the file", "read file", "show the file", "show file", "open the file", "open file", "cat", "read", "open",
                                  "what is in the file", "what is in", "what's in"});
        rest && !rest->empty() && (looks_like_path(*rest) || has_word(s, "file") || starts_with_word(s, "cat"))) {
        i.what = wish::read_file;
        i.with.path = unquoted(without_end(*rest));
        return i;
    }
    if (low.find("ask") != std::string::npos && has_word(s, "name")) {
        i.what = wish::ask_name;
        return i;
    }
    if (starts_with_word(s, "add") || starts_with_word(s, "sum") || has_word(s, "plus") || has_word(s, "sum of")) {
        i.with.numbers = numbers_in(s);
        if (!i.with.numbers.empty()) {
            i.what = wish::add;
            return i;
        }
    }
    if (has_word(s, "time") || has_word(s, "date") || has_word(s, "clock") || low.find("what day") != std::string::npos) {
        i.what = wish::time;
        i.with.timezone = zone_in(s);
        return i;
    }
    if (auto rest = after_any(s, {"count"})) {
        i.what = wish::count;
        i.with.text = unquoted(without_end(*rest));
        i.with.numbers = numbers_in(s);
        return i;
    }
    if (has_word(s, "slow") || has_word(s, "slowly")) {
        i.what = wish::slow;
        i.with.duration_ms = duration_in(s);
        return i;
    }
    return i;
}

bool is_request(std::string_view clause) { return intent_of(clause).what != wish::none; }

const json* choose_tool(const json& tools, const intent& i) {
    if (!tools.is_array()) return nullptr;
    const json* t = nullptr;
    switch (i.what) {
        case wish::named_tool: return by_name(tools, i.tool);
        case wish::echo: return by_base(tools, {"echo", "say", "repeat"});
        case wish::list_files:
            t = by_base(tools, {"list_files", "list_directory", "list_dir", "ls", "directory_tree"});
            return t ? t : by_part(tools, {"list_file", "list_dir"});
        case wish::read_file:
            t = by_base(tools, {"read_file", "read_text_file", "get_file_contents", "cat"});
            return t ? t : by_part(tools, {"read_file", "read_text"});
        case wish::time:
            t = by_base(tools, {"get_time", "get_current_time", "current_time", "time", "now", "get-time"});
            return t ? t : by_part(tools, {"current_time", "get_time", "time"});
        case wish::add:
            t = by_base(tools, {"add", "sum", "get-sum", "get_sum", "plus"});
            return t ? t : by_part(tools, {"sum", "add_numbers"});
        case wish::count: return by_base(tools, {"count", "counter", "increment"});
        case wish::slow:
            t = by_base(tools, {"slow", "trigger-long-running-operation", "longrunningoperation", "sleep", "wait"});
            return t ? t : by_part(tools, {"long-running", "longrunning"});
        case wish::ask_name:
            t = by_base(tools, {"ask_name", "ask_user", "elicit"});
            return t ? t : by_part(tools, {"ask_name", "elicit"});
        case wish::none:
        case wish::story: break;
    }
    return nullptr;
}

std::string_view describe(wish w) {
    switch (w) {
        case wish::echo: return "echo a text";
        case wish::list_files: return "list files";
        case wish::read_file: return "read a file";
        case wish::time: return "tell the time";
        case wish::add: return "add numbers";
        case wish::count: return "count";
        case wish::slow: return "do something slowly";
        case wish::ask_name: return "ask for your name";
        default: return "do that";
    }
}

}  // namespace llm_demo
