#pragma once
// What a process says when it dies of a signal: which signal, in which call, and the stack, on stderr. Whoever supervises it reads
// that from the tail of its stderr (crash_report.hpp makes a report of it).
#include <string>
#include <string_view>

#include "kernel/plugins/isolation/wire.hpp"

namespace holdfast::plugins::isolation {

inline constexpr const char* crash_begin = "holdfast-crash:";  ///< + signal, address, what ran; frames follow, one a line
inline constexpr const char* crash_end = "holdfast-crash-end";

/// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP: say what happened, then die of the same signal. Once, before threads exist.
void install_crash_trace();

/// A signal stack for this thread, so that a stack overflow can be told, too. Lives as long as the thread's function.
class alternate_stack {
  public:
    alternate_stack();
    ~alternate_stack();
    alternate_stack(const alternate_stack&) = delete;
    alternate_stack& operator=(const alternate_stack&) = delete;

  private:
    void* memory_ = nullptr;
};

/// What this thread is doing in the plugin, for the trace.
namespace current_call {
void entered(kind what) noexcept;
void worker(std::string_view name) noexcept;
void left() noexcept;
}  // namespace current_call

}  // namespace holdfast::plugins::isolation
