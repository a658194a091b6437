#pragma once
// A circuit breaker in front of every LLM adapter, made by the breaker plugin that the configuration names.
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "holdfast/ext/breaker.h"
#include "kernel/core/clock.hpp"
#include "kernel/plugins/ports.hpp"
#include "sessions/llm_router.hpp"

namespace holdfast::app {

/// [any thread] When the policy plugin is restarted, each adapter gets a fresh (closed) breaker from the new generation.
/// While no policy serves, calls pass: an LLM without a breaker is better than no LLM, and a log line says so once.
class llm_breakers : public std::enable_shared_from_this<llm_breakers> {
  public:
    llm_breakers(plugins::resolver<hf_breaker> policy, json config, const clock_source& clock);
    ~llm_breakers();
    sessions::llm_gate gate();  ///< its functions share this object: a call under way outlives a reconfiguration
    /// Gives the plugin back its breakers; from then on calls pass without one.
    void release();

  private:
    struct one {
        plugins::bound<hf_breaker> from;
        void* handle = nullptr;
    };
    one* current(const std::string& adapter);  // mutex_ held; null: no policy
    void close(one& b) noexcept;
    std::int64_t now_ns() const;

    plugins::resolver<hf_breaker> policy_;
    const std::string config_;
    const clock_source& clock_;
    std::mutex mutex_;  // also keeps one call at a time on a breaker that is not thread-safe
    std::map<std::string, one> breakers_;
    bool missing_said_ = false;
    bool released_ = false;
};

}  // namespace holdfast::app
