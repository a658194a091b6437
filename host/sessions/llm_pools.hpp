#pragma once
// Pools in front of LLM adapters (SRV-7). A connection is a slot of the adapter: it carries one call at a time, so a provider gets no
// more calls at once than the pool has room for. Who gets which decides the machine that serves the pools of servers, too; a slot is
// made, and looked at after it was idle, by asking whether the adapter can answer at all.
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/supervise/pool_machine.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::sessions {

/// One slot, or nothing (an adapter without a pool). Given back as unfinished when it is destroyed.
class llm_slot {
  public:
    llm_slot() = default;
    explicit llm_slot(unique_function<void(bool)> give_back) : give_back_(std::move(give_back)) {}
    llm_slot(llm_slot&& o) noexcept : give_back_(std::exchange(o.give_back_, nullptr)) {}
    llm_slot& operator=(llm_slot&& o) noexcept {
        release(false);
        give_back_ = std::exchange(o.give_back_, nullptr);
        return *this;
    }
    ~llm_slot() { release(false); }
    /// reusable: the call on it has come to its end, and the provider answered it.
    void release(bool reusable) noexcept;

  private:
    unique_function<void(bool)> give_back_;
};

/// [any thread] Callbacks come from the runtime, never inside a call.
class llm_pools : public std::enable_shared_from_this<llm_pools> {
  public:
    using on_slot = unique_function<void(result<llm_slot>)>;
    /// Whether an adapter can answer; completes on any thread, perhaps at once.
    using examiner = std::function<void(const std::string& adapter, unique_function<void(result<void>)> said)>;

    static std::shared_ptr<llm_pools> create(supervise::runtime& rt);  ///< borrowed for life

    void examine_with(examiner f);  ///< before the first acquire
    void tell_leaks(std::function<void(const std::string& line)> f);  ///< may be empty
    /// By adapter; "*": every adapter that is not named. A pool whose rules stay the same stays; calls keep the pool they were sent with.
    void configure(std::map<std::string, supervise::pool_rules> rules);
    bool covers(const std::string& adapter) const;

    /// A slot, once it is free. Errors: max_overflow_reached, timeout, those of the examination, cancelled. Returns an id for cancel().
    std::uint64_t acquire(const std::string& adapter, on_slot done);
    void cancel(std::uint64_t id);
    json row(const std::string& adapter) const;  ///< null: it has none

  private:
    struct pool;
    explicit llm_pools(supervise::runtime& rt) : rt_(rt) {}
    std::shared_ptr<pool> pool_of(const std::string& adapter);
    void feed(const std::shared_ptr<pool>& p, supervise::pool_event e);
    void examine(const std::shared_ptr<pool>& p, std::uint64_t conn, bool fresh);

    supervise::runtime& rt_;
    mutable std::mutex mutex_;  // guards what follows; never held with a pool's
    std::map<std::string, supervise::pool_rules> rules_;
    std::map<std::string, std::shared_ptr<pool>> pools_;  // second owners: slots, timers and examinations under way
    std::map<std::uint64_t, std::weak_ptr<pool>> waiting_;  // by the id of acquire()
    examiner examine_;
    std::function<void(const std::string&)> tell_;
    std::uint64_t next_ = 1;
};

}  // namespace holdfast::sessions
