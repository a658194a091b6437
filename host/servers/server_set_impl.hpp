#pragma once
// The inside of server_set, for the files that make it up.
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "servers/catalogue_board.hpp"
#include "servers/overrides.hpp"
#include "servers/resources.hpp"
#include "servers/server_actor.hpp"

namespace holdfast::servers {

constexpr int ordinal_shift = 40;  // a call's id: server in the upper 24 bits, its number in the lower 40
constexpr std::uint64_t number_mask = (std::uint64_t{1} << ordinal_shift) - 1;
constexpr milliseconds shutdown_slack{3'000};

inline error not_there(const std::string& name) {
    return {errc::server_not_found, "there is no server '" + name + "'; server.list names those there are"};
}

struct server_set::impl : std::enable_shared_from_this<impl> {
    explicit impl(server_set_options o) : context(std::make_shared<server_context>(std::move(o))) {}

    std::shared_ptr<server_context> context;
    std::shared_ptr<catalogue_board> board;
    std::atomic<std::uint64_t> next_call{1};

    std::mutex applying;  // serialises changes of the configuration
    mutable std::mutex mutex;  // leaf: everything below
    std::map<std::string, std::shared_ptr<server_record>> records;
    std::map<std::uint32_t, std::shared_ptr<server_record>> by_ordinal;
    std::set<std::string> leaving;   ///< children being stopped; a new one of that name waits
    supervise::ref<supervise::supervisor> parent;
    std::uint32_t next_ordinal = 1;
    const steady_time made = rt().now();
    bool applied = false;            ///< a configuration has been
    // Owner: whoever holds `applying`.
    json breaker, health;            ///< the global objects
    json file_servers;               ///< as the configuration has them
    override_book book;
    json stored_rows = json::object();  ///< of the book, as the last scan saw them
    std::map<std::string, std::uint64_t> unstored;  ///< servers whose row the store does not have (yet), with their last edit: written again at every scan
    bool applied_once = false;
    std::uint64_t edits = 0;  ///< of rows, by us: begun, and again when done
    supervise::timer_handle scan, looking;
    resource_watch resources;        ///< Owner: look_at_resources, one at a time
    std::mutex exporting;
    std::set<std::string> exported;  ///< Owner: exporting. Servers with metrics, to forget those that have gone

    supervise::runtime& rt() { return *context->options.runtime; }

    std::shared_ptr<server_record> find(const std::string& name) const {
        std::lock_guard lock(mutex);
        auto it = records.find(name);
        return it == records.end() ? nullptr : it->second;
    }
    std::shared_ptr<server_record> find(std::uint64_t call) const {
        std::lock_guard lock(mutex);
        auto it = by_ordinal.find(static_cast<std::uint32_t>(call >> ordinal_shift));
        return it == by_ordinal.end() ? nullptr : it->second;
    }
    std::vector<std::shared_ptr<server_record>> all() const {
        std::lock_guard lock(mutex);
        std::vector<std::shared_ptr<server_record>> out;
        out.reserve(records.size());
        for (const auto& [name, r] : records) out.push_back(r);
        return out;
    }

    supervise::child_spec child_of(std::shared_ptr<server_record> record) {
        const auto spec = record->spec();
        auto child = supervise::actor_child(record->name, "server",
            [record, context = context](const supervise::child_context& c) -> result<supervise::actor_ref> {
                auto actor = supervise::make_actor<server_actor>(c.rt(), record, context);
                record->set_actor(actor);
                return supervise::actor_ref(actor);
            });
        child.restart = spec->permanent ? supervise::restart_type::permanent : supervise::restart_type::transient;
        child.shutdown = supervise::shutdown_policy::within(spec->stop_grace + shutdown_slack);
        return child;
    }

    /// Starts the child of a record if its supervisor is there and none of that name is still stopping.
    void launch(const std::string& name) {
        std::shared_ptr<server_record> record;
        supervise::ref<supervise::supervisor> where;
        {
            std::lock_guard lock(mutex);
            auto it = records.find(name);
            if (it == records.end() || leaving.count(name) || !parent) return;
            record = it->second;
            where = parent;
        }
        where->start_child(child_of(record), [self = shared_from_this(), name](result<supervise::child_ref> r) {
            if (!r && r.error().code != errc::cancelled && r.error().code != errc::stale)
                self->context->report.log(log_level::error, name, "its actor did not start: " + r.error().message);
        });
    }

    void retire(std::shared_ptr<server_record> record) {
        supervise::ref<supervise::supervisor> where;
        const std::string name = record->name;
        {
            std::lock_guard lock(mutex);
            records.erase(name);
            by_ordinal.erase(record->ordinal);
            where = parent;
            if (where) leaving.insert(name);
        }
        board->changed();
        if (!where) return;
        where->terminate_child(name, [self = shared_from_this(), name](result<void>) {
            {
                std::lock_guard lock(self->mutex);
                self->leaving.erase(name);
            }
            self->launch(name);  // one of that name may have been added meanwhile
        });
    }

    result<void> introduce(std::shared_ptr<const server_spec> spec) {
        const std::string name = spec->name;
        {
            std::lock_guard lock(mutex);
            if (records.size() >= max_servers) return fail(errc::overloaded, "there are " + std::to_string(max_servers) + " servers already");
            auto record = std::make_shared<server_record>(std::move(spec), next_ordinal++, rt().now());
            records.emplace(name, record);
            by_ordinal.emplace(record->ordinal, record);
        }
        launch(name);
        return {};
    }

    void replace(const std::shared_ptr<server_record>& record, std::shared_ptr<const server_spec> spec) {
        record->set_spec(std::move(spec));
        if (auto a = record->actor()) (void)a.tell_always([](server_actor& s) { s.reconfigure(); });
    }

    void tell(const std::string& name, command c, row_reply done) {
        auto record = find(name);
        if (!record) return done(tl::unexpected(not_there(name)));
        auto a = record->actor();
        if (!a) return done(fail(errc::unavailable, "'" + name + "' is just being started; try again"));
        supervise::reply<json> reply(std::move(done));
        (void)a.tell_always([c, reply = std::move(reply)](server_actor& s) mutable { s.obey(c, std::move(reply)); });
    }

    std::uint64_t send(const std::string& server, std::shared_ptr<call_job> job) {
        const std::uint64_t number = next_call.fetch_add(1) & number_mask;
        auto record = find(server);
        if (!record) {
            job->id = number;
            job->finish(tl::unexpected(not_there(server)));
            return number;
        }
        const std::uint64_t id = (std::uint64_t{record->ordinal} << ordinal_shift) | number;
        job->id = id;
        auto a = record->actor();
        if (!a) {
            job->finish(fail(errc::unavailable, "'" + server + "' is just being started; try again"));
            return id;
        }
        // A refused message is dropped with the job in it, which tells the caller.
        job->if_dropped = {errc::unavailable, "'" + server + "' is too busy or just restarting; try again"};
        (void)a.tell([job = std::move(job)](server_actor& s) mutable { s.call(std::move(job)); });
        return id;
    }

    // server_set_changes.cpp
    using spec_map = std::map<std::string, std::shared_ptr<const server_spec>>;
    result<spec_map> wanted_specs();
    result<std::vector<std::string>> become(spec_map wanted);
    void store_override(const std::string& name, row_reply done);
    using edit_fn = std::function<result<void>(const std::string& name)>;
    void change(std::vector<std::string> names, const edit_fn& edit, std::function<void(std::size_t, result<json>)> done);
    void change(const std::string& name, const edit_fn& edit, row_reply done);
    result<void> valid(const std::string& name);
    void take_rows(const json& rows, std::uint64_t edits_before);
    void look_at_store(row_reply done);
    void rescan();
    void read_rows(json before, row_reply done);

    // server_set_health.cpp
    void look_at_resources();
};

}  // namespace holdfast::servers
