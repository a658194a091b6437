#pragma once
// Which model answers: an ordered list of adapters, "auto", a failover chain that ends with the first byte, a breaker each.
//
//   auto llm = llm_router::create(clock);
//   llm->configure({{"claude", "llm-anthropic", claude_port}, {"demo", "llm-demo", demo_port}}, "auto", {"local"});
//   llm->set_gate({.permit = …, .report = …});
//   auto id = llm->chat("", request, {.chunk = …, .done = …});   // "" = the default
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/plugins/ports.hpp"
#include "sessions/llm_pools.hpp"

namespace holdfast::sessions {

inline constexpr milliseconds describe_timeout{3'000};
inline constexpr seconds describe_valid_for{10};

struct llm_adapter {
    std::string id;   ///< name in the configuration: "claude"
    std::string use;  ///< plugin: "llm-anthropic"
    std::shared_ptr<plugins::call_port> port;  // second owner: calls under way
};

/// A breaker in front of each adapter, as functions so that the policy is somebody else's. Empty ones: always closed.
struct llm_gate {
    struct permit {
        bool granted = true;
        std::uint64_t generation = 0;
        milliseconds retry_after{0};  ///< when refused; 0 = not known
    };
    enum class outcome { success, failure, ignored };  ///< ignored: our own mistake or a cancellation
    std::function<permit(const std::string& adapter)> acquire;
    /// Exactly once per granted permit.
    std::function<void(const std::string& adapter, std::uint64_t generation, outcome how, nanoseconds latency)> report;
    std::function<std::string(const std::string& adapter)> state;  ///< "closed", "open" …: for llm.list
};

struct llm_events {
    /// Which adapter answers, before its first chunk; again never after a chunk. `why` is a sentence for people.
    std::function<void(const std::string& adapter, const std::string& why)> chosen;
    std::function<void(const json& chunk)> chunk;  ///< one at a time
    /// Once, last: the result of ext/llm.h plus "adapter". Errors: unavailable (none can answer; the sentence says why),
    /// cancelled, or the last adapter's own.
    unique_function<void(result<json>)> done;
};

/// [any thread] Callbacks come on the adapters' threads or inside the call.
class llm_router : public std::enable_shared_from_this<llm_router> {
  public:
    static std::shared_ptr<llm_router> create(const clock_source& clock);  ///< the clock is borrowed for life

    /// Replaces the adapters, in order. `preferred`: an id or "auto" (the first that is available and no demonstration, else a
    /// demonstration one). `fallback`: ids tried next, in order. Calls under way are not touched.
    void configure(std::vector<llm_adapter> adapters, std::string preferred, std::vector<std::string> fallback);
    void set_gate(llm_gate gate);
    /// Calls of adapters that they cover wait for a slot first; whose pool is exhausted is passed over like one that fails. Once.
    void set_pools(std::shared_ptr<llm_pools> pools);

    /// `wanted`: an id, "auto", or "" for the default. `hints`: parts of names of models, best first; the first that is in the id or
    /// the model of an available adapter that is no demonstration is preferred to `wanted`. Returns an id for cancel().
    std::uint64_t chat(const std::string& wanted, json request, llm_events events, std::vector<std::string> hints = {});
    void cancel(std::uint64_t id);

    /// Asks every adapter to describe itself (bounded by describe_timeout); done may be empty.
    void refresh(unique_function<void()> done);
    /// {"default","chosen","reason","adapters":[{id,use,model,available,reason,breaker,demonstration,pool?}]}: as last described.
    json list() const;
    /// {"default","chosen","reason"}
    json choice() const;
    bool knows(const std::string& id) const;  ///< also "auto"

  private:
    struct call_state;
    struct known {  // what an adapter said about itself
        json description = json::object();
        steady_time at{};
        bool asked = false;
    };
    struct pick {
        std::vector<llm_adapter> chain;
        std::string why;
    };
    explicit llm_router(const clock_source& clock) : clock_(clock) {}
    pick choose_locked(const std::string& wanted) const;
    std::string hinted_locked(const std::vector<std::string>& hints) const;  ///< an id, or ""
    bool fresh_locked() const;
    void begin(const std::shared_ptr<call_state>& c);
    void try_next(const std::shared_ptr<call_state>& c, std::optional<error> last);
    void admitted(const std::shared_ptr<call_state>& c, const llm_adapter& a, result<llm_slot> slot, std::optional<error> last);
    /// false: the breaker refuses, which `last` says then.
    bool enter(const std::shared_ptr<call_state>& c, const llm_adapter& a, llm_slot slot, std::optional<error>& last);
    void examine(const std::string& id, unique_function<void(result<void>)> said);
    void ask(const llm_adapter& a, unique_function<void()> answered);
    void attempt(const std::shared_ptr<call_state>& c, const llm_adapter& a, std::uint64_t generation);
    void attempt_done(const std::shared_ptr<call_state>& c, const std::string& adapter, std::uint64_t generation, steady_time began,
                      result<json> r);
    void finish(const std::shared_ptr<call_state>& c, result<json> r);

    const clock_source& clock_;
    mutable std::mutex mutex_;  // guards everything below; never held across a callback or a port
    std::vector<llm_adapter> adapters_;
    std::map<std::string, known> known_;
    std::string preferred_ = "auto";
    std::vector<std::string> fallback_;
    llm_gate gate_;
    std::shared_ptr<llm_pools> pools_;  // second owner: the application
    std::map<std::uint64_t, std::shared_ptr<call_state>> calls_;  // second owners: the ports' callbacks
    std::vector<unique_function<void()>> waiting_;  // for the refresh under way
    std::size_t describing_ = 0;                    // answers still out
    std::uint64_t next_id_ = 1;
};

}  // namespace holdfast::sessions
