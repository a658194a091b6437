#pragma once
// One MCP endpoint in front of all servers: the shell around the machines of mcp/gateway. Finds the machine a message is for,
// performs what it decides, tells machines what the servers say. Edges (HTTP, stdio) come in through mcp.post, mcp.listen and
// mcp.close and know nothing of the protocol.
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "api/mcp_box.hpp"
#include "api/mcp_settings.hpp"
#include "mcp/gateway/legacy_session.hpp"
#include "mcp/gateway/modern_call.hpp"
#include "mcp/gateway/pins.hpp"
#include "mcp/gateway/request_state.hpp"
#include "mcp/gateway/route.hpp"
#include "mcp/gateway/subscription.hpp"

namespace holdfast::events {
class bus;
}

namespace holdfast::api {

struct mcp_gateway_options {
    supervise::runtime* runtime = nullptr;      ///< borrowed; outlives the gateway
    events::bus* bus = nullptr;                 ///< borrowed; may be null
    std::shared_ptr<servers::server_set> servers;
    /// A method of hf.store/1, for pins; empty: they last as long as the host.
    std::function<void(const std::string& method, json request, unique_function<void(result<json>)> done)> store;
    std::function<void(servers::log_level, const std::string& line)> log;  ///< may be empty
};

/// [any thread]
class mcp_gateway : public std::enable_shared_from_this<mcp_gateway> {
  public:
    static std::shared_ptr<mcp_gateway> create(mcp_gateway_options options);
    /// What was approved before, from the store; until then no tools are offered (pinning: hold). Once.
    void read_pins();
    /// Takes the "gateway" section; sessions that are open keep the limits they began with.
    void configure(const json& section);
    void stop();  ///< ends every session and subscription gracefully; refuses what comes after

    cancel_fn post(const identity& who, json params, chunk_fn chunk, reply done);
    cancel_fn listen(const identity& who, json params, chunk_fn chunk, reply done);
    void close(const identity& who, const json& params, reply done);

    json pins(const std::string& server, bool held_only) const;
    void approve(const std::string& server, const std::string& tool, const std::string& hash, const std::string& by, reply done);
    /// Of tools that the server no longer has; they are trusted like new ones when they come back.
    void forget(const std::string& server, const std::string& by, reply done);
    json status();

  private:
    friend class mcp_box_base;
    using session_box = mcp_box<mcp::gateway::legacy_session>;
    using call_box = mcp_box<mcp::gateway::modern_call>;
    using listen_box = mcp_box<mcp::gateway::subscription>;
    struct exchange;  ///< one mcp.post on its way to a machine

    explicit mcp_gateway(mcp_gateway_options options) : options_(std::move(options)), settings_(std::make_shared<mcp_settings>()) {}

    // mcp_gateway.cpp: messages
    cancel_fn modern(exchange x);
    struct round_trip;  ///< one round of a modern request
    std::optional<mcp::rpc_error> take_round(const exchange& x, round_trip& t);
    cancel_fn modern_upstream(exchange x, round_trip t, mcp::gateway::upstream_request what);
    static cancel_fn too_many(exchange& x);
    static void cut(const std::shared_ptr<session_box>& box, mcp::gateway::stream_id on);
    cancel_fn subscribe(exchange x);
    cancel_fn legacy(exchange x);
    cancel_fn initialize(exchange x);
    std::shared_ptr<session_box> session(const std::string& id, const std::string& user) const;
    template <class Insert>
    bool admit(const mcp_settings& s, const std::string& user, Insert insert);
    void over(const mcp_owner& who);
    void watch(std::uint64_t number, std::set<std::string> uris);
    void arm_tick();
    void tick();
    std::vector<std::shared_ptr<mcp_box_base>> boxes() const;

    // mcp_offers.cpp: what there is to offer, and pins
    std::shared_ptr<const mcp::gateway::offer> offered(role r);
    std::shared_ptr<const mcp::gateway::offer> make_offer(role r, const mcp::gateway::offer* before);
    void refresh();
    void refresh_soon();
    void review_pins(const servers::catalogue& now);
    void load_pins(std::string after);
    void store_pins(const std::set<std::string>& servers, bool again = false);  // until the store takes them
    void on_notice(const std::string& server, const std::string& method, const json& params);
    void tell_changed(role r, mcp::gateway::list_kind kind);
    void tell_collisions(const mcp::gateway::offer& now);  ///< under building_
    void follow_watches();
    void follow_watches_locked();  ///< under building_
    std::shared_ptr<const mcp_settings> settings() const;
    void say(servers::log_level level, const std::string& line) const;

    mcp_gateway_options options_;
    const std::shared_ptr<const mcp::gateway::state_seal> seal_ = std::make_shared<const mcp::gateway::state_seal>();  // second owners: calls
    std::atomic<std::uint64_t> next_{1};     ///< boxes and streams
    std::atomic<bool> refreshing_{false}, stopped_{false};
    std::mutex building_;                    // one refresh at a time

    mutable std::mutex mutex_;               // leaf: everything below; nothing is called under it
    std::shared_ptr<const mcp_settings> settings_;
    std::array<std::shared_ptr<const mcp::gateway::offer>, 3> offers_;  ///< by role; null: to be made
    std::unordered_map<std::string, std::shared_ptr<session_box>> sessions_;
    std::unordered_map<std::uint64_t, std::shared_ptr<call_box>> calls_;
    std::unordered_map<std::uint64_t, std::shared_ptr<listen_box>> listens_;
    std::unordered_map<std::string, std::size_t> requests_of_, sessions_of_;  ///< by user
    std::map<std::uint64_t, std::set<std::string>> watches_;                  ///< by box
    std::map<std::string, std::set<std::string>> watched_;                    ///< by server: what it was last told
    mcp::gateway::pin_table pins_;
    bool pins_known_ = false;
    std::set<std::string> unstored_;                                          ///< servers whose pins the store has refused
    std::set<std::string> told_full_;        ///< servers with more tools than can be pinned
    std::set<std::string> told_collisions_;  ///< Owner: building_
    bool ticking_ = false;
};

}  // namespace holdfast::api
