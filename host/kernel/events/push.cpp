// Push subscriptions: a pull subscription drained on the caller's executor.
#include "kernel/events/bus_impl.hpp"

namespace holdfast::events {

class push_subscription::impl : public std::enable_shared_from_this<push_subscription::impl> {
  public:
    impl(executor_post post, std::function<void(const item&)> handler, std::shared_ptr<bus_counters> counters)
        : post_(std::move(post)), handler_(std::move(handler)), counters_(std::move(counters)) {}

    void adopt(subscription s) { sub_ = std::move(s); }

    /// Exactly one drain is outstanding until next() comes back empty.
    void schedule() noexcept {
        try {
            post_([self = shared_from_this()] { self->drain(); });
        } catch (...) {
            failed();
        }
    }

    void unsubscribe() noexcept {
        gate_.close();
        sub_.unsubscribe();
    }
    position attached_at() const noexcept { return sub_.attached_at(); }
    std::uint64_t exceptions() const noexcept { return exceptions_.load(std::memory_order_relaxed); }

  private:
    void drain() noexcept {
        for (std::size_t done = 0; done < push_batch;) {
            const batch b = sub_.next(push_batch - done);
            if (b.empty()) return;  // armed: from here on another drain may run
            for (const event& e : b.events) {
                if (!handle({e, std::nullopt})) return;
            }
            if (b.note && !handle({nullptr, *b.note})) return;
            done += b.events.size() + (b.note ? 1 : 0);
        }
        schedule();  // let others have the thread
    }

    /// False once unsubscribed.
    bool handle(const item& i) noexcept {
        const callback_gate::pass pass(gate_);
        if (!pass) return false;
        try {
            handler_(i);
        } catch (...) {
            failed();
        }
        return !gate_.closed();
    }

    void failed() noexcept {
        exceptions_.fetch_add(1, std::memory_order_relaxed);
        counters_->callback_exceptions.fetch_add(1, std::memory_order_relaxed);
    }

    const executor_post post_;
    const std::function<void(const item&)> handler_;
    const std::shared_ptr<bus_counters> counters_;
    subscription sub_;  // set before the first drain; then owner: the drain that runs
    callback_gate gate_;
    std::atomic<std::uint64_t> exceptions_{0};
};

push_subscription bus::subscribe_push(std::string_view name, subscribe_options options, executor_post post,
                                      std::function<void(const item&)> handler) {
    auto push = std::make_shared<push_subscription::impl>(std::move(post), std::move(handler), impl_->counters);
    options.wake = [weak = std::weak_ptr(push)] {
        if (const auto p = weak.lock()) p->schedule();
    };
    push->adopt(impl_->attach(name, std::move(options), false).handle);  // not armed: the first drain does that
    push->schedule();
    return push_subscription(std::move(push));
}

push_subscription::push_subscription(std::shared_ptr<impl> i) noexcept : impl_(std::move(i)) {}
push_subscription::push_subscription(push_subscription&&) noexcept = default;
push_subscription& push_subscription::operator=(push_subscription&& o) noexcept {
    if (this != &o) {
        unsubscribe();
        impl_ = std::move(o.impl_);
    }
    return *this;
}
push_subscription::~push_subscription() { unsubscribe(); }
position push_subscription::attached_at() const noexcept { return impl_ ? impl_->attached_at() : position{}; }
std::uint64_t push_subscription::handler_exceptions() const noexcept { return impl_ ? impl_->exceptions() : 0; }
void push_subscription::unsubscribe() noexcept {
    if (impl_) impl_->unsubscribe();
}

}  // namespace holdfast::events
