#include "kernel/plugins/crash_report.hpp"

#include <cxxabi.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include <charconv>
#include <cstdlib>

#include "kernel/plugins/isolation/crash_trace.hpp"

namespace holdfast::plugins {
namespace {

constexpr std::size_t max_frames = 64;

std::string_view next_word(std::string_view& rest) {
    while (rest.starts_with(' ')) rest.remove_prefix(1);
    const auto end = rest.find(' ');
    const auto word = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end);
    return word;
}

std::uint64_t number(std::string_view text, int base) {
    std::uint64_t v = 0;
    if (base == 16 && text.starts_with("0x")) text.remove_prefix(2);
    std::from_chars(text.data(), text.data() + text.size(), v, base);
    return v;
}

std::string demangled(const char* name) {
    int status = 0;
    char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    std::string out = status == 0 && text ? text : name;
    std::free(text);
    return out;
}

/// "path(function+0x12) [0x7f…]" as backtrace_symbols_fd writes it.
std::optional<crash_frame> frame_from(std::string_view line) {
    const auto open = line.rfind('('), plus = line.rfind('+'), close = line.rfind(')');
    if (open == std::string_view::npos || close == std::string_view::npos || plus == std::string_view::npos || plus < open || close < plus) return std::nullopt;
    crash_frame f;
    f.module = line.substr(0, open);
    const auto function = line.substr(open + 1, plus - open - 1);
    if (function.empty()) f.offset = number(line.substr(plus + 1, close - plus - 1), 16);
    else f.function = demangled(std::string(function).c_str());
    return f;
}

struct source_line {
    const char* file = nullptr;
    int number = 0;
};

source_line source_of(Dwfl_Module* module, Dwarf_Addr at) {
    source_line out;
    if (Dwfl_Line* line = dwfl_module_getsrc(module, at)) {
        out.file = dwfl_lineinfo(line, nullptr, &out.number, nullptr, nullptr, nullptr);
        return out;
    }
    // libdw finds a unit by .debug_aranges, which clang does not write: the units themselves say what they cover.
    Dwarf_Addr bias = 0;
    for (Dwarf_Die* unit = nullptr; (unit = dwfl_module_nextcu(module, unit, &bias)) != nullptr;) {
        if (dwarf_haspc(unit, at - bias) <= 0) continue;
        if (Dwarf_Line* line = dwarf_getsrc_die(unit, at - bias)) {
            out.file = dwarf_linesrc(line, nullptr, nullptr);
            dwarf_lineno(line, &out.number);
        }
        break;
    }
    return out;
}

}  // namespace

std::optional<crash_report> parse_crash_trace(std::string_view text) {
    const auto begin = text.rfind(isolation::crash_begin);
    if (begin == std::string_view::npos) return std::nullopt;
    text.remove_prefix(begin + std::string_view(isolation::crash_begin).size());
    crash_report r;
    const auto line_end = std::min(text.find('\n'), text.size());
    auto head = text.substr(0, line_end);
    text.remove_prefix(std::min(line_end + 1, text.size()));
    r.signal = next_word(head);
    while (!head.empty()) {
        const auto key = next_word(head);
        if (key == "address") r.address = next_word(head);
        else if (key == "thread") r.thread = static_cast<std::int64_t>(number(next_word(head), 10));
        else if (key == "in") {
            while (head.starts_with(' ')) head.remove_prefix(1);
            r.call = head;
            break;
        }
    }
    while (!text.empty() && r.frames.size() < max_frames) {
        const auto end = std::min(text.find('\n'), text.size());
        const auto line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line == isolation::crash_end) break;
        if (auto f = frame_from(line)) r.frames.push_back(std::move(*f));
    }
    return r;
}

void symbolise(crash_report& report) {
    static char* no_debug_path = nullptr;
    static const Dwfl_Callbacks callbacks{dwfl_build_id_find_elf, dwfl_standard_find_debuginfo, dwfl_offline_section_address, &no_debug_path};
    struct session {
        Dwfl* at = dwfl_begin(&callbacks);
        ~session() {
            if (at) dwfl_end(at);
        }
    } dwfl;
    if (dwfl.at == nullptr) return;
    std::map<std::string, Dwfl_Module*> modules;
    dwfl_report_begin(dwfl.at);
    for (const auto& f : report.frames)
        if (f.function.empty() && f.module.starts_with('/') && !modules.contains(f.module)) modules[f.module] = dwfl_report_offline(dwfl.at, f.module.c_str(), f.module.c_str(), -1);
    dwfl_report_end(dwfl.at, nullptr, nullptr);
    for (std::size_t i = 0; i < report.frames.size(); ++i) {
        auto& f = report.frames[i];
        const auto found = modules.find(f.module);
        if (!f.function.empty() || f.offset == 0 || found == modules.end() || found->second == nullptr) continue;
        Dwarf_Addr start = 0;
        dwfl_module_info(found->second, nullptr, &start, nullptr, nullptr, nullptr, nullptr, nullptr);
        // A return address belongs to the instruction before it.
        const Dwarf_Addr at = start + f.offset - (i == 0 ? 0 : 1);
        if (const char* name = dwfl_module_addrname(found->second, at)) f.function = demangled(name);
        if (const auto line = source_of(found->second, at); line.file) f.source = std::string(line.file) + ":" + std::to_string(line.number);
    }
}

bool found_by_the_allocator(const crash_report& report) {
    if (report.signal != "SIGABRT") return false;
    for (const auto& f : report.frames)
        for (const char* part : {"malloc", "free", "calloc", "realloc"})
            if (f.module.find("/libc.so") != std::string::npos && f.function.find(part) != std::string::npos) return true;
    return false;
}

json crash_report::to_json() const {
    json stack = json::array();
    for (const auto& f : frames) {
        json one{{"module", f.module}, {"function", f.function}};
        if (!f.source.empty()) one["source"] = f.source;
        if (f.offset) one["offset"] = f.offset;
        stack.push_back(std::move(one));
    }
    json out{{"signal", signal}, {"call", call}, {"plugin", plugin}, {"isolated", isolated}, {"at", rfc3339(at)}, {"stack", std::move(stack)}};
    if (!address.empty()) out["address"] = address;
    if (!why_not.empty()) out["not_attributable"] = why_not;
    return out;
}

std::string crash_report::summary() const {
    std::string out = signal.empty() ? "it was ended" : signal;
    if (!call.empty() && call != "?") out += " in " + call;
    for (const auto& f : frames)
        if (!f.source.empty() && f.module.find("/libc.so") == std::string::npos && f.source.find("crash_trace.cpp:") == std::string::npos) {
            out += " at " + f.function + " (" + f.source + ")";
            break;
        }
    return out;
}

}  // namespace holdfast::plugins
