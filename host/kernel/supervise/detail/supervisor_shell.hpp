#pragma once
// The shell's state. Private to supervisor.cpp, supervisor_tree.cpp and children.cpp.
#include <deque>
#include <mutex>
#include <unordered_map>

#include "kernel/supervise/supervisor.hpp"

namespace holdfast::supervise {

struct supervisor::impl {
    /// One thing that happened, with the handle or the start function that came with it.
    struct news {
        std::optional<supervisor_event> what;  // empty: only the handle
        child_key key = 0;
        std::uint32_t incarnation = 0;
        std::shared_ptr<child> handle;
        std::string spec_id;
        std::optional<start_function> spec_start;
    };
    struct entry {
        std::shared_ptr<const std::string> id;  // shared with the contexts given out
        start_function start;
        std::shared_ptr<child> handle;          // second owner: a tree snapshot under way
        std::uint32_t incarnation = 0;
        std::uint64_t actor_incarnation = 0;    // under which it is registered by name; 0: not an actor
    };
    struct orphan {
        child_key key;
        std::uint32_t incarnation;
        std::shared_ptr<child> handle;
    };

    impl(std::string i, std::string p, supervisor_options o)
        : id(std::move(i)), path(std::move(p)), options(std::move(o)),
          random(options.random_seed ? options.random_seed : supervise::random_seed()), decision(options.rules, random) {}

    const std::string id, path;
    supervisor_options options;
    seeded_random random;
    supervisor* self = nullptr;

    mutable std::mutex mutex;  // guards decision, entries, ended; leaf: never held across a callback
    supervisor_decision decision;
    std::unordered_map<child_key, entry> entries;
    bool ended = false;

    // Owner: the supervisor's turn.
    std::deque<news> inbox;
    bool processing = false, is_up = false;
    std::vector<supervisor_action> actions;
    std::unordered_map<request_id, std::variant<reply<child_ref>, reply<void>>> requests;
    std::unordered_map<std::uint64_t, timer_handle> timers;
    std::vector<orphan> orphans;
    std::vector<child_spec> initial;
    std::vector<reply<void>> stop_waiters;
    reply<void> up;
    std::optional<error> start_error;
    static constexpr request_id initial_request = ~0ull;
    request_id last_request = 0;
    steady_time started_at{};

    static ref<supervisor> make(runtime& rt, std::string id, std::string path, supervisor_options options,
                                std::vector<child_spec> children, done_void up);
    void deliver(const ref<supervisor>& to, news n);
    void apply(supervisor_event e);
    void process();
    bool take_handle(news& n);
    std::shared_ptr<child> handle_of(child_key key, std::uint32_t incarnation);
    template <class Done, class Event>
    void request(Event e, Done done, std::string spec_id = {}, std::optional<start_function> start = {});
    void perform();
    void perform(action::start& a);
    void perform(action::stop& a);
    void perform(action::kill& a);
    void perform(action::abandon& a);
    void perform(action::arm& a);
    void perform(action::disarm& a);
    void perform(action::report& a);
    void perform(action::answer& a);
    void perform(action::removed& a);
    void perform(action::initialised& a);
    void perform(action::finished& a);
    void describe(json& node, std::size_t max_children) const;
};

}  // namespace holdfast::supervise
