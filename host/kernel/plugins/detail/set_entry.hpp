#pragma once
// Private to the plugin set: one configured plugin, and what all of them share.
#include <deque>
#include <shared_mutex>

#include "kernel/plugins/detail/instance_actor.hpp"
#include "kernel/plugins/loader.hpp"
#include "kernel/plugins/plugin_set.hpp"
#include "kernel/plugins/reload_state.hpp"

namespace holdfast::plugins {

/// Of one replacement, from its request to the end of the probation.
struct replacement {
    plugin_spec spec;                                // of the new one
    supervise::ref<detail::instance_actor> who;      // the new one
    std::uint64_t serial = 0;                        // of the new one, or of the restored one
    std::optional<verified_plugin> file;             // of the new one, once it is verified
    supervise::ref<detail::instance_actor> old;
    std::uint64_t old_serial = 0;
    std::optional<verified_plugin> before;           // of the old one: the way back
    std::string use_before;
    std::optional<std::string> state;                // exported by the old one
    plugin_set::done finished;
    supervise::timer_handle probation;
};

/// One configured plugin, whatever its incarnation.
struct set_entry final : detail::instance_owner, std::enable_shared_from_this<set_entry> {
    set_entry(std::weak_ptr<plugin_set::impl> s, std::string name) : set(std::move(s)), id(std::move(name)) {}
    const std::weak_ptr<plugin_set::impl> set;
    const std::string id;
    const std::shared_ptr<detail::listeners> sockets = std::make_shared<detail::listeners>();  // second owners: its incarnations

    mutable std::mutex mutex;  // guards everything below; leaf: nothing is called while it is held
    plugin_spec spec;
    plugin_info info;
    std::shared_ptr<detail::live_instance> inc;   // published; second owner: its actor
    std::shared_ptr<const void> lease;          // the set's own
    supervise::ref<detail::instance_actor> who;
    std::uint64_t serial = 0;                   // of the newest incarnation: news of older ones is ignored
    bool wanted = true;                         // should run
    bool starting_by_hand = true;               // the next start is not a restart
    bool removed = false;
    start_hook hook;
    std::vector<plugin_set::done> waiting;      // for the outcome of the attempt under way
    supervise::timer_handle quarantine;
    std::shared_ptr<detail::instance_child> place;  // what the supervisor sees of it; second owners: the supervisor, its incarnations
    std::optional<verified_plugin> kept;        // after a roll-back: what is started instead of the file, until a person starts it
    replacement next;
    reload_machine reload;
    std::deque<any_reload_event> reload_events;  // to be thought about
    std::vector<std::function<void()>> leaving;  // when they have been: a version that is restored must find the place still open
    bool thinking = false;
    std::deque<plugin_change> changes;          // to be told
    bool telling = false;

    void verified(std::uint64_t from, const verified_plugin& v) override;
    void held(std::uint64_t from) override;
    void moved(std::uint64_t from, instance_phase to, const std::string& reason) override;
    void published(std::uint64_t from, const std::shared_ptr<detail::live_instance>& i) override;
    void withdrawn(detail::live_instance& i) override;
    void ended(std::uint64_t from, const instance_action::finished& how, bool refused, std::function<void()> leave) override;
    void warning(const std::string& text) override;

    void show(const verified_plugin& v);  // [mutex held] its file is the plugin's
    void move_to(instance_phase to, const std::string& reason);
    void tell();
    void answer(result<plugin_info> r);
    /// for_crashes: until a person releases it; else for the configured time.
    void quarantine_now(const std::string& why, bool for_crashes = false);

    // detail/reload.cpp
    /// false: the end of that incarnation is no part of a replacement, or leaves the plugin without one: supervision goes on with it.
    bool ended_while_replacing(std::uint64_t from, const instance_action::finished& how, std::function<void()>& leave);  ///< empty afterwards: think() calls it
    void ended_by_itself(std::uint64_t from, const instance_action::finished& how, bool refused);
    void adopt(std::uint64_t from);  // [mutex held] the new one serves
    void reload_on(any_reload_event e);
    void reload_on(std::uint64_t new_serial, any_reload_event e);  // late news, of a replacement before the one under way, is ignored
    void think();  // one event at a time and in order, without a lock held
    void perform(reload_action::make_new&);
    void perform(reload_action::retire_old&);
    void perform(reload_action::start_new&);
    void perform(reload_action::stop_new&);
    void perform(reload_action::watch&);
    void perform(reload_action::restore& a);
    void perform(reload_action::forget&);
    void perform(reload_action::refused& a) { conclude(reload_news::outcome::refused, a.why); }
    void perform(reload_action::replaced&) { conclude(reload_news::outcome::replaced, {}); }
    void perform(reload_action::rolled_back& a) { conclude(reload_news::outcome::rolled_back, a.why); }
    void perform(reload_action::lost& a) { conclude(reload_news::outcome::lost, a.why); }
    void conclude(reload_news::outcome what, const std::string& why);
    void note_state_of(detail::live_instance& old);
    start_hook import_of_state();

    plugin_info snapshot() const {
        std::lock_guard lock(mutex);
        return info;
    }
    std::shared_ptr<detail::live_instance> serving() const {
        std::lock_guard lock(mutex);
        return inc;
    }
};

struct plugin_set::impl : std::enable_shared_from_this<plugin_set::impl> {
    plugin_set_options options;
    std::shared_ptr<detail::service_context> context;
    std::shared_ptr<loader> files;
    std::shared_ptr<crash_marks> marks;
    std::shared_ptr<const discovery> finder;

    mutable std::shared_mutex mutex;  // guards the lists; leaf
    std::vector<std::shared_ptr<set_entry>> order;
    std::unordered_map<std::string, std::shared_ptr<set_entry>> by_id;
    std::map<std::pair<std::string, std::string>, std::shared_ptr<call_gate>> gates;
    supervise::ref<supervise::supervisor> sup;

    std::shared_ptr<set_entry> find(const std::string& id) const {
        std::shared_lock lock(mutex);
        auto it = by_id.find(id);
        return it == by_id.end() ? nullptr : it->second;
    }
    supervise::ref<supervise::supervisor> node_ref() const {
        std::shared_lock lock(mutex);
        return sup;
    }
    std::shared_ptr<call_gate> gate(const std::string& id, const std::string& ext) {
        std::unique_lock lock(mutex);
        auto& g = gates[{id, ext}];
        if (!g) g = std::make_shared<call_gate>();
        return g;
    }

    supervise::child_spec child_of(const std::shared_ptr<set_entry>& e);
    detail::instance_deps deps_for(const std::shared_ptr<set_entry>& e);
    void launch(const std::shared_ptr<set_entry>& e);
    void begin(const std::shared_ptr<set_entry>& e, plugin_set::done finished);
    void halt(const std::shared_ptr<set_entry>& e, unique_function<void()> then);
    void forget_child(const std::shared_ptr<set_entry>& e, unique_function<void()> then);
    void on_node(supervise::ref<supervise::supervisor> s);
    void on_report(const supervise::supervision_report& r);
    void on_crash(crash_report r, std::shared_ptr<const private_copy> copy);
    std::string release_words(const std::string& id) const {
        std::string out = options.release_command;
        if (const auto at = out.find('%'); at != std::string::npos) out.replace(at, 1, id);
        return out;
    }
};

}  // namespace holdfast::plugins
