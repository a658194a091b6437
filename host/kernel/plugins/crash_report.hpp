#pragma once
// A crash, made readable: from the trace that the dying process wrote (isolation/crash_trace.hpp) to a report with function names,
// files and lines where the debug information is there.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"

namespace holdfast::plugins {

struct crash_frame {
    std::string module;    ///< path of the file the code is in
    std::string function;  ///< demangled; empty: not known
    std::string source;    ///< "file.cpp:12"; empty: not known
    std::uint64_t offset = 0;
};

struct crash_report {
    std::string signal;   ///< "SIGSEGV"; "exit(3)" for a process that was ended from within; empty: ended from outside
    std::string address;  ///< what was accessed, for memory faults
    std::string call;     ///< "submit", "worker feeder" …; "?" when not known
    std::int64_t thread = 0;
    std::vector<crash_frame> frames;  ///< innermost first
    std::string plugin;   ///< the guilty one; empty: not attributable
    std::string why_not;  ///< why not attributable
    bool isolated = false;
    wall_time at{};
    json to_json() const;
    std::string summary() const;  ///< one line
};

/// Finds the (last) trace in a text, for example the tail of a process's stderr. Nothing when there is none. The text is untrusted.
std::optional<crash_report> parse_crash_trace(std::string_view text);
/// Fills function and source of the frames from the modules' symbol tables and debug information. Reads files; takes tens of
/// milliseconds: never on a pool thread. What cannot be found stays empty.
void symbolise(crash_report& report);
/// The allocator noticed: whoever damaged the heap did so earlier, and may be anybody.
bool found_by_the_allocator(const crash_report& report);

}  // namespace holdfast::plugins
