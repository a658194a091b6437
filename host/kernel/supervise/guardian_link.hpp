#pragma once
// What host and guardian say to each other: one line a message over a SEQPACKET socket, made anew for every start of the host.
//   host → guardian   ready TEXT · reloading · stopping · patience MILLISECONDS · here
//   guardian → host   there?
#include <memory>
#include <string>
#include <string_view>

#include "kernel/supervise/runtime.hpp"

namespace holdfast::supervise {

inline constexpr const char* guardian_link_variable = "HOLDFAST_GUARDIAN_LINK";  ///< the host's end; gone when host_main runs
inline constexpr const char* ended_before_variable = "HOLDFAST_ENDED_BEFORE"; ///< likewise; see guardian_link::ended_before
inline constexpr std::size_t max_link_message = 1024;                           ///< bytes; a longer TEXT is cut

namespace detail {
/// Takes the link out of the environment. [before any thread exists]
void adopt_guardian_link() noexcept;
/// false: the peer is gone or does not read.
bool send_line(int fd, std::string_view line) noexcept;
}  // namespace detail

/// The host's end. Without a guardian every call does nothing. [any thread]
class guardian_link {
  public:
    /// Answers the guardian from now on, on a pool thread: an answer says that reactor and pool run. Once per
    /// process; rt outlives it. Errors: as runtime::watch_fd.
    static result<std::unique_ptr<guardian_link>> open(runtime& rt);
    /// "_exit(3)": how the host before this one ended while it served, if it was by itself and without a signal. Else empty.
    static const std::string& ended_before();
    ~guardian_link();  ///< it is not answered any more

    void ready(std::string_view status);  ///< serving; also after reloading()
    void reloading() noexcept;
    void stopping() noexcept;
    /// A host that does not answer for so long is restarted; 0: it is left alone.
    void patience(milliseconds d);

  private:
    struct state;
    explicit guardian_link(std::shared_ptr<state> s);
    void say(std::string_view line) noexcept;
    std::shared_ptr<state> state_;  // second owner: an answer under way
};

}  // namespace holdfast::supervise
