#pragma once
// Decides who gets which connection of a pool (P1–P3): pure; time comes in, actions come out. What a connection is, is the shell's
// business: it makes, checks and ends them when told to, and says what became of that.
//
//   creating → idle ⇄ offered → used → idle   (or, when it has to be looked at first: checking → idle)
//   in_use + idle + creating ≤ size + max_overflow, always; whoever waits is served first come, first served.
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"
#include "kernel/supervise/backoff.hpp"

namespace holdfast::supervise {

struct pool_rules {
    std::uint32_t size = 10;                ///< kept when idle
    std::uint32_t max_overflow = 5;         ///< more of them under load; closed when idle for `linger`
    std::uint32_t max_creating = 4;         ///< at once
    std::uint32_t max_waiting = 1'024;
    nanoseconds wait{seconds(5)};           ///< for a connection, before max_overflow_reached
    nanoseconds create{seconds(10)};        ///< for one to come up
    nanoseconds check{seconds(5)};          ///< for the answer to a check
    nanoseconds check_after{seconds(30)};   ///< idle for longer: looked at before it is handed out
    nanoseconds linger{seconds(30)};
    nanoseconds lifetime{std::chrono::minutes(30)};  ///< then replaced; each one's is jittered, so that they do not end together
    double lifetime_jitter = 0.2;
    nanoseconds leak_after{std::chrono::minutes(10)};///< in use for so long: told, once
    friend bool operator==(const pool_rules&, const pool_rules&) = default;
};
/// {"size","max_overflow","wait_s","linger_s","lifetime_s","check_after_s"}, each with its default. Errors: config_invalid, "size must be …".
result<pool_rules> pool_rules_from(const json& given);

namespace pool_ev {
struct acquire { std::uint64_t waiter; };
struct cancel { std::uint64_t waiter; };                        ///< gives up waiting, or dies with an offer in hand
struct accept { std::uint64_t waiter, conn; };                  ///< the offer arrived: from here the connection is its own
struct release { std::uint64_t conn; bool reusable; };          ///< not reusable: something of it is unfinished
struct created { std::uint64_t conn; };
struct create_failed { std::uint64_t conn; error why; };
struct checked { std::uint64_t conn; bool healthy; };
struct lost { std::uint64_t conn; };                            ///< it died by itself, whatever it was doing
struct tick {};
}  // namespace pool_ev
using pool_event = std::variant<pool_ev::acquire, pool_ev::cancel, pool_ev::accept, pool_ev::release, pool_ev::created, pool_ev::create_failed,
                                pool_ev::checked, pool_ev::lost, pool_ev::tick>;

namespace pool_act {
struct create { std::uint64_t conn; };                          ///< the pool's number for it; answer created or create_failed
struct destroy { std::uint64_t conn; const char* why; };        ///< forgotten already: no answer is needed
struct check { std::uint64_t conn; };
struct offer { std::uint64_t waiter, conn; };                   ///< answer accept or cancel
struct refuse { std::uint64_t waiter; error why; };
struct leak { std::uint64_t conn; nanoseconds held; };
}  // namespace pool_act
using pool_action = std::variant<pool_act::create, pool_act::destroy, pool_act::check, pool_act::offer, pool_act::refuse, pool_act::leak>;

class pool_machine {
  public:
    /// random: borrowed for life.
    pool_machine(pool_rules rules, random_source& random) : rules_(rules), random_(&random) {}

    void on(const pool_event& event, steady_time now, std::vector<pool_action>& out);
    std::optional<steady_time> next_deadline() const;

    struct figures {
        std::uint32_t creating = 0, idle = 0, in_use = 0;  ///< in_use: offered included; idle: being checked included
        std::size_t waiting = 0;
        std::uint64_t made = 0, failed = 0, replaced = 0, refused = 0;
        std::uint32_t most = 0;  ///< at once
    };
    figures now() const;
    /// For people: {"size","max_overflow","in_use","idle","creating","waiting","made","failed","replaced","refused","most"}
    static json row(const pool_rules& rules, const figures& f);
    const pool_rules& rules() const { return rules_; }

  private:
    enum class phase { creating, idle, checking, offered, used };
    struct slot {
        phase at;
        steady_time since;      ///< of the phase
        steady_time ends;       ///< of its life
        std::uint64_t waiter = 0;
        bool told_leak = false;
    };
    struct waiting {
        std::uint64_t who;
        steady_time until;
    };
    using actions = std::vector<pool_action>;
    using slots = std::map<std::uint64_t, slot>;
    void serve(steady_time now, actions& out);
    void make(steady_time now, actions& out);
    void settle(slots::iterator s, steady_time now, actions& out);
    slots::iterator end(slots::iterator s, const char* why, actions& out);
    void refuse(std::uint64_t waiter, errc code, const std::string& why, actions& out);
    void tick(steady_time now, actions& out);
    std::uint32_t count(phase p) const;

    pool_rules rules_;
    random_source* random_;
    slots all_;                     ///< by number, so by age
    std::deque<waiting> waiting_;
    std::uint64_t next_ = 1;
    std::string last_failure_;
    figures so_far_;
};

}  // namespace holdfast::supervise
