#include "kernel/plugins/detail/lane.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <thread>

namespace holdfast::plugins::detail {
namespace {

constexpr auto linger = std::chrono::milliseconds(250);

struct registry {
    std::mutex mutex;
    std::multiset<long> tids;
};
registry& known_threads() {
    static auto* r = new registry;  // outlives threads that are lost
    return *r;
}

}  // namespace

struct control_lane::job {
    body f;
    done finished;
    std::atomic<bool> answered{false};
    supervise::timer_handle deadline;  // Owner: run(), before the job is visible to the thread
    void answer(step_result r) {
        if (answered.exchange(true)) return;
        auto g = std::move(finished);
        g(std::move(r));
    }
};

void control_lane::run(body f, nanoseconds deadline, done finished) {
    auto j = std::make_shared<job>();
    j->f = std::move(f);
    j->finished = std::move(finished);
    bool lost = false;
    {
        std::lock_guard lock(mutex_);
        if (!lost_) {
            j->deadline = rt_.after(deadline, [self = shared_from_this(), weak = std::weak_ptr(j)] {
                auto late = weak.lock();
                if (!late || late->answered.load()) return;
                {
                    std::lock_guard inner(self->mutex_);
                    self->lost_ = true;
                }
                late->answer({step_outcome::timed_out, "its thread is lost"});
            });
            queue_.push_back(j);
            if (alive_) return arrived_.notify_one();
            try {
                // Detached on purpose: a plugin that never comes back must not hold up anybody; everything it touches is shared.
                std::thread([self = shared_from_this()] { self->loop(); }).detach();
                alive_ = true;
                return;
            } catch (const std::system_error&) {
                queue_.clear();  // not alive: it held nothing else
                j->deadline.cancel();
            }
        } else {
            lost = true;
        }
    }
    if (!lost) return j->answer({step_outcome::failed, "no thread could be started: the system's limit is reached"});
    j->answer({step_outcome::timed_out, "its thread was lost before"});
}

void control_lane::loop() {
    host_thread here;
    pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
    std::unique_lock lock(mutex_);
    for (;;) {
        if (!arrived_.wait_for(lock, linger, [&] { return !queue_.empty(); })) break;
        auto j = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        step_result r;
        try {
            r = j->f();
        } catch (const std::exception& e) {
            r = {step_outcome::threw, e.what()};
        } catch (...) {
            r = {step_outcome::threw, "an exception of an unknown type"};
        }
        j->f.reset();
        j->answer(std::move(r));
        j->deadline.cancel();
        j.reset();
        lock.lock();
        if (lost_) {
            queue_.clear();  // their deadlines answer for them
            break;
        }
    }
    alive_ = false;
}

host_thread::host_thread() {
    auto& r = known_threads();
    std::lock_guard lock(r.mutex);
    r.tids.insert(syscall(SYS_gettid));
}
host_thread::~host_thread() {
    auto& r = known_threads();
    std::lock_guard lock(r.mutex);
    r.tids.erase(r.tids.find(syscall(SYS_gettid)));
}

std::vector<std::string> foreign_threads(const std::string& prefix, nanoseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
        std::vector<std::string> out;
        DIR* d = opendir("/proc/self/task");
        if (d == nullptr) return out;
        while (const dirent* e = readdir(d)) {
            const long tid = std::strtol(e->d_name, nullptr, 10);
            if (tid <= 0) continue;
            char name[32] = {};
            const int fd = open(("/proc/self/task/" + std::to_string(tid) + "/comm").c_str(), O_RDONLY | O_CLOEXEC);
            if (fd < 0) continue;
            const ssize_t n = read(fd, name, sizeof name - 1);
            close(fd);
            std::string_view text(name, n > 0 ? static_cast<std::size_t>(n) : 0);
            if (text.ends_with('\n')) text.remove_suffix(1);
            if (!text.starts_with(prefix)) continue;
            auto& r = known_threads();
            std::lock_guard lock(r.mutex);
            if (!r.tids.contains(tid)) out.push_back(std::string(text) + " (tid " + std::to_string(tid) + ")");
        }
        closedir(d);
        if (out.empty() || std::chrono::steady_clock::now() >= until) return out;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

}  // namespace holdfast::plugins::detail
