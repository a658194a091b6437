#pragma once
// One machine of the gateway with its streams and its upstream calls. Events are taken one at a time, on the thread that brings
// them; an event that comes while another is being handled waits in the queue and is handled by that thread. No lock is held
// while a machine decides or its actions are performed.
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "api/method_table.hpp"
#include "mcp/gateway/types.hpp"
#include "servers/server_set.hpp"

namespace holdfast::api {

class mcp_gateway;

/// Who a machine acts for.
struct mcp_owner {
    std::uint64_t number = 0;  ///< of the box
    std::string user;
    role rights = role::viewer;
    std::string session;       ///< legacy: its id
};

class mcp_box_base : public std::enable_shared_from_this<mcp_box_base> {
  public:
    using task = unique_function<void(mcp::gateway::actions&)>;
    struct stream {
        chunk_fn chunk;
        reply done;
    };

    mcp_box_base(std::weak_ptr<mcp_gateway> gateway, std::shared_ptr<servers::server_set> servers, supervise::runtime& rt, mcp_owner who, const mcp::gateway::limits& limits)
        : owner(std::move(who)), gateway_(std::move(gateway)), servers_(std::move(servers)), rt_(rt), call_timeout_(limits.call_timeout), input_wait_(limits.input_wait) {}
    virtual ~mcp_box_base() = default;

    const mcp_owner owner;

    /// `if_over` instead, when the machine has ended meanwhile: whoever waits is answered by nobody else then.
    void run(task t, unique_function<void()> if_over = {});
    /// Within a task: whom a stream leads to.
    void add_stream(mcp::gateway::stream_id on, stream s) { streams_.emplace(on, std::move(s)); }
    /// Within a task: nobody is at the other end any more.
    void drop_stream(mcp::gateway::stream_id on);
    virtual void tick() = 0;
    steady_time now() const { return rt_.now(); }

  protected:
    virtual void upstream(mcp::gateway::up::progress e, mcp::gateway::actions& out) = 0;
    virtual void upstream(mcp::gateway::up::log e, mcp::gateway::actions& out) = 0;
    virtual void upstream(mcp::gateway::up::input e, mcp::gateway::actions& out) = 0;
    virtual void upstream(mcp::gateway::up::done e, mcp::gateway::actions& out) = 0;

  private:
    struct event {
        task what;
        unique_function<void()> if_over;
    };
    void perform(mcp::gateway::action& a);
    void call(mcp::gateway::act::call a);
    template <class Event>
    void bring(Event e) {
        run([this, e = std::move(e)](mcp::gateway::actions& out) mutable { upstream(std::move(e), out); });
    }

    std::weak_ptr<mcp_gateway> gateway_;
    std::shared_ptr<servers::server_set> servers_;
    supervise::runtime& rt_;
    milliseconds call_timeout_, input_wait_;
    std::mutex mutex_;         // leaf: the two below
    std::deque<event> queue_;
    bool running_ = false;
    // Owner: whoever runs.
    std::unordered_map<mcp::gateway::stream_id, stream> streams_;
    std::map<mcp::gateway::call_ref, std::uint64_t> calls_;  ///< ids of server_set
    mcp::gateway::actions actions_;
    bool over_ = false;
};

template <class Machine>
class mcp_box final : public mcp_box_base {
  public:
    template <class... Args>
    explicit mcp_box(std::weak_ptr<mcp_gateway> g, std::shared_ptr<servers::server_set> s, supervise::runtime& rt, mcp_owner who, const mcp::gateway::limits& limits, Args&&... args)
        : mcp_box_base(std::move(g), std::move(s), rt, std::move(who), limits), machine(std::forward<Args>(args)...) {}

    Machine machine;  // Owner: whoever runs

    void tick() override {
        if constexpr (requires(mcp::gateway::actions& out) { machine.tick(steady_time{}, out); })
            run([this](mcp::gateway::actions& out) { machine.tick(now(), out); });
    }

  protected:
    void upstream(mcp::gateway::up::progress e, mcp::gateway::actions& out) override { give(std::move(e), out); }
    void upstream(mcp::gateway::up::log e, mcp::gateway::actions& out) override { give(std::move(e), out); }
    void upstream(mcp::gateway::up::input e, mcp::gateway::actions& out) override { give(std::move(e), out); }
    void upstream(mcp::gateway::up::done e, mcp::gateway::actions& out) override { give(std::move(e), out); }

  private:
    template <class Event>
    void give(Event e, mcp::gateway::actions& out) {
        if constexpr (requires { machine.on(std::move(e), now(), out); }) machine.on(std::move(e), now(), out);
    }
};

}  // namespace holdfast::api
