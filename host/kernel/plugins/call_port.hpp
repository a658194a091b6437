#pragma once
// hf_call interfaces (hf.llm/1, hf.store/1) as a call_port: exactly one completion, whatever the plugin does.
#include <memory>
#include <string>
#include <type_traits>

#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/pin.hpp"
#include "kernel/plugins/ports.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::plugins {

inline constexpr std::size_t max_calls_per_port = 100'000;  ///< in flight at once; more are refused with overloaded

/// `rt` outlives every call; the port may be dropped while calls are in flight (they complete all the same).
/// `name` is for messages. Answers that come too late are dropped and counted in late_answers().
std::shared_ptr<call_port> make_call_port(resolver<hf_llm> resolve, supervise::runtime& rt, std::string name);
std::shared_ptr<call_port> make_call_port(resolver<hf_store> resolve, supervise::runtime& rt, std::string name);
std::uint64_t late_answers() noexcept;
void count_late_answer() noexcept;

/// Told once when the incarnation behind a lease ends (stopped, crashed), on any thread, or at once when it has ended already.
/// Leases that no plugin set gave out (tests) never end. Destroying the handle: the callback does not start any more.
class end_watch {
  public:
    end_watch() = default;
    end_watch(const std::shared_ptr<const void>& lease, unique_function<void(const std::string& why)> ended);
    end_watch(end_watch&&) noexcept = default;
    end_watch& operator=(end_watch&& o) noexcept;
    ~end_watch();
    void reset() noexcept;

  private:
    std::shared_ptr<struct end_entry> entry_;  // second owner: the incarnation
};

/// The key to mark calls through this lease with; 0 for leases that no plugin set gave out.
std::uint64_t mark_key(const std::shared_ptr<const void>& lease) noexcept;
/// An exception came out of a plugin's function: the instance counts as crashed (it is stopped and restarted by its rules).
void report_escape(const std::shared_ptr<const void>& lease, const char* what) noexcept;

/// Calls a function of a bound table, crash-marked; nothing unwinds out of it. An exception from the plugin answers HF_E_INTERNAL
/// (or a zero value) and counts as a crash of the instance.
///   int32_t rc = invoke(b, [&](auto& t, void* self) { return t.send(self, conn, bytes, &err); });
template <class Table, class F>
auto invoke(const bound<Table>& b, F&& f) noexcept -> std::invoke_result_t<F, const Table&, void*> {
    using returned = std::invoke_result_t<F, const Table&, void*>;
    call_mark mark(mark_key(b.lease));
    try {
        return f(*b.table, b.self);
    } catch (const std::exception& e) {
        report_escape(b.lease, e.what());
    } catch (...) {
        report_escape(b.lease, "an exception of an unknown type");
    }
    if constexpr (std::is_same_v<returned, std::int32_t>) return HF_E_INTERNAL;
    else if constexpr (!std::is_void_v<returned>) return returned{};
}

}  // namespace holdfast::plugins
