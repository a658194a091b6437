#pragma once
// The session directory's state. Internal to the box.
#include <algorithm>
#include <cctype>
#include <deque>
#include <list>
#include <mutex>
#include <optional>

#include "kernel/core/ids.hpp"
#include "sessions/session_actor.hpp"
#include "sessions/session_directory.hpp"

namespace holdfast::sessions {

class directory_impl final : public session_directory, public session_host, public std::enable_shared_from_this<directory_impl> {
  public:
    directory_impl(session_services services, session_options options);

    void start(unique_function<void(result<void>)> done) override;
    void stop(milliseconds deadline, unique_function<void()> done) override;
    void invoke(std::string_view method, const caller& who, json params, reply done) override;
    bool has(std::string_view method) const override;
    figures stats() const override;

    void live(const std::string& id, std::uint64_t incarnation) override;
    void gone(const std::string& id, std::uint64_t incarnation, departure how, error why) override;
    void summarise(const std::string& id, session_summary s) override;
    bool begin_retirement(const std::string& id, std::uint64_t incarnation) override;
    void cancel_retirement(const std::string& id, std::uint64_t incarnation) override;
    std::shared_ptr<const alias_table> aliases() const override;
    void set_alias(std::string name, std::string expansion, reply done) override;
    void delete_alias(std::string name, reply done) override;

  private:
    struct parcel;
    using requests = std::list<std::shared_ptr<session_request>>;
    /// What is known of a session that lives, waits or has failed.
    struct service {
        supervise::ref<session_actor> actor;  // set from its making to its departure
        requests waiting;
        unsigned failures = 0;             // starts in a row that did not get live
        std::vector<steady_time> crashes;  // of live ones, within crash_window
        bool was_live = false;
        bool wake = false;                 // it has something to finish
        error quarantine;
        bool idle() const { return !actor && waiting.empty() && failures == 0 && crashes.empty() && !wake; }
    };
    struct entry {
        session_summary summary;
        std::unique_ptr<service> serving;  // null while nothing is to be said
        std::uint32_t starts = 0;
        enum : std::uint8_t { cold, starting, live, retiring, quarantined } state = cold;
        service& serve() {
            if (!serving) serving = std::make_unique<service>();
            return *serving;
        }
        std::uint64_t incarnation() const { return serving ? serving->actor.incarnation() : 0; }
    };
    struct stop_state {
        std::deque<supervise::ref<session_actor>> left, asked;
        unique_function<void()> done;
        supervise::timer_handle timer;
    };
    struct index_run;

    void dispatch(const std::string& id, std::shared_ptr<session_request> r, bool create);
    void deliver(const supervise::ref<session_actor>& to, const std::string& id, std::shared_ptr<session_request> r);
    void returned(const std::string& id, std::uint64_t incarnation, std::shared_ptr<session_request> r);
    void begin_locked(entry& e);
    supervise::ref<session_actor> oldest_idle_locked() const;
    void launch(const std::string& id);
    bool count_crash_locked(entry& e, const std::string& id, const error& why);
    void retry(const std::string& id, reply done);
    void wake_later(const std::string& id);
    void list(const json& params, reply done);
    void ring(const json& params, reply done);
    void stopped_one();
    void stopped(bool late);

    // directory_index.cpp
    void shared_lists(std::string_view method, const json& params, reply done);
    void add_history(std::string line, reply done);
    void load_tables(std::shared_ptr<index_run> run);
    void load_streams(std::shared_ptr<index_run> run);
    void check_tails(std::shared_ptr<index_run> run);
    void index_done(std::shared_ptr<index_run> run);
    void index_failed(std::shared_ptr<index_run> run, error why);
    void sweep();
    json aliases_json() const;

    const session_services services_;
    const session_options options_;
    mutable std::mutex mutex_;  // guards everything below; never held across a call of others, except pushes to living mailboxes
    std::map<std::string, entry> sessions_;
    std::size_t live_ = 0;      // starting, live or retiring
    bool indexed_ = false, stopping_ = false;
    figures figures_;
    std::shared_ptr<const alias_table> aliases_;
    std::deque<std::pair<std::string, std::string>> lines_;  // key, what was typed; newest last
    std::uint64_t line_number_ = 0;
    std::optional<stop_state> stop_;
    supervise::timer_handle sweep_;
};

}  // namespace holdfast::sessions
