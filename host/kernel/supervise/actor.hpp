#pragma once
// Actors: a bounded mailbox, one message at a time, scheduled on a runtime. A message is a closure over the actor.
//
//   class counter final : public actor {
//     public:
//       explicit counter(runtime& rt) : actor(rt) {}
//       int n = 0;                                     // Owner: this actor. Touched only inside its messages.
//   };
//   ref<counter> c = spawn<counter>(rt);               // needs no supervisor; a supervisor's child is made by actor_child()
//   if (!c.tell([](counter& a) { ++a.n; })) …          // false: overloaded or stale, as_result() says which
//   c.call([](counter& a) { return a.n; }, [](result<int> n) { … });   // the reply runs in the callee's turn (or at once)
//
// Rules: A1 (one at a time, FIFO per sender, bounded), T1 (an exception ends this incarnation with an exit reason),
// S10 (a dead incarnation answers `stale` at once, also to calls still queued when it died).
#include <atomic>
#include <cassert>
#include <concepts>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "kernel/core/result.hpp"
#include "kernel/supervise/exit_reason.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::supervise {

inline constexpr std::uint32_t default_mailbox_capacity = 4096;
inline constexpr unsigned actor_turn_budget = 64;  ///< messages per turn before others get the thread

/// What became of a message.
class [[nodiscard]] delivery {
  public:
    enum code : std::uint8_t { accepted, overloaded, stale };
    constexpr delivery(code c) : code_(c) {}
    constexpr explicit operator bool() const { return code_ == accepted; }
    constexpr code value() const { return code_; }
    result<void> as_result() const;  ///< errc::overloaded or errc::stale

  private:
    code code_;
};

class actor;

/// Told about the two moments of an incarnation's life. Owned by the actor; called in its turn, ready at most once, exited
/// exactly once and last.
class lifecycle {
  public:
    virtual ~lifecycle() = default;
    virtual void ready(actor&) {}
    virtual void exited(actor&, const exit_reason&) noexcept {}
};

class actor : private detail::runnable {
  public:
    actor(const actor&) = delete;
    actor& operator=(const actor&) = delete;

    runtime& rt() const noexcept { return *runtime_; }
    std::uint64_t incarnation() const noexcept { return incarnation_; }  ///< unique in this process, increasing, from 1
    std::uint32_t mailbox_size() const noexcept { return size_.load(std::memory_order_relaxed); }
    std::uint32_t mailbox_capacity() const noexcept { return capacity_; }
    bool alive() const noexcept;  ///< [any thread] false once its exit has been reported
    static actor* current() noexcept;  ///< the actor whose turn this thread runs, or null

    /// [any thread] Appends a message. A refused message is left in the argument. Prefer ref<A>::tell.
    delivery push(task&& message) { return push_message(message, false); }
    /// [any thread] Never refused for being full: for exits, timers and replies, whose number is bounded elsewhere.
    delivery push_always(task&& message) { return push_message(message, true); }
    /// [any thread] Asks it to stop: on_stop() runs before the next message, ahead of everything queued.
    void request_stop() noexcept;
    /// [any thread] Ends it before the next message; reason `killed`. A message that is running is not interrupted.
    void request_kill(exit_kind why = exit_kind::killed) noexcept;

    void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept;
    /// Schedules the first turn, which runs on_start(). Once, by spawn or the supervisor.
    void start(std::unique_ptr<lifecycle> observer);

  protected:
    explicit actor(runtime& rt, std::uint32_t mailbox_capacity = default_mailbox_capacity);
    virtual ~actor();

    // Everything below runs in the actor's own turn.
    /// First turn. exit() or an exception here is a failed start.
    virtual void on_start() {}
    /// Told to stop. May finish asynchronously; the supervisor's shutdown timeout runs.
    virtual void on_stop() { exit({exit_kind::shutdown, 0, {}}); }
    /// Last turn; queued messages have been dropped.
    virtual void on_exit(const exit_reason&) noexcept {}
    /// Ends this incarnation once the current message returns; the rest of the mailbox is dropped. First reason wins.
    void exit(exit_reason reason);
    bool exiting() const noexcept { return exiting_; }
    /// In on_start(): the start is not over when it returns; ready() will say when (the start deadline runs).
    void defer_ready() noexcept { ready_deferred_ = true; }
    void ready();
    /// A timer whose callback runs as a message of this actor. It holds a reference until it fires or is cancelled: cancel it in
    /// on_exit(), or the memory of an ended actor stays until then.
    template <class F>
    [[nodiscard]] timer_handle tell_after(nanoseconds delay, F f);

  private:
    struct node;
    void run_turn() final;
    void drop() noexcept final;
    delivery push_message(task& message, bool always);
    void wake() noexcept;
    bool signals();
    void first_turn();
    void run_one(task& message);
    void finish() noexcept;
    void discard_queued() noexcept;

    runtime* runtime_;
    std::atomic<std::uint32_t> references_{1};
    std::atomic<std::uint32_t> size_{0};
    std::atomic<node*> inbox_;   // newest first; or one of the two marks in actor.cpp
    node* backlog_ = nullptr;    // oldest first. Owner: the turn
    std::uint64_t incarnation_;
    std::unique_ptr<lifecycle> lifecycle_;
    std::unique_ptr<exit_reason> reason_;
    std::uint32_t capacity_;
    std::atomic<std::uint8_t> signals_{0};
    bool started_ = false, ready_ = false, ready_deferred_ = false, exiting_ = false;  // Owner: the turn

    template <class A>
    friend class ref;
};

/// A counted reference to one incarnation. Holding it keeps the memory, not the actor, alive.
template <class A>
class ref {
  public:
    ref() = default;
    /// Takes over the reference that `new A` starts with.
    static ref adopt(A* a) noexcept {
        ref r;
        r.actor_ = a;
        return r;
    }
    static ref share(A* a) noexcept {
        if (a) a->add_reference();
        return adopt(a);
    }
    ref(const ref& o) noexcept : actor_(o.actor_) {
        if (actor_) actor_->add_reference();
    }
    ref(ref&& o) noexcept : actor_(std::exchange(o.actor_, nullptr)) {}
    template <class B, class = std::enable_if_t<std::is_base_of_v<A, B>>>
    ref(const ref<B>& o) noexcept : actor_(o.get()) {
        if (actor_) actor_->add_reference();
    }
    ref& operator=(ref o) noexcept {
        std::swap(actor_, o.actor_);
        return *this;
    }
    ~ref() {
        if (actor_) actor_->release();
    }
    explicit operator bool() const noexcept { return actor_ != nullptr; }
    A* get() const noexcept { return actor_; }
    A* operator->() const noexcept { return actor_; }
    std::uint64_t incarnation() const noexcept { return actor_ ? actor_->incarnation() : 0; }
    friend bool operator==(const ref& a, const ref& b) noexcept { return a.actor_ == b.actor_; }

    /// [any thread] f(A&) runs as one message. The pointer is valid there: a scheduled actor holds a reference to itself.
    template <class F>
    delivery tell(F f) const {
        return actor_->push([a = actor_, f = std::move(f)]() mutable { f(*a); });
    }
    /// Not subject to the mailbox bound; only for what is bounded elsewhere.
    template <class F>
    delivery tell_always(F f) const {
        return actor_->push_always([a = actor_, f = std::move(f)]() mutable { f(*a); });
    }
    /// Runs f(A&) as a message and gives done its result. done(result<R>) is called exactly once: with the value in the
    /// callee's turn; with `overloaded` or `stale` at once in this call; with `stale` when the actor ends before it got there
    /// or threw. f may return R, void, or result<R>.
    template <class F, class Done>
    void call(F f, Done done) const;

  private:
    A* actor_ = nullptr;
};

using actor_ref = ref<actor>;

template <class A>
ref<A> ref_cast(const actor_ref& r) {
    return ref<A>::share(static_cast<A*>(r.get()));
}

/// Makes and starts an actor that nobody supervises.
template <class A, class... Args>
ref<A> spawn(runtime& rt, Args&&... args) {
    auto r = ref<A>::adopt(new A(rt, std::forward<Args>(args)...));
    r->start(nullptr);
    return r;
}

/// A callback that is certain to be called once: dropping it unanswered answers `stale`.
template <class T>
class reply {
  public:
    using function = unique_function<void(result<T>)>;
    reply() = default;
    reply(function f) : f_(std::move(f)) {}
    reply(reply&&) noexcept = default;
    reply& operator=(reply&& o) noexcept {
        if (this != &o) {
            drop();
            f_ = std::move(o.f_);
        }
        return *this;
    }
    ~reply() { drop(); }
    explicit operator bool() const { return static_cast<bool>(f_); }
    void operator()(result<T> value) {
        auto f = std::move(f_);
        if (f) f(std::move(value));
    }

  private:
    void drop() noexcept {
        try {
            if (f_) (*this)(fail(errc::stale, "the actor asked ended before it answered"));
        } catch (...) {  // T1: the caller's callback must not break the destructor of a mailbox
        }
    }
    function f_;
};

namespace detail {
template <class R>
struct call_value {
    using type = R;
};
template <class T>
struct call_value<result<T>> {
    using type = T;
};
}  // namespace detail

template <class A>
template <class F, class Done>
void ref<A>::call(F f, Done done) const {
    using returned = std::invoke_result_t<F&, A&>;
    using value = typename detail::call_value<returned>::type;
    struct state {  // one allocation for both closures; owner: the message, or this call when it is refused
        F f;
        reply<value> done;
    };
    auto both = std::make_unique<state>(state{std::move(f), reply<value>(typename reply<value>::function(std::move(done)))});
    state* raw = both.get();
    task message([a = actor_, owned = std::move(both)]() mutable {
        if constexpr (std::is_void_v<returned>) {
            owned->f(*a);
            owned->done(result<void>{});
        } else {
            auto out = owned->f(*a);
            owned->done(result<value>(std::move(out)));
        }
    });
    if (auto sent = actor_->push(std::move(message)); !sent)  // refused: `message` still owns the state
        raw->done(result<value>(tl::unexpected<error>(sent.as_result().error())));
}

template <class F>
timer_handle actor::tell_after(nanoseconds delay, F f) {
    return rt().after(delay, [self = actor_ref::share(this), f = std::move(f)]() mutable {
        (void)self->push_always(task(std::move(f)));
    });
}

}  // namespace holdfast::supervise
