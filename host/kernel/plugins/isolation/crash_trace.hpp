#pragma once
// What a process says when it dies of a signal: which signal, in which call, and the stack, on stderr. Whoever supervises it reads
// that from the tail of its stderr (crash_report.hpp makes a report of it).
#include <string>
#include <string_view>

#include "kernel/plugins/isolation/wire.hpp"

namespace holdfast::plugins::isolation {

inline constexpr const char* crash_begin = "holdfast-crash:";  ///< + signal, address, what ran; frames follow, one a line
inline constexpr const char* crash_end = "holdfast-crash-end";

/// SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP: say what happened, on stderr and in `file` if it is given (made anew),
/// then die of the same signal. false: the file cannot be made.
bool install_crash_trace(const std::string& file = {});
/// From now on an exit() that was not announced with exit_is_meant() counts as a crash: a plugin called it. It leaves a trace and ends
/// the process with `code`.
void guard_exit(int code);
void exit_is_meant() noexcept;

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
