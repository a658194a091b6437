#pragma once
// The actor of one server: the shell of status_machine and client_machine, and the only one who changes the server's status.
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/supervise/actor.hpp"
#include "servers/call_job.hpp"
#include "servers/link.hpp"
#include "servers/move_gate.hpp"
#include "servers/policies.hpp"
#include "servers/process_sample.hpp"
#include "servers/reports.hpp"
#include "servers/server_notices.hpp"
#include "servers/server_record.hpp"
#include "servers/status_machine.hpp"

namespace holdfast::servers {

/// What all servers share. Outlives every actor (each holds a share).
struct server_context {
    explicit server_context(server_set_options o) : options(std::move(o)), report(options) {}
    server_set_options options;
    reports report;
    move_gate moves;
    server_notices notices;
    server_figures totals;  ///< of all servers there have been since the host started
    std::function<void()> catalogue_changed;  ///< set before the first actor exists
};

enum class command { start, stop, restart, enable, disable };

class server_actor final : public supervise::actor {
  public:
    server_actor(supervise::runtime& rt, std::shared_ptr<server_record> record, std::shared_ptr<server_context> context);

    // Messages; each runs in the actor's turn.
    void call(std::shared_ptr<call_job> job);
    void answer(std::uint64_t call, const std::string& key, json response);
    void cancel(std::uint64_t call);
    void obey(command c, supervise::reply<json> done);
    void reconfigure();  ///< the record has a new spec
    void consider_move();  ///< its transport may have been replaced
    void follow_wishes();  ///< other resources or another log level are wanted

  private:
    ~server_actor() override;
    void on_start() override;
    void on_stop() override;
    void on_exit(const supervise::exit_reason&) noexcept override;

    // server_actor.cpp: status
    void begin();
    void load();
    void feed_status(const status_event& e);
    void perform(const status_action& a);
    void arm_status();
    void persist();
    void publish();
    void answer_waiting();
    result<json> row() const;

    // server_connection.cpp: one attempt, one connection
    void connect(std::uint32_t number);
    using shared_spec = std::shared_ptr<const server_spec>;
    result<plugins::bound<hf_transport>> resolve_transport(const server_spec& spec) const;  ///< Errors: unavailable, naming the plugin
    enum class role { whole, calls_only };
    result<std::shared_ptr<link>> open_link(plugins::bound<hf_transport> transport, shared_spec spec, role r = role::whole);  ///< Errors: those of the transport's open()
    error not_ready(const link& l) const;
    void attempt_failed(error why);
    void close_connection(const error& why);
    void close_link(std::shared_ptr<link> l, const error& why);
    void on_report(std::uint64_t conn, transport_report r);
    void on_ready(link& l, mcp::out::ready r);
    void greet(link& l, mcp::out::ready r);
    void on_greeted(link& l, const mcp::out::probed& p);
    void settle(link& l);
    std::optional<error> doubt(const mcp::out::ready& r) const;  ///< H3: it answers, but is it the server it was?
    void accept(const mcp::out::ready& r, nanoseconds took);
    void link_lost(link& l, const error& why);
    void lost(const error& why, std::optional<loss> how = {});
    void left(std::uint64_t conn);  ///< a connection that was closing is gone
    std::shared_ptr<link> find_link(std::uint64_t conn) const;
    /// By value: what the actions lead to may replace the actor's own pointer.
    void feed(std::shared_ptr<link> l, mcp::client_event e);
    void perform(link& l, mcp::client_action& a);
    void arm_machine(link& l);
    void server_log(bool warning, const std::string& line);
    void count(std::atomic<std::uint64_t> server_figures::* what) {
        (record_->figures.*what).fetch_add(1, std::memory_order_relaxed);
        (context_->totals.*what).fetch_add(1, std::memory_order_relaxed);
    }

    // server_reconfigure.cpp: another configuration
    result<void> prepare_policies();
    void exchange_policies();  ///< of a server that is not interrupted for it
    void abandon_next();       ///< it was made from the configuration before

    // server_move.cpp: to a new generation of the transport, or to what its configuration says now
    result<bool> is_current(const link& l) const;  ///< Errors: those of resolve_transport()
    std::string move_goal() const;
    void begin_move(move_gate::permit permit);
    void move_failed(const error& why);
    void on_next_ready(mcp::out::ready r);
    void open_next();
    void vacate();
    void hold(std::shared_ptr<call_job> job);
    void drop_held(std::uint64_t call, error why);
    void send_held();
    milliseconds time_for(const call_job& job) const { return spec_->call_timeout ? std::min<milliseconds>(job.timeout, *spec_->call_timeout) : job.timeout; }
    void count_refused();  ///< a call that was not sent
    void note_load() { record_->pending_calls = calls_.size() + held_.size() + pool_waiting_.size(); }
    void refuse_held(const error& why);
    void adopt_next();
    void drain(std::shared_ptr<link> old);
    void drained(link& l, const error& why);
    void end_move(const error& why);  ///< close_connection() follows; calls that are held go with it

    // server_pool.cpp: calls over several connections
    void pool_call(std::shared_ptr<call_job> job);
    void feed_pool(supervise::pool_event e);
    void perform(supervise::pool_action& a);
    void drop_pool_waiting(std::uint64_t call, error why);
    std::optional<std::uint64_t> pool_number(const link& l) const;
    bool pool_link_ready(const link& l);
    bool pool_link_lost(link& l, const error& why);
    bool pool_probed(const mcp::out::probed& p);
    void end_pool(const error& why);
    void renew_pool();

    // server_calls.cpp: calls and health
    bool send_call(const std::shared_ptr<link>& l, std::shared_ptr<call_job> job);  ///< false: refused, nothing was sent
    void on_done(link& l, mcp::out::done d);
    void on_input(mcp::out::input i);
    json roots(const server_spec& s) const { return s.roots.is_array() ? s.roots : context_->options.roots; }
    void on_log_message(mcp::out::message m);
    void on_probed(link& l, const mcp::out::probed& p);
    void observe(bool active, bool ok, int fault, nanoseconds latency);
    void follow_verdict();
    void arm_health(steady_time at);
    void probe();

    steady_time now() const { return rt().now(); }

    std::shared_ptr<server_record> record_;    // second owners: see server_record
    std::shared_ptr<server_context> context_;  // second owners: the set, other actors
    std::shared_ptr<const server_spec> spec_;
    supervise::seeded_random random_;
    status_machine status_;
    std::unique_ptr<breaker_policy> breaker_;
    std::unique_ptr<health_policy> health_;
    bool policies_stale_ = false;          ///< those in hand are of the configuration before: its own cannot be made yet
    health_verdict verdict_;
    std::optional<wall_time> last_check_;
    errc last_fault_ = errc::unavailable;  ///< of the check or call that failed last
    process_sampler sampler_;

    std::shared_ptr<link> link_;           ///< that serves or is being opened; stays when lost, for its counters
    std::map<std::uint64_t, supervise::timer_handle> leaving_;  ///< connections that are closing; the next attempt waits for their end
    bool connect_waits_ = false;
    std::shared_ptr<link> next_;           ///< being opened while link_ serves
    std::vector<std::shared_ptr<link>> draining_;
    std::optional<supervise::pool_machine> pool_;
    std::map<std::uint64_t, std::shared_ptr<link>> pooled_;             ///< by the pool's number
    struct held_call {
        std::shared_ptr<call_job> job;
        steady_time since;
        supervise::timer_handle timeout;
    };
    std::map<std::uint64_t, held_call> pool_waiting_;                   ///< by the call's id
    std::map<std::uint64_t, std::uint64_t> pool_probes_;                ///< probe → the pool's number
    std::deque<supervise::pool_event> pool_events_;
    bool feeding_pool_ = false;
    bool holding_ = false;                 ///< "move": "restart" is under way; once no call is in flight link_ is null until it is back
    std::map<std::uint64_t, held_call> held_;  ///< calls meanwhile, in the order they came
    bool move_asked_ = false;              ///< for a permit
    std::string goal_;                     ///< of the move under way or tried last, for people
    move_gate::permit move_permit_;        ///< while next_ is being opened or calls are held
    std::uint32_t move_failures_ = 0;      ///< in a row
    steady_time move_began_{};
    steady_time attempt_began_{};
    std::optional<std::uint64_t> attempt_permit_;
    std::shared_ptr<const catalogue_part> part_;
    std::map<std::uint64_t, std::shared_ptr<call_job>> calls_;
    std::uint64_t probe_ = 0, next_probe_ = 1;  ///< 0: none in flight

    std::vector<supervise::reply<json>> starting_;  ///< who waits for the attempt's end
    std::vector<supervise::reply<json>> ending_;    ///< who waits for the connection's end
    bool begun_ = false, stopping_ = false, persisting_ = false, persist_again_ = false, unstored_ = false;
    int last_breaker_state_ = HF_BREAKER_CLOSED;
    supervise::timer_handle status_timer_, health_timer_, connect_timer_, move_timer_, pool_timer_, stop_timer_, persist_timer_;
};

}  // namespace holdfast::servers
