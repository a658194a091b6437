#pragma once
// One session: the shell around the turn machine. Every input is decided on the committed state; what it changes is written to
// the store first, then published, answered and acted upon, in that order. While a commit is under way further inputs wait.
#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "sessions/commands.hpp"
#include "sessions/session_directory.hpp"
#include "sessions/turn_decision.hpp"

namespace holdfast::sessions {

/// A call of session.* for one session. Shared by the queue it waits in and the message that delivers it.
struct session_request {
    std::string method;
    caller who;
    json params;
    reply done;
};

/// What is shown of a session without waking it: all that is in memory of one that hibernates.
struct session_summary {
    static constexpr std::int64_t unknown = -1;
    std::string title;
    std::int64_t created_ms = 0, updated_ms = 0;  ///< wall clock, since 1970; 0: there is no such session yet
    std::uint64_t messages = 0, seq = 0;
    phase state = phase::idle;
};

/// Why a session's actor ended.
enum class departure { retired, ended, not_found, store_failed, crashed };

/// What a session's actor needs of the directory. [any thread]
class session_host {
  public:
    virtual ~session_host() = default;
    /// In the actor's turn.
    virtual void live(const std::string& id, std::uint64_t incarnation) = 0;
    virtual void gone(const std::string& id, std::uint64_t incarnation, departure how, error why) = 0;
    virtual void summarise(const std::string& id, session_summary s) = 0;
    /// From now on calls wait; false when this is not the incarnation in service.
    virtual bool begin_retirement(const std::string& id, std::uint64_t incarnation) = 0;
    virtual void cancel_retirement(const std::string& id, std::uint64_t incarnation) = 0;
    virtual std::shared_ptr<const alias_table> aliases() const = 0;
    virtual void set_alias(std::string name, std::string expansion, reply done) = 0;
    virtual void delete_alias(std::string name, reply done) = 0;
};

class session_actor final : public supervise::actor {
  public:
    session_actor(supervise::runtime& rt, std::string id, const session_services& services, const session_options& options,
                  std::shared_ptr<session_host> host);

    /// One message of the directory. [session actor]
    void serve(std::shared_ptr<session_request> r);
    /// Saves and ends, whatever is under way: it is restored later. [session actor]
    void leave();
    /// Ends soon if idle. [session actor]
    void try_hibernate(bool even_if_fresh);

  private:
    struct queued {
        session_input in;
        reply done;
        bool internal = false;  ///< nobody can repeat it: it is kept until the store takes it
    };
    struct commit {
        queued cause;
        turn_outcome out;
        std::uint64_t first = 0;
    };
    /// Text of the model between its thread and ours.
    struct stream_buffer {
        std::mutex mutex;
        std::string text;        // not yet published
        bool announced = false;  // a message to drain it is on its way
    };
    struct stream {
        std::string message_id, text, adapter;
        std::uint64_t index = 0;
        std::uint64_t call = 0;
        steady_time began{}, heard{}, published{};
        std::size_t saved = 0;   // bytes of text in the table "partials"
        bool saving = false;
        bool waited = false;     // for servers, and has said so
        std::shared_ptr<stream_buffer> buffer;  // second owner: the adapter's callbacks
    };
    struct awaited {
        std::string server;
        steady_time deadline{};
    };
    struct tool_run {
        std::uint64_t call = 0;
        steady_time began{};
    };

    /// An answer of the model that a tool's server asked for.
    struct sampling_run {
        std::string call_id, key;
        std::shared_ptr<const sampling_request> request;  // second owners: as effect::sample
        std::uint64_t call = 0;                           // of the router
        steady_time began{};
        std::shared_ptr<std::atomic<bool>> heard;         // since the last look; second owner: the adapter's callbacks
        supervise::timer_handle look;
    };

    void on_start() override;
    void on_stop() override { leave(); }
    void on_exit(const supervise::exit_reason& why) noexcept override;

    // session_restore.cpp
    void load_snapshot();
    bool load_again(const error& why);
    void load_events(std::uint64_t after);
    void load_partial();
    void restored(std::string partial);
    void give_up(departure how, error why);
    void open_topic();
    void reopen_topic(std::uint64_t next_seq);

    // session_actor.cpp
    void submit(session_input in, reply done, bool internal);
    void pump();
    void run(queued q);
    void append();
    void appended(result<json> r);
    void verify(error why);
    void verified(error why, result<json> read);
    void find_key(std::uint64_t after);
    void refused(const error& why);
    void committed();
    void publish(const session_event& e, std::uint64_t seq);
    void publish_now(std::string type, json data);  ///< not durable
    void summarise();
    void arm_rest();
    void rest();  ///< gives back what is only needed while something goes on
    void unpack();
    void after_commit(phase before);
    void told_writable();
    void arm_expiry();
    void arm_hibernation();
    void save_snapshot(unique_function<void()> done);
    void save_row();
    void forget();  ///< after SessionEnded: drops everything stored
    turn_context context();

    // session_effects.cpp
    void perform(session_effect& e);
    void call_model(const std::string& message_id);
    void ask_model();
    void hear(const json& chunk, const std::shared_ptr<stream_buffer>& buffer, const std::string& message_id);
    void drain();
    void model_ended(const std::string& message_id, result<json> r);
    void run_tool(const effect::run_tool& e);
    void await_tool(const effect::await_tool& e);
    void look_for_tools();
    void sample(const effect::sample& e);
    void watch_sampling(std::uint64_t number);
    void sampled(std::uint64_t number, result<json> r);
    void stop_samplings(const std::string& call_id, const std::string* key = nullptr);  ///< null: all of the call
    void watch_stream();
    void save_partial();
    void stop_everything() noexcept;

    // session_queries.cpp
    json snapshot() const;
    void history(const json& params, reply done);
    void history_from_log(std::uint64_t before, std::size_t limit, reply done);
    void events_page(const json& params, reply done);

    // session_commands.cpp
    void command(std::shared_ptr<session_request> r);
    void command_model(const command_line& c, reply done);
    void command_servers(const command_line& c, reply done);
    void command_tools(const command_line& c, reply done);
    void command_allow(const command_line& c, reply done);
    void command_alias(const command_line& c, reply done);
    void command_history(const command_line& c, reply done);

    /// A store call whose answer comes as a message of this actor.
    template <class F>
    void ask_store(std::string method, json request, F f) {
        services_.store->submit(std::move(method), std::move(request), options_.store_timeout, {},
                                [self = supervise::ref<session_actor>::share(this), f = std::move(f)](result<json> r) mutable {
                                    (void)self.tell_always([f = std::move(f), r = std::move(r)](session_actor& a) mutable { f(a, std::move(r)); });
                                });
    }
    std::string stream_name() const { return "session:" + id_; }
    std::int64_t wall_ms() const;

    const std::string id_;
    const session_services& services_;    // the directory's, like the options: host_ keeps them
    const session_options& options_;
    std::shared_ptr<session_host> host_;  // second owner: the composition root

    // Owner of everything below: this actor.
    session_state state_;
    std::vector<std::uint8_t> packed_;  // at rest: the messages of state_
    events::topic_handle topic_;  // empty at rest
    std::uint64_t epoch_ = 0, next_seq_ = 1;
    bool loaded_ = false;
    bool blocked_ = false;    // the store refuses; the first of queue_ is tried again by a timer
    bool read_only_told_ = false;
    bool leave_soon_ = false; // when the commit under way is done
    bool leaving_ = false;
    departure departure_ = departure::crashed;
    error departure_reason_;
    std::list<queued> queue_;           // not a deque: an empty one of those has half a kilobyte
    std::unique_ptr<commit> commit_;
    std::unique_ptr<stream> stream_;
    tool_names offered_;
    std::map<std::string, tool_run> runs_;
    std::map<std::string, awaited> awaited_;  // by call id
    std::map<std::uint64_t, sampling_run> samplings_;
    std::uint64_t next_sampling_ = 1;
    std::uint64_t snapshot_seq_ = 0;
    steady_time last_used_{};
    steady_time load_until_{};
    std::int64_t expiry_armed_ = 0;
    supervise::timer_handle expiry_, hibernation_, retry_, idle_, partial_, await_, flush_, rest_, load_, await_model_;
};

}  // namespace holdfast::sessions
