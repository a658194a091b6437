#include "kernel/supervise/process.hpp"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kernel/supervise/detail/process_actor.hpp"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace holdfast::supervise::detail {
namespace {

constexpr std::size_t read_chunk = 64 << 10;
constexpr int reads_per_turn = 8;
constexpr std::size_t max_stderr_line = 8 << 10;
constexpr milliseconds usage_age{500};  // of a table that answers how much is used: all who ask at once share it

void close_fd(int& fd) {
    if (fd >= 0) ::close(std::exchange(fd, -1));
}

}  // namespace

process_actor::process_actor(runtime& rt, process_options options, process_callbacks callbacks, spawned_process p, std::shared_ptr<census> c)
    : actor(rt), pid_(p.pid), options_(std::move(options)), callbacks_(std::move(callbacks)), census_(std::move(c)), pidfd_(p.pidfd),
      out_{p.out, {}, line_splitter(options_.max_line, line_splitter::when_long::drop), false},
      err_{p.err, {}, line_splitter(max_stderr_line, line_splitter::when_long::cut), true}, in_(p.in) {}

process_actor::~process_actor() {
    for (int* fd : {&pidfd_, &out_.fd, &err_.fd, &in_}) close_fd(*fd);
}

template <class F>
void process_actor::guarded(F&& f) noexcept {  // T1: what a callback throws becomes the exit reason
    try {
        f();
    } catch (const std::exception& e) {
        if (callback_error_.empty()) callback_error_ = e.what();
    } catch (...) {
        if (callback_error_.empty()) callback_error_ = "a callback threw";
    }
    if (!callback_error_.empty() && !killed_.load()) kill_tree();
}

void process_actor::on_start() {
    watch(out_);
    watch(err_);
    auto w = rt().watch_fd(pidfd_, fd_readable, [self = ref<process_actor>::share(this)](std::uint32_t) {
        (void)self.tell_always([](process_actor& p) { p.leader_ended(); });
    }, dispatch::reactor);
    if (!w) {  // no descriptors left to watch it with: it cannot be supervised, so it does not run
        callback_error_ = w.error().message;
        kill_tree();
        leader_ended();
        return;
    }
    pidfd_watch_ = std::move(*w);
    window_began_ = rt().clock().now();
    sampler_ = tell_after(options_.sample_interval, [this] { sample(); });
}

void process_actor::watch(stream& s) {
    auto w = rt().watch_fd(s.fd, fd_readable, [self = ref<process_actor>::share(this), &s](std::uint32_t) {
        (void)self.tell_always([&s](process_actor& p) { p.read_stream(s); });
    }, dispatch::reactor);
    if (w)
        s.watch = std::move(*w);
    else
        end_stream(s);
}

// ---- output

void process_actor::read_stream(stream& s) {
    thread_local std::unique_ptr<char[]> buffer(new char[read_chunk]);
    for (int i = 0; i < reads_per_turn && s.fd >= 0; ++i) {
        const auto n = ::read(s.fd, buffer.get(), read_chunk);
        if (n > 0) {
            deliver(s, {buffer.get(), static_cast<std::size_t>(n)});
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        end_stream(s);
        finish_if_drained();
        return;
    }
    s.watch.rearm(fd_readable);
}

void process_actor::deliver(stream& s, std::string_view chunk) {
    if (s.is_stderr) {
        {
            std::lock_guard lock(tail_mutex_);
            tail_.append(chunk);
            if (tail_.size() > 2 * options_.stderr_ring) tail_.erase(0, tail_.size() - options_.stderr_ring);
        }
        if (callbacks_.on_stderr)
            s.lines.feed(chunk, [&](std::string_view l) { guarded([&] { callbacks_.on_stderr(l); }); }, [](std::size_t) {});
        return;
    }
    if (options_.raw_stdout) {
        if (callbacks_.on_line) guarded([&] { callbacks_.on_line(chunk); });
        return;
    }
    s.lines.feed(chunk, [&](std::string_view l) { if (callbacks_.on_line) guarded([&] { callbacks_.on_line(l); }); },
                 [&](std::size_t n) { if (callbacks_.on_oversize) guarded([&] { callbacks_.on_oversize(n); }); });
}

void process_actor::end_stream(stream& s) {
    if (s.fd < 0) return;
    s.watch.cancel();
    close_fd(s.fd);
    const auto& line = s.is_stderr ? callbacks_.on_stderr : callbacks_.on_line;
    s.lines.finish([&](std::string_view l) { if (line) guarded([&] { line(l); }); },
                   [&](std::size_t n) { if (callbacks_.on_oversize) guarded([&] { callbacks_.on_oversize(n); }); });
}

std::string process_actor::stderr_tail() const {
    std::lock_guard lock(tail_mutex_);
    return tail_.size() > options_.stderr_ring ? tail_.substr(tail_.size() - options_.stderr_ring) : tail_;
}

// ---- input

result<void> process_actor::write(std::string bytes) {
    std::lock_guard lock(write_mutex_);
    if (in_ < 0 || close_after_flush_) return fail(errc::transport_lost, "the process does not read any more");
    if (queued_ > 0 && queued_ + bytes.size() > options_.stdin_high_water) {
        refused_ = true;
        return fail(errc::overloaded, "the process reads too slowly; " + std::to_string(queued_) + " bytes are waiting");
    }
    queued_ += bytes.size();
    queue_.push_back(std::move(bytes));
    if (!in_armed_) flush_locked();
    if (in_ < 0) return fail(errc::transport_lost, "the process does not read any more");
    return {};
}

void process_actor::flush_locked() {
    while (in_ >= 0 && !queue_.empty()) {
        const auto& front = queue_.front();
        const auto n = ::write(in_, front.data() + offset_, front.size() - offset_);
        if (n >= 0) {
            offset_ += static_cast<std::size_t>(n);
            queued_ -= static_cast<std::size_t>(n);
            if (offset_ == front.size()) {
                queue_.pop_front();
                offset_ = 0;
            }
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return close_stdin_locked();  // EPIPE: nobody reads
        in_armed_ = true;
        if (!in_watch_) {
            auto w = rt().watch_fd(in_, fd_writable, [self = ref<process_actor>::share(this)](std::uint32_t) {
                (void)self.tell_always([](process_actor& p) {
                    bool empty_again = false;
                    {
                        std::lock_guard lock(p.write_mutex_);
                        p.in_armed_ = false;
                        p.flush_locked();
                        if (p.queue_.empty()) empty_again = std::exchange(p.refused_, false);
                    }
                    if (empty_again && p.callbacks_.on_drained_stdin) p.guarded([&] { p.callbacks_.on_drained_stdin(); });
                });
            }, dispatch::reactor);
            if (!w) return close_stdin_locked();
            in_watch_ = std::move(*w);
        } else if (!in_watch_.rearm(fd_writable)) {
            close_stdin_locked();
        }
        return;
    }
    if (close_after_flush_) close_stdin_locked();
}

void process_actor::close_stdin_locked() {
    in_watch_.cancel();
    close_fd(in_);
    queue_.clear();
    queued_ = offset_ = 0;
    in_armed_ = false;
}

void process_actor::close_stdin() {
    std::lock_guard lock(write_mutex_);
    close_after_flush_ = true;
    if (queue_.empty()) close_stdin_locked();
}

// ---- stop

void process_actor::stop() {
    if (intentional_.exchange(true)) return;  // O7: before anything is closed
    (void)push_always([this] { begin_stop(); });
}

void process_actor::begin_stop() {
    if (std::exchange(stop_begun_, true) || leader_gone_) return;
    with_table(&process_actor::ask_to_end);
}

void process_actor::ask_to_end(const table& now) {
    if (leader_gone_) return;
    remember(now);
    close_stdin();
    ladder_ = tell_after(options_.stop.after_stdin, [this] { step(SIGTERM); });
}

void process_actor::with_table(void (process_actor::*then)(const table&), nanoseconds age) {
    census_->ask([self = ref<process_actor>::share(this), then](const census::table& now) {
        (void)self.tell_always([then, now](process_actor& me) { (me.*then)(*now); });
    }, age);
}

void process_actor::step(int signal) {
    if (leader_gone_) return;
    if (signal == SIGKILL) return kill_tree();
    {
        std::lock_guard lock(life_mutex_);
        if (!reaped_) ::kill(-pid_, signal);
    }
    ladder_ = tell_after(options_.stop.after_term, [this] { step(SIGKILL); });
}

void process_actor::kill() {
    intentional_ = true;
    killed_ = true;
    {
        std::lock_guard lock(life_mutex_);
        if (!reaped_) ::kill(-pid_, SIGKILL);  // at once, whatever the actor is busy with
    }
    (void)push_always([this] { kill_tree(); });
}

/// The group, everything else in its session, and descendants that left both.
void process_actor::kill_tree() {
    killed_ = true;
    const process_table now(read_process_table());
    std::lock_guard lock(life_mutex_);
    if (reaped_) return;
    ::kill(-pid_, SIGKILL);
    kill_others_locked(now);
}

void process_actor::kill_others_locked(const table& now) {
    for (const auto& row : now.tree_of(pid_, known_))
        if (row.pid != pid_) kill_if_same(row);
}

/// A descendant that has a session of its own is found by its parent; when that has ended, by having been seen before.
void process_actor::remember(const table& now) {
    std::lock_guard lock(life_mutex_);
    known_ = now.tree_of(pid_, known_);
}

// ---- end

void process_actor::leader_ended() {
    if (leader_gone_) return;
    siginfo_t info{};
    // WNOWAIT: the zombie keeps its pid, and with it the group's number, ours until everything is done.
    if (waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_), &info, WEXITED | WNOWAIT | (callback_error_.empty() ? WNOHANG : 0)) != 0 ||
        info.si_pid == 0) {
        pidfd_watch_.rearm(fd_readable);
        return;
    }
    leader_gone_ = true;
    status_kind_ = info.si_code;
    status_ = info.si_status;
    pidfd_watch_.cancel();
    ladder_.cancel();
    sampler_.cancel();
    ::kill(-pid_, SIGKILL);  // what it left behind in its group: the tree ends with its leader (O4)
    for (auto* s : {&out_, &err_}) drain(*s);
    if (out_.fd >= 0 || err_.fd >= 0) {  // somebody still holds a pipe: whoever is in its session ends with it
        with_table(&process_actor::end_session);
        drain_ = tell_after(options_.drain_timeout, [this] { finish(false); });
    }
    finish_if_drained();
}

/// Everything the leader wrote is in the pipe by now. What somebody else goes on writing is not waited for.
void process_actor::drain(stream& s) {
    if (s.fd < 0) return;
    char buffer[16 << 10];
    int left = 0;
    if (::ioctl(s.fd, FIONREAD, &left) != 0) left = 0;
    while (left > 0) {
        const auto n = ::read(s.fd, buffer, std::min(sizeof buffer, static_cast<std::size_t>(left)));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        deliver(s, {buffer, static_cast<std::size_t>(n)});
        left -= static_cast<int>(n);
    }
    pollfd p{s.fd, POLLIN, 0};
    if (::poll(&p, 1, 0) > 0 && (p.revents & POLLIN) == 0) end_stream(s);  // empty, and nobody holds the other end
}

void process_actor::finish_if_drained() {
    if (leader_gone_ && out_.fd < 0 && err_.fd < 0) finish(true);
}

void process_actor::finish(bool drained) {
    if (told_exit_.load() || exiting()) return;
    drain_.cancel();
    end_stream(out_);
    end_stream(err_);
    {
        std::lock_guard lock(write_mutex_);
        close_stdin_locked();
    }
    auto how = describe_exit(drained);
    told_exit_ = true;
    if (callbacks_.on_exit) guarded([&] { callbacks_.on_exit(how); });
    reason_ = std::move(how.reason);
    with_table(&process_actor::end);
}

/// The stragglers, while the pid is still ours, and with it the number of the session.
void process_actor::end_session(const table& now) {
    std::lock_guard lock(life_mutex_);
    if (!reaped_) kill_others_locked(now);
}

/// After the news is out.
void process_actor::end(const table& now) {
    end_session(now);
    {
        std::lock_guard lock(life_mutex_);
        if (!std::exchange(reaped_, true)) {
            siginfo_t info{};
            waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_), &info, WEXITED);
        }
    }
    exit(reason_);
}

process_exit process_actor::describe_exit(bool drained) const {
    process_exit out;
    out.intentional = intentional_.load();
    out.drained = drained;
    out.stderr_tail = stderr_tail();
    auto& r = out.reason;
    const bool by_signal = status_kind_ == CLD_KILLED || status_kind_ == CLD_DUMPED;
    r.code = status_;
    if (!callback_error_.empty())
        r = {exit_kind::error, 0, callback_error_};
    else if (over_memory_)
        r = {exit_kind::memory_limit, status_, "over its memory limit of " + std::to_string(options_.memory_limit_bytes >> 20) + " MiB"};
    else if (over_cpu_)
        r = {exit_kind::cpu_limit, status_, "over its CPU limit of " + std::to_string(options_.cpu_limit_percent) + " % of a core"};
    else if (out.intentional && by_signal && status_ == SIGKILL && killed_.load())
        r = {exit_kind::killed, SIGKILL, "did not end when asked to"};
    else if (out.intentional)
        r.kind = exit_kind::shutdown;
    else if (by_signal)
        r = {exit_kind::signal, status_, strsignal(status_)};
    else
        r.kind = status_ == 0 ? exit_kind::normal : exit_kind::exit_code;
    return out;
}

void process_actor::on_stop() {
    intentional_ = true;
    begin_stop();
}

void process_actor::on_exit(const exit_reason&) noexcept {
    for (auto* t : {&ladder_, &drain_, &sampler_}) t->cancel();
    pidfd_watch_.cancel();
    for (auto* s : {&out_, &err_}) s->watch.cancel();
    callbacks_ = {};  // they may hold whoever holds us
    std::lock_guard lock(life_mutex_);
    if (!reaped_) ::kill(-pid_, SIGKILL);
}

void process_actor::end_now() {
    std::lock_guard lock(life_mutex_);
    if (reaped_) return;
    intentional_ = killed_ = true;
    const process_table now(read_process_table());
    ::kill(-pid_, SIGKILL);
    kill_others_locked(now);
    siginfo_t info{};
    waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_), &info, WEXITED);  // SIGKILL has been sent: this is short
    reaped_ = true;
    told_exit_ = true;
}

// ---- usage

void process_actor::sample() { with_table(&process_actor::look, options_.sample_interval / 2); }

void process_actor::look(const table& all) {
    if (leader_gone_) return;
    remember(all);
    const auto now = consumption(all);
    if (options_.memory_limit_bytes && now.rss_bytes > options_.memory_limit_bytes) {
        over_memory_ = true;
        if (callbacks_.on_memory_limit) guarded([&] { callbacks_.on_memory_limit(usage(all)); });
        kill_tree();
        return;
    }
    if (const auto t = rt().clock().now(); options_.cpu_limit_percent && t - window_began_ >= options_.cpu_window) {
        const auto used = milliseconds(now.cpu_ms > window_cpu_ms_ ? now.cpu_ms - window_cpu_ms_ : 0);  // less: processes have ended
        over_cpu_ = used * 100 > (t - window_began_) * options_.cpu_limit_percent;
        window_began_ = t;
        window_cpu_ms_ = now.cpu_ms;
        if (over_cpu_) return kill_tree();
    }
    sampler_ = tell_after(options_.sample_interval, [this] { sample(); });
}

process_usage process_actor::consumption(const table& now) const {
    process_usage u;
    u.pid = pid_;
    std::lock_guard lock(life_mutex_);
    if (reaped_) return u;
    for (const auto& row : now.tree_of(pid_, known_)) {
        u.rss_bytes += row.rss_bytes;
        u.cpu_ms += row.cpu_ms;
        ++u.processes;
    }
    return u;
}

process_usage process_actor::usage() const {
    const auto now = census_->latest(usage_age);
    return usage(now->find(pid_) || !running() ? *now : *census_->latest());  // it may be younger than that reading
}

process_usage process_actor::usage(const process_table& now) const {
    auto u = consumption(now);
    const std::string dir = "/proc/" + std::to_string(pid_) + "/fd";
    if (DIR* d = ::opendir(dir.c_str())) {
        while (const dirent* e = ::readdir(d)) {
            if (e->d_name[0] == '.') continue;
            ++u.descriptors;
            char target[64];
            const auto n = ::readlinkat(dirfd(d), e->d_name, target, sizeof target);
            if (n > 7 && std::memcmp(target, "socket:", 7) == 0) ++u.sockets;
        }
        ::closedir(d);
    }
    return u;
}

}  // namespace holdfast::supervise::detail
