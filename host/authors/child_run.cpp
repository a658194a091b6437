#include "authors/child_run.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "holdfast/testing/loader.hpp"

namespace holdfast::authors {
namespace {

constexpr std::size_t max_said = 1u << 20;
constexpr std::size_t words_kept = 300;
constexpr rlim_t max_growth = rlim_t{4} << 30;  // a plugin that allocates without end fails its check, not the machine

struct descriptor {
    int value = -1;
    ~descriptor() { close(); }
    void close() {
        if (value >= 0) ::close(std::exchange(value, -1));
    }
};

/// What is mapped privately and writable, as RLIMIT_DATA counts it: a sanitizer's shadow alone is terabytes that are never touched.
rlim_t data_now() {
    std::ifstream in("/proc/self/statm");
    rlim_t pages = 0;
    for (int field = 1; field <= 6; ++field) in >> pages;  // size resident shared text lib data
    return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

[[noreturn]] void child(const std::function<std::string()>& body, int out, int err) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlim_t max_data = data_now() + max_growth;
    const rlimit none{0, 0}, data{max_data, max_data};
    ::setrlimit(RLIMIT_CORE, &none);
    ::setrlimit(RLIMIT_DATA, &data);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, 0), ::dup2(err, 1), ::dup2(err, 2);
    const std::string said = body();
    for (std::size_t done = 0; done < said.size();) {
        const ssize_t n = ::write(out, said.data() + done, said.size() - done);
        if (n < 0 && errno != EINTR) break;
        if (n > 0) done += static_cast<std::size_t>(n);
    }
    ::_exit(0);
}

/// What the child left behind became ours, because we are a subreaper.
void end_the_rest(pid_t session) {
    ::kill(-session, SIGKILL);
    for (int rounds = 0; rounds < 100; ++rounds) {
        std::ifstream in("/proc/self/task/" + std::to_string(::getpid()) + "/children");
        bool any = false;
        for (pid_t pid = 0; in >> pid;) {
            any = true;
            ::kill(pid, SIGKILL);
            ::waitpid(pid, nullptr, 0);
        }
        if (!any) return;
    }
}

/// The first and the last of it: a reason stands at either end.
std::string words_of(int fd) {
    const off_t size = ::lseek(fd, 0, SEEK_END);
    if (size <= 0) return {};
    const auto part = [fd](off_t at, std::size_t n) {
        std::string text(n, '\0');
        const ssize_t got = ::pread(fd, text.data(), n, at);
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    };
    const auto all = static_cast<std::size_t>(size);
    std::string text = all <= 2 * words_kept ? part(0, all) : part(0, words_kept) + " … " + part(size - static_cast<off_t>(words_kept), words_kept);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

}  // namespace

child_outcome run_in_child(const std::function<std::string()>& body, milliseconds limit) {
    child_outcome out;
    descriptor read_end, write_end, err{::memfd_create("words", MFD_CLOEXEC)};
    int ends[2];
    auto* const step = static_cast<char*>(::mmap(nullptr, testing::step_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (err.value < 0 || step == MAP_FAILED || ::pipe2(ends, O_CLOEXEC) != 0) {
        out.died = std::string("no child could be made: ") + std::strerror(errno);
        return out;
    }
    read_end.value = ends[0], write_end.value = ends[1];
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    const pid_t pid = ::fork();
    if (pid < 0) {
        out.died = std::string("no child could be made: ") + std::strerror(errno);
        return out;
    }
    if (pid == 0) {
        testing::note_steps_in(step);
        child(body, write_end.value, err.value);
    }
    write_end.close();
    const descriptor pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
    const auto deadline = std::chrono::steady_clock::now() + limit;
    bool late = false, ended = false, closed = false;
    while (!ended || !closed) {
        const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now()).count();
        if (left <= 0 && !ended) {
            late = true;
            break;
        }
        pollfd polled[2] = {{closed ? -1 : read_end.value, POLLIN, 0}, {ended ? -1 : pidfd.value, POLLIN, 0}};
        // Once the child has ended nothing more comes, even if something it started holds the pipe.
        if (::poll(polled, 2, ended ? 0 : static_cast<int>(left)) <= 0) {
            if (ended) break;
            continue;
        }
        if (polled[1].revents != 0) ended = true;
        if (polled[0].revents != 0) {
            char data[4096];
            const ssize_t n = ::read(read_end.value, data, sizeof data);
            if (n > 0 && out.said.size() < max_said) out.said.append(data, static_cast<std::size_t>(n));
            if (n == 0) closed = true;
        }
    }
    if (late) ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    end_the_rest(pid);
    const std::string where = step[0] ? std::string(" in ") + step : "";
    if (late)
        out.died = "no end within " + std::to_string(limit.count() / 1000) + " s" + where;
    else if (WIFSIGNALED(status))
        out.died = std::string("SIG") + ::sigabbrev_np(WTERMSIG(status)) + where;
    else if (WEXITSTATUS(status) != 0 || out.said.empty())
        out.died = "the process ended with exit code " + std::to_string(WEXITSTATUS(status)) + where;
    out.words = words_of(err.value);
    ::munmap(step, testing::step_size);
    return out;
}

}  // namespace holdfast::authors
