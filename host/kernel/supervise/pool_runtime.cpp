// The pool: one run queue that every thread takes from, and one reactor thread for timers and descriptors.
//
// One shared queue means nothing can be stuck behind an actor that blocks a thread (actor-framework#1866) as long as another
// thread is free. What it costs is a lock per turn; what it would cost more is a wake-up per message, so a thread that has
// nothing to do stays a "watcher" (it looks again every half millisecond) while others run, and a single item queued from
// inside the pool does not wake it: the thread that queued it usually takes it a moment later.
#include <linux/futex.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <thread>
#include <unordered_map>

#include "kernel/supervise/detail/timer_heap.hpp"
#include "kernel/supervise/runtime.hpp"
#include "kernel/supervise/watchdog.hpp"

namespace holdfast::supervise {
namespace {

constexpr auto watcher_interval = std::chrono::microseconds(500);
constexpr int reactor_batch = 64;
constexpr nanoseconds destructor_deadline = seconds(5);

thread_local const void* current_pool = nullptr;

/// Spins briefly before sleeping: the critical sections here are a few nanoseconds long.
class adaptive_mutex {
  public:
    adaptive_mutex() {
        pthread_mutexattr_t a;
        pthread_mutexattr_init(&a);
        pthread_mutexattr_settype(&a, PTHREAD_MUTEX_ADAPTIVE_NP);
        pthread_mutex_init(&m_, &a);
        pthread_mutexattr_destroy(&a);
    }
    ~adaptive_mutex() { pthread_mutex_destroy(&m_); }
    void lock() { pthread_mutex_lock(&m_); }
    void unlock() { pthread_mutex_unlock(&m_); }

  private:
    pthread_mutex_t m_;
};

/// A thread sleeps here until unparked.
class parking_spot {
  public:
    void unpark() {
        word_.store(1, std::memory_order_release);
        syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
    /// timeout 0: for ever. false: it passed.
    bool park(nanoseconds timeout) {
        timespec ts{static_cast<time_t>(timeout.count() / 1'000'000'000), static_cast<long>(timeout.count() % 1'000'000'000)};
        while (word_.exchange(0, std::memory_order_acquire) == 0) {
            const long r = syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, 0, timeout.count() ? &ts : nullptr, nullptr, 0);
            if (r < 0 && errno == ETIMEDOUT) return word_.exchange(0, std::memory_order_acquire) != 0;
        }
        return true;
    }

  private:
    std::atomic<std::uint32_t> word_{0};
};

void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

std::uint32_t to_epoll(std::uint32_t interest) {
    return EPOLLONESHOT | (interest & fd_readable ? EPOLLIN : 0u) | (interest & fd_writable ? EPOLLOUT : 0u);
}

}  // namespace

struct pool_runtime::impl final : detail::watch_state::poller, std::enable_shared_from_this<pool_runtime::impl> {
    struct worker {
        parking_spot spot;
        std::thread thread;
        /// Counts at the beginning and at the end of each turn: odd inside one. Second owner: the watchdog.
        std::shared_ptr<std::atomic<std::uint64_t>> beats = std::make_shared<std::atomic<std::uint64_t>>(0);
        std::atomic<std::uint32_t> tid{0};
        watchdog::registration watched;
        bool replaced = false;  // guarded by queue_mutex
    };

    // --- run queue. Guarded by queue_mutex.
    adaptive_mutex queue_mutex;
    struct run_queue {
        detail::runnable* head = nullptr;
        detail::runnable* tail = nullptr;
        void push(detail::runnable* item) {
            item->next_runnable = nullptr;
            (tail ? tail->next_runnable : head) = item;
            tail = item;
        }
        detail::runnable* pop() {
            auto* item = head;
            head = item->next_runnable;
            if (!head) tail = nullptr;
            return item;
        }
    } ordinary, prompt;
    bool prompt_turn = true;         // of the two, when both have something
    std::size_t queued = 0;
    std::vector<worker*> parked;
    worker* watcher = nullptr;
    bool stopping = false;
    std::uint64_t turns = 0;

    std::vector<std::unique_ptr<worker>> workers;  // grows under queue_mutex when one is lost
    std::size_t lost = 0;
    std::string name;
    watchdog* dog = nullptr;
    nanoseconds turn_deadline{};
    std::function<void(std::uint32_t)> stuck;
    std::atomic<std::uint64_t> escaped{0};
    system_clock own_clock;
    const clock_source* clock = nullptr;

    // --- reactor
    int epoll = -1, wake = -1, timer = -1;
    std::thread reactor;
    std::atomic<bool> reactor_stop{false};
    std::mutex timer_mutex;
    detail::timer_heap timers;       // guarded by timer_mutex
    steady_time armed_for = steady_time::max();
    bool timers_closed = false;
    std::mutex watch_mutex;          // leaf: taken with a watch's own mutex held
    std::unordered_map<std::uint64_t, std::weak_ptr<detail::watch_state>> watches;
    std::uint64_t next_watch = 2;    // 0 and 1 are the reactor's own descriptors
    bool watches_closed = false;

    // --- threads that have not ended
    std::mutex end_mutex;
    std::condition_variable ended;
    std::size_t alive = 0, stuck_threads = 0;  // stuck: among the living, replaced and not back yet

    ~impl() override {
        for (int fd : {epoll, wake, timer})
            if (fd >= 0) ::close(fd);
        drop_queued();
    }

    bool enqueue(detail::runnable* item) { return enqueue(item, ordinary); }
    bool enqueue(detail::runnable* item, run_queue& to) {
        worker* to_wake = nullptr;
        {
            std::lock_guard lock(queue_mutex);
            if (stopping) return false;
            to.push(item);
            ++queued;
            if (!parked.empty() && (current_pool != this || queued > 1 || !watcher)) {
                to_wake = parked.back();
                parked.pop_back();
                if (watcher == to_wake) watcher = nullptr;
            }
        }
        if (to_wake) to_wake->spot.unpark();
        return true;
    }
    bool enqueue_watch(detail::runnable* item, dispatch where) override { return enqueue(item, where == dispatch::prompt ? prompt : ordinary); }

    void work(worker& me) {
        current_pool = this;
        std::unique_lock lock(queue_mutex);
        while (!stopping && !me.replaced) {
            if (queued > 0) {
                prompt_turn = prompt.head && (prompt_turn || !ordinary.head);
                auto* item = (prompt_turn ? prompt : ordinary).pop();
                prompt_turn = !prompt_turn;
                --queued;
                ++turns;
                lock.unlock();
                const auto beat = me.beats->load(std::memory_order_relaxed);
                me.beats->store(beat + 1, std::memory_order_relaxed);
                run(item);
                me.beats->store(beat + 2, std::memory_order_relaxed);
                lock.lock();
                continue;
            }
            const bool others_run = parked.size() + 1 < workers.size() - lost;
            const bool watch = others_run && !watcher;
            if (watch) watcher = &me;
            parked.push_back(&me);
            lock.unlock();
            const bool woken = me.spot.park(watch ? nanoseconds(watcher_interval) : nanoseconds(0));
            lock.lock();
            if (!woken) {
                // Either still listed, or somebody took us off the list this instant and its unpark is on the way.
                if (std::erase(parked, &me) == 0) {
                    lock.unlock();
                    me.spot.park(nanoseconds(0));
                    lock.lock();
                } else if (watcher == &me) {
                    watcher = nullptr;
                }
            }
        }
        current_pool = nullptr;
    }

    /// With queue_mutex held, or before there are threads.
    worker& add_worker() {
        workers.push_back(std::make_unique<worker>());
        return *workers.back();
    }
    void watch(worker& w) {
        w.watched = dog->watch(w.beats, turn_deadline, [weak = weak_from_this(), &w](watch_stage stage) {
            // The worker lives as long as the pool.
            if (auto me = weak.lock(); me && stage == watch_stage::hung) me->replace(w);
        }, true);
    }
    void start(worker& w, std::size_t number) {
        if (dog != nullptr) watch(w);
        w.thread = std::thread([self = shared_from_this(), &w, name = name + "-" + std::to_string(number)] {
            name_this_thread(name);
            w.tid.store(static_cast<std::uint32_t>(gettid()));
            self->work(w);
            bool replaced = false;
            {
                std::lock_guard lock(self->queue_mutex);
                replaced = w.replaced;
            }
            self->thread_ended(replaced);
        });
    }
    /// [the watchdog's thread]
    void replace(worker& gone) {
        {
            std::lock_guard lock(queue_mutex);
            if (stopping || gone.replaced) return;
            gone.replaced = true;
            ++lost;
            {
                std::lock_guard ends(end_mutex);
                ++alive;
                ++stuck_threads;
            }
            const std::size_t number = workers.size();
            start(add_worker(), number);
        }
        if (stuck) stuck(gone.tid.load());
    }

    void run(detail::runnable* item) noexcept {
        try {
            item->run_turn();
        } catch (...) {  // T1: nothing that is posted may end the host
            escaped.fetch_add(1, std::memory_order_relaxed);
        }
    }

    void drop_queued() {
        run_queue left[2];
        {
            std::lock_guard lock(queue_mutex);
            left[0] = std::exchange(ordinary, {});
            left[1] = std::exchange(prompt, {});
            queued = 0;
        }
        for (auto& q : left)
            while (q.head) q.pop()->drop();
    }

    // --- timers
    void add(std::shared_ptr<detail::timer_state> t) {
        std::lock_guard lock(timer_mutex);
        if (timers_closed) {
            t->cancel();
            return;
        }
        if (timers.push(std::move(t)) && timers.earliest() < armed_for) arm_timer();
    }
    void arm_timer() {  // with timer_mutex held
        timers.drop_cancelled_front();
        armed_for = timers.empty() ? steady_time::max() : timers.earliest();
        itimerspec spec{};
        if (armed_for != steady_time::max()) {
            const auto ns = std::max<std::int64_t>(1, armed_for.time_since_epoch().count());
            spec.it_value = {ns / 1'000'000'000, ns % 1'000'000'000};
        }
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, nullptr);  // steady_clock is CLOCK_MONOTONIC
    }
    void fire_due() {
        std::vector<std::shared_ptr<detail::timer_state>> due;
        {
            std::lock_guard lock(timer_mutex);
            const auto now = std::chrono::steady_clock::now();
            while (auto t = timers.pop_due(now)) due.push_back(std::move(t));
            arm_timer();
        }
        for (auto& t : due) {
            t->self = t;
            auto* item = t.get();
            if (!enqueue(item)) item->drop();
        }
    }

    // --- descriptors
    bool arm(detail::watch_state& w, std::uint32_t interest) override {
        epoll_event e{};
        e.events = to_epoll(interest);
        e.data.u64 = w.id;
        return epoll_ctl(epoll, EPOLL_CTL_MOD, w.fd, &e) == 0;
    }
    void remove(detail::watch_state& w) override {
        epoll_ctl(epoll, EPOLL_CTL_DEL, w.fd, nullptr);
        std::lock_guard lock(watch_mutex);
        watches.erase(w.id);
    }

    void react() {
        name_this_thread("hf-reactor");
        epoll_event events[reactor_batch];
        while (!reactor_stop.load(std::memory_order_acquire)) {
            const int n = epoll_wait(epoll, events, reactor_batch, -1);
            for (int i = 0; i < n; ++i) {
                const auto id = events[i].data.u64;
                std::uint64_t discard = 0;
                if (id == 0) {
                    [[maybe_unused]] const auto r = ::read(wake, &discard, sizeof discard);
                } else if (id == 1) {
                    [[maybe_unused]] const auto r = ::read(timer, &discard, sizeof discard);
                    fire_due();
                } else {
                    std::shared_ptr<detail::watch_state> w;
                    {
                        std::lock_guard lock(watch_mutex);
                        if (const auto it = watches.find(id); it != watches.end()) w = it->second.lock();
                    }
                    if (!w) continue;
                    const auto e = events[i].events;
                    std::uint32_t ready = 0;
                    if (e & EPOLLIN) ready |= fd_readable;
                    if (e & EPOLLOUT) ready |= fd_writable;
                    if (e & (EPOLLHUP | EPOLLERR)) ready |= fd_hangup;
                    try {
                        w->on_ready(ready);
                    } catch (...) {
                        escaped.fetch_add(1, std::memory_order_relaxed);
                    }
                }
            }
        }
    }

    void thread_ended(bool was_stuck = false) {
        std::lock_guard lock(end_mutex);
        --alive;
        if (was_stuck) --stuck_threads;
        ended.notify_all();
    }
};

pool_runtime::pool_runtime(pool_options options) : impl_(std::make_shared<impl>()) {
    auto& s = *impl_;
    s.clock = options.clock ? options.clock : &s.own_clock;
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    s.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s.epoll < 0 || s.wake < 0 || s.timer < 0)
        throw std::runtime_error("no descriptors left for the runtime: " + std::string(std::strerror(errno)));
    std::uint64_t id = 0;
    for (int fd : {s.wake, s.timer}) {
        epoll_event e{};
        e.events = EPOLLIN;
        e.data.u64 = id++;
        epoll_ctl(s.epoll, EPOLL_CTL_ADD, fd, &e);
    }
    const std::size_t n = options.threads ? options.threads : std::max<std::size_t>(2, std::thread::hardware_concurrency());
    s.name = options.name;
    for (std::size_t i = 0; i < n; ++i) s.add_worker();
    s.alive = n + 1;
    for (std::size_t i = 0; i < n; ++i) s.start(*s.workers[i], i);
    s.reactor = std::thread([self = impl_] {
        self->react();
        self->thread_ended();
    });
}

void pool_runtime::watch_turns(watchdog& dog, nanoseconds deadline, std::function<void(std::uint32_t)> stuck) {
    auto& s = *impl_;
    s.dog = &dog;
    s.turn_deadline = deadline;
    s.stuck = std::move(stuck);
    for (auto& w : s.workers) s.watch(*w);
}

pool_runtime::~pool_runtime() { stop(destructor_deadline); }

bool pool_runtime::stop(nanoseconds deadline) {
    auto& s = *impl_;
    std::vector<impl::worker*> to_wake;
    {
        std::lock_guard lock(s.queue_mutex);
        s.stopping = true;
        to_wake.swap(s.parked);
        s.watcher = nullptr;
    }
    for (auto* w : to_wake) w->spot.unpark();
    s.reactor_stop.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto r = ::write(s.wake, &one, sizeof one);
    std::vector<std::shared_ptr<detail::timer_state>> timers;
    {
        std::lock_guard lock(s.timer_mutex);
        s.timers_closed = true;
        timers = s.timers.take_all();
    }
    for (auto& t : timers) t->cancel();
    std::vector<std::shared_ptr<detail::watch_state>> watches;
    {
        std::lock_guard lock(s.watch_mutex);
        s.watches_closed = true;
        for (auto& [id, w] : s.watches)
            if (auto live = w.lock()) watches.push_back(std::move(live));
    }
    for (auto& w : watches) w->cancel();
    bool all = false;
    {
        std::unique_lock lock(s.end_mutex);
        // For one that is known to be stuck there is no waiting.
        (void)s.ended.wait_for(lock, deadline, [&] { return s.alive == s.stuck_threads; });
        all = s.alive == 0;
    }
    const auto end = [all](std::thread& t) {
        if (!t.joinable()) return;
        if (all)
            t.join();
        else
            t.detach();
    };
    for (auto& w : s.workers) end(w->thread);
    end(s.reactor);
    s.drop_queued();
    return all;
}

const clock_source& pool_runtime::clock() const { return *impl_->clock; }

result<fd_watch> pool_runtime::watch_fd(int fd, std::uint32_t interest, unique_function<void(std::uint32_t)> f,
                                        dispatch where) {
    auto& s = *impl_;
    auto w = std::make_shared<detail::watch_state>();
    w->owner = impl_;
    w->fd = fd;
    w->interest = interest;
    w->where = where;
    w->callback = std::move(f);
    std::lock_guard state_lock(w->mutex);
    {
        std::lock_guard lock(s.watch_mutex);
        if (s.watches_closed) return fail(errc::unavailable, "the runtime has stopped");
        w->id = s.next_watch++;
        s.watches.emplace(w->id, w);
    }
    epoll_event e{};
    e.events = to_epoll(interest);
    e.data.u64 = w->id;
    if (epoll_ctl(s.epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        const int why = errno;
        std::lock_guard lock(s.watch_mutex);
        s.watches.erase(w->id);
        w->cancelled = true;
        return fail(errc::io_error, "descriptor " + std::to_string(fd) + " cannot be watched: " + std::strerror(why));
    }
    return fd_watch(w);
}

bool pool_runtime::enqueue(detail::runnable* item) { return impl_->enqueue(item); }
bool pool_runtime::on_pool_thread() const noexcept { return current_pool == impl_.get(); }

runtime::counters pool_runtime::stats() const {
    counters c;
    {
        std::lock_guard lock(impl_->queue_mutex);
        c.turns = impl_->turns;
        c.queued = impl_->queued;
    }
    {
        std::lock_guard lock(impl_->timer_mutex);
        c.timers = impl_->timers.pending();
    }
    {
        std::lock_guard lock(impl_->queue_mutex);
        c.threads = impl_->workers.size() - impl_->lost;
        c.lost = impl_->lost;
    }
    c.escaped = impl_->escaped.load(std::memory_order_relaxed);
    return c;
}

void pool_runtime::add_timer(std::shared_ptr<detail::timer_state> t) { impl_->add(std::move(t)); }

}  // namespace holdfast::supervise
