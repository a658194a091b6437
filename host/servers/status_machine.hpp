#pragma once
// Decides what becomes of a server's status (SRV-3, B1–B3): pure, time and randomness come in, actions come out.
//
//   disconnected ─attempt ok→ healthy ─lost→ disconnected ─5 failed→ circuit_open ─probe ok→ healthy
//        └──────────── 30 min without health, or a person ───────────────→ disabled ─a person→ disconnected
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kernel/supervise/backoff.hpp"
#include "servers/status.hpp"

namespace holdfast::servers {

namespace ev {
struct begin {};                              ///< the actor is ready (its stored row has been restored)
struct attempt_ok {};                         ///< re-initialised, capabilities compared (H3)
struct attempt_failed { std::string reason; };
struct refused { nanoseconds retry_after; };  ///< the breaker gave no permit for the attempt; negative: not before a person acts
struct lost { std::string reason; loss how = loss::crash; };
struct disable {};                            ///< by a person
struct enable {};
struct stop {};
struct start {};
struct restart { std::string reason; };
struct tick {};
}  // namespace ev
using status_event = std::variant<ev::begin, ev::attempt_ok, ev::attempt_failed, ev::refused, ev::lost, ev::disable, ev::enable,
                                  ev::stop, ev::start, ev::restart, ev::tick>;

namespace act {
struct connect { std::uint32_t number; bool probe; };           ///< begin one attempt; answer with attempt_ok/failed or refused
struct close {};                                                ///< end the connection or the attempt, if there is one
struct changed { status from, to; std::string reason; std::optional<nanoseconds> eta; };
struct health { const char* event; std::string detail; };       ///< OM's names: "connected", "recovery_attempt" …
struct progress { std::uint32_t attempt, max; std::optional<nanoseconds> next_in; };
struct opened { std::string reason; nanoseconds eta; };
struct auto_disabled { std::string reason; };
struct persist {};
}  // namespace act
using status_action = std::variant<act::connect, act::close, act::changed, act::health, act::progress, act::opened,
                                   act::auto_disabled, act::persist>;

class status_machine {
  public:
    /// random: borrowed for life.
    status_machine(status_rules rules, supervise::random_source& random) : rules_(rules), random_(&random) {}

    void on(const status_event& event, steady_time now, std::vector<status_action>& out);
    std::optional<steady_time> next_deadline() const;

    status_state state;  ///< Owner: the actor. Replaced only before begin.
    void set_rules(status_rules rules) { rules_ = rules; }
    const status_rules& rules() const { return rules_; }

  private:
    using actions = std::vector<status_action>;
    void go(status to, std::string reason, std::optional<nanoseconds> eta, steady_time now, actions& out);
    void attempt(steady_time now, actions& out);
    void schedule(nanoseconds delay, steady_time now);
    nanoseconds quick_delay(std::uint32_t n) const;  ///< n-th after the first: 1, 2, 4 … s
    nanoseconds probe_delay();                       ///< counts k
    void open_circuit(std::string reason, steady_time now, actions& out);
    void failed(const std::string& reason, steady_time now, actions& out);
    void succeeded(steady_time now, actions& out);
    void lost(const std::string& reason, loss how, steady_time now, actions& out);
    std::string why_not_again(loss how) const;
    void disable(disabled_by by, std::string reason, steady_time now, actions& out);
    void bring_back(std::string reason, steady_time now, actions& out);
    void tick(steady_time now, actions& out);

    status_rules rules_;
    supervise::random_source* random_;
};

}  // namespace holdfast::servers
