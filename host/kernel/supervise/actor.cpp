#include "kernel/supervise/actor.hpp"

#include <exception>

namespace holdfast::supervise {

/// One queued message.
struct actor::node {
    node* next;
    task message;
};

namespace {

std::atomic<std::uint64_t> next_incarnation{1};
thread_local actor* current_actor = nullptr;

constexpr std::uint8_t stop_signal = 1, kill_signal = 2, hang_signal = 4;

}  // namespace

// The inbox word is null (scheduled or running, nothing new), a node (newest first), or one of two marks:
// idle (not scheduled: whoever replaces it schedules the actor) and closed (ended: nothing is accepted any more).
static char idle_mark, closed_mark;
template <class Node>
static Node* idle() { return reinterpret_cast<Node*>(&idle_mark); }
template <class Node>
static Node* closed() { return reinterpret_cast<Node*>(&closed_mark); }

result<void> delivery::as_result() const {
    switch (code_) {
        case accepted: return {};
        case overloaded: return fail(errc::overloaded, "the mailbox is full; retry later");
        case stale: break;
    }
    return fail(errc::stale, "this incarnation has ended; look the name up again");
}

actor::actor(runtime& rt, std::uint32_t mailbox_capacity)
    : runtime_(&rt), inbox_(nullptr), incarnation_(next_incarnation.fetch_add(1, std::memory_order_relaxed)), capacity_(mailbox_capacity) {}

actor::~actor() {
    discard_queued();
}

actor* actor::current() noexcept { return current_actor; }

bool actor::alive() const noexcept { return inbox_.load(std::memory_order_acquire) != closed<node>(); }

void actor::release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void actor::start(std::unique_ptr<lifecycle> observer) {
    lifecycle_ = std::move(observer);
    // Messages may have been queued before the start (the name is registered first): the inbox is then not empty, but nothing
    // was scheduled, because only the idle mark schedules.
    wake();
}

void actor::wake() noexcept {
    add_reference();  // the run queue's: the actor cannot be freed while its turn is queued or on a stack
    if (!runtime_->enqueue(this)) drop();
}

delivery actor::push_message(task& message, bool always) {
    if (size_.fetch_add(1, std::memory_order_relaxed) >= capacity_ && !always) {
        size_.fetch_sub(1, std::memory_order_relaxed);
        return alive() ? delivery::overloaded : delivery::stale;
    }
    auto* n = new node{nullptr, std::move(message)};
    auto* seen = inbox_.load(std::memory_order_relaxed);
    for (;;) {
        if (seen == closed<node>()) {
            size_.fetch_sub(1, std::memory_order_relaxed);
            message = std::move(n->message);
            delete n;
            return delivery::stale;
        }
        n->next = seen == idle<node>() ? nullptr : seen;
        if (inbox_.compare_exchange_weak(seen, n, std::memory_order_acq_rel, std::memory_order_relaxed)) break;
    }
    if (seen == idle<node>()) wake();
    return delivery::accepted;
}

void actor::request_stop() noexcept {
    if (!(signals_.fetch_or(stop_signal, std::memory_order_acq_rel) & stop_signal)) (void)push_always([] {});
}

void actor::request_kill(exit_kind why) noexcept {
    const auto bits = static_cast<std::uint8_t>(kill_signal | (why == exit_kind::hang ? hang_signal : 0));
    if (!(signals_.fetch_or(bits, std::memory_order_acq_rel) & kill_signal)) (void)push_always([] {});
}

void actor::exit(exit_reason reason) {
    if (exiting_) return;
    exiting_ = true;
    reason_ = std::make_unique<exit_reason>(std::move(reason));
}

void actor::ready() {
    if (ready_ || exiting_) return;
    ready_ = true;
    if (lifecycle_) lifecycle_->ready(*this);
}

void actor::run_one(task& message) {
    try {
        message();
    } catch (const std::exception& e) {
        exiting_ = false;  // the exception says more than an exit() that preceded it in the same message
        exit({exit_kind::error, 0, e.what()});
    } catch (...) {
        exiting_ = false;
        exit({exit_kind::error, 0, "an exception that is not a std::exception"});
    }
}

void actor::first_turn() {
    started_ = true;
    task start([this] { on_start(); });
    run_one(start);
    if (exiting_ && reason_->kind == exit_kind::error) reason_->kind = exit_kind::start_failure;
    if (!exiting_ && !ready_deferred_) ready();
}

/// true: exiting.
bool actor::signals() {
    const auto bits = signals_.load(std::memory_order_acquire);
    if (bits & kill_signal) {
        exit({bits & hang_signal ? exit_kind::hang : exit_kind::killed, 0, {}});
    } else if (bits & stop_signal) {
        signals_.fetch_and(static_cast<std::uint8_t>(~stop_signal), std::memory_order_acq_rel);
        task stop([this] { on_stop(); });
        run_one(stop);
    }
    return exiting_;
}

void actor::run_turn() {
    actor* outer = std::exchange(current_actor, this);
    if (!started_) first_turn();
    for (unsigned budget = actor_turn_budget; !exiting_;) {
        if ((signals_.load(std::memory_order_relaxed) & (stop_signal | kill_signal)) && signals()) break;
        if (!backlog_) {
            node* expected = nullptr;
            if (inbox_.compare_exchange_strong(expected, idle<node>(), std::memory_order_acq_rel)) {
                current_actor = outer;
                release();
                return;
            }
            node* newest = inbox_.exchange(nullptr, std::memory_order_acq_rel);
            while (newest) {  // reverse: oldest first
                node* next = newest->next;
                newest->next = backlog_;
                backlog_ = newest;
                newest = next;
            }
        }
        if (budget-- == 0) {  // others get the thread
            current_actor = outer;
            if (!runtime_->enqueue(this)) drop();
            return;
        }
        node* n = std::exchange(backlog_, backlog_->next);
        size_.fetch_sub(1, std::memory_order_relaxed);
        run_one(n->message);
        delete n;
    }
    finish();
    current_actor = outer;
    release();
}

void actor::finish() noexcept {
    exit_reason reason = reason_ ? std::move(*reason_) : exit_reason{};
    discard_queued();
    on_exit(reason);
    if (auto observer = std::move(lifecycle_)) observer->exited(*this, reason);
}

/// Closes the mailbox and destroys what is in it; calls among it answer `stale`.
void actor::discard_queued() noexcept {
    node* newest = inbox_.exchange(closed<node>(), std::memory_order_acq_rel);
    node* fifo = nullptr;
    if (newest != idle<node>() && newest != closed<node>())
        while (newest) {
            node* next = newest->next;
            newest->next = fifo;
            fifo = newest;
            newest = next;
        }
    for (node* list : {std::exchange(backlog_, nullptr), fifo})
        while (list) {
            size_.fetch_sub(1, std::memory_order_relaxed);
            delete std::exchange(list, list->next);
        }
}

void actor::drop() noexcept {  // the runtime has stopped: no turn will ever run
    discard_queued();
    lifecycle_.reset();
    release();
}

}  // namespace holdfast::supervise
