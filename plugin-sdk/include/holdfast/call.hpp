#pragma once
// An asynchronous call the plugin was given: owns its request, streams chunks, completes exactly once.
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/abi/call.h"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

namespace detail {
struct call_state {
    // The call is inside submit; it was destroyed unfinished; it was completed.
    enum : unsigned { in_submit = 1, abandoned = 2, finished = 4 };

    explicit call_state(const hf_call& c)
        : raw(c), method(view(c.method)), request(view(c.request)) {}
    /// False when somebody completed it before.
    bool claim() { return !(flags.fetch_or(finished, std::memory_order_acq_rel) & finished); }
    void complete(const status& s, std::string_view result) {
        if (!claim()) return;
        if (s.ok()) return raw.on_done(raw.ctx, raw.id, nullptr, bytes(result));
        hf_error err = empty_error();
        fill(&err, s);
        raw.on_done(raw.ctx, raw.id, &err, bytes(result));
    }
    bool is_finished() const { return flags.load(std::memory_order_acquire) & finished; }

    hf_call raw;
    std::string method, request;
    std::atomic<unsigned> flags{in_submit};
    std::atomic<bool> cancelled{false};
};
}  // namespace detail

/// Move-only; belongs to one thread at a time. Destroyed unfinished, it completes with HF_E_INTERNAL. Complete every call
/// before stop() returns.
class call {
  public:
    call() = default;
    explicit call(std::shared_ptr<detail::call_state> s) : state_(std::move(s)) {}
    call(call&&) noexcept = default;
    call& operator=(call&& o) noexcept {
        if (this != &o) {
            abandon();
            state_ = std::move(o.state_);
        }
        return *this;
    }
    ~call() { abandon(); }

    std::uint64_t id() const { return state_->raw.id; }
    std::string_view method() const { return state_->method; }
    std::string_view request() const { return state_->request; }  ///< UTF-8 JSON
    bool has_deadline() const { return state_->raw.deadline_ns != 0; }
    time_point deadline() const { return has_deadline() ? to_time(state_->raw.deadline_ns) : time_point::max(); }
    /// The caller asked for cancellation (kinds llm and store). Answer soon with fail(HF_E_CANCELLED, …).
    bool cancelled() const { return state_->cancelled.load(std::memory_order_acquire); }
    bool finished() const { return !state_ || state_->is_finished(); }
    explicit operator bool() const { return !finished(); }

    void chunk(std::string_view json) const {
        if (!finished() && state_->raw.on_chunk) state_->raw.on_chunk(state_->raw.ctx, state_->raw.id, bytes(json));
    }
    void done(std::string_view result_json) { finish({}, result_json); }
    void fail(const status& s, std::string_view result_json = {}) {
        finish(s.ok() ? status::internal("failed without an error code") : s, result_json);
    }
    void fail(std::int32_t code, std::string message) { fail(status{code, std::move(message)}); }

  private:
    void finish(const status& s, std::string_view result) {
        if (const auto state = std::move(state_)) state->complete(s, result);
    }
    void abandon() noexcept {
        const auto state = std::move(state_);
        if (!state || state->is_finished()) return;
        // Inside submit the caller of the virtual function completes it, because it knows of an exception.
        if (state->flags.fetch_or(detail::call_state::abandoned, std::memory_order_acq_rel) & detail::call_state::in_submit) return;
        guard(nullptr, [&] { state->complete(status::internal("the plugin dropped the call unanswered"), {}); });
    }
    // Second owner: submit until it returns, and the table of calls that can be cancelled.
    std::shared_ptr<detail::call_state> state_;
};

namespace detail {
/// The body of a submit function: hands an owning call to `f`. Returns HF_PENDING, or an error when `f` threw and the call
/// was not kept: then on_done is never called.
template <class F>
std::int32_t submit(const std::shared_ptr<call_state>& state, hf_error* err, F&& f) noexcept {
    status thrown;
    try {
        f(call(state));
    } catch (...) {
        thrown = current_exception_status();
    }
    const unsigned old = state->flags.fetch_and(~unsigned{call_state::in_submit}, std::memory_order_acq_rel);
    if (!(old & call_state::abandoned) || (old & call_state::finished)) return HF_PENDING;
    if (!thrown.ok() && state->claim()) return fill(err, thrown);
    guard(nullptr, [&] { state->complete(status::internal("the plugin dropped the call unanswered"), {}); });
    return HF_PENDING;
}
}  // namespace detail

}  // namespace holdfast::sdk
