// Changes at runtime: servers that are added, overrides of the configured ones, many servers at once.
#include <atomic>

#include "servers/import.hpp"
#include "servers/preflight.hpp"
#include "servers/server_set_impl.hpp"

namespace holdfast::servers {
namespace {

constexpr milliseconds store_timeout{10'000};
constexpr seconds rescan_period{30};
constexpr std::size_t override_page = 1'000;
constexpr std::size_t bulk_parallel = 32;  // processes that are started or stopped at once

std::string row_key(const std::string& name) { return "mcpServers/" + name; }
constexpr std::size_t row_prefix = 11;  // of "mcpServers/"

/// References in what came in at runtime; those of the file are resolved already.
result<json> resolved(const json& value) {
    json out{{"v", value}};
    std::set<std::string> secrets;
    const auto wrong = config::resolve_references(out, "/", config::reference_sources::real(), secrets);
    if (!wrong.empty()) return fail(errc::invalid_argument, wrong[0].message);
    return out["v"];
}

}  // namespace

/// [applying] The specs that the file and the overrides together ask for.
result<std::map<std::string, std::shared_ptr<const server_spec>>> server_set::impl::wanted_specs() {
    std::map<std::string, std::shared_ptr<const server_spec>> wanted;
    auto effective = book.apply(file_servers.is_null() ? json::object() : file_servers, resolved);
    for (const auto& line : effective.lost)
        context->report.log(log_level::warn, line.substr(0, line.find(':')), "the configuration file has overtaken what was set at runtime: " + line);
    for (const auto& line : effective.problems) context->report.log(log_level::error, line.substr(0, line.find(':')), "an override is not applied: " + line);
    for (auto& [name, e] : effective.servers) {
        auto spec = make_spec(name, e.entry, breaker, health);
        if (!spec && !e.added && e.keys.empty()) return tl::unexpected(spec.error());
        if (!spec) {  // what was set at runtime never keeps the rest from serving
            context->report.log(log_level::error, name, "what was set at runtime is not applied: " + spec.error().message);
            if (e.added) continue;
            e.keys.clear();
            spec = make_spec(name, file_servers[name], breaker, health);
            if (!spec) return tl::unexpected(spec.error());
        }
        if (e.added || !e.keys.empty()) {
            auto marked = std::make_shared<server_spec>(**spec);
            marked->overridden = std::move(e.keys);
            marked->added = e.added;
            wanted.emplace(name, std::move(marked));
        } else {
            wanted.emplace(name, std::move(*spec));
        }
    }
    for (const auto& name : effective.changed) store_override(name, [](result<json>) {});
    return wanted;
}

/// [applying] Makes the running set equal to the wanted one. Returns what was touched.
result<std::vector<std::string>> server_set::impl::become(std::map<std::string, std::shared_ptr<const server_spec>> wanted) {
    if (wanted.size() > max_servers) return fail(errc::config_invalid, "mcpServers: at most " + std::to_string(max_servers) + " servers");
    std::vector<std::string> touched;
    for (const auto& record : all()) {
        auto it = wanted.find(record->name);
        if (it == wanted.end()) {
            retire(record);
            touched.push_back(record->name);
            continue;
        }
        const auto now = record->spec();
        if (!(*it->second == *now)) {
            replace(record, it->second);
            touched.push_back(record->name);
        } else if (it->second->overridden != now->overridden || it->second->added != now->added) {
            record->set_spec(it->second);  // the same settings, from another place
        }
    }
    for (auto& [name, spec] : wanted) {
        if (find(name)) continue;
        if (auto ok = introduce(spec); !ok) return tl::unexpected(ok.error());
        touched.push_back(name);
    }
    std::sort(touched.begin(), touched.end());
    return touched;
}

/// [applying] Writes the row of a server as it is in the book, or takes it out.
void server_set::impl::store_override(const std::string& name, row_reply done) {
    const auto& store = context->options.store;
    if (!store) return done(json::object());
    unstored[name] = ++edits;
    auto written = [self = shared_from_this(), name, edit = edits, done = std::move(done)](result<json> r) mutable {
        if (!r) self->context->report.log(log_level::error, name, "a change at runtime cannot be stored, it is written again until it is: " + r.error().message);
        // From the queue: a store may answer at once, and `applying` is held here.
        self->rt().post([self, name, edit, done = std::move(done), r = std::move(r)]() mutable {
            {
                std::lock_guard serial(self->applying);
                if (r) ++self->edits;
                const auto it = self->unstored.find(name);
                if (r && it != self->unstored.end() && it->second == edit) self->unstored.erase(it);
            }
            done(std::move(r));
        });
    };
    const server_override* o = book.find(name);
    if (o) store->submit("put", {{"table", "overrides"}, {"key", row_key(name)}, {"value", o->to_row()}}, store_timeout, {}, std::move(written));
    else store->submit("delete", {{"table", "overrides"}, {"key", row_key(name)}}, store_timeout, {}, std::move(written));
}

/// Changes of the book, one for a server: each tried by itself, and taken back when the result is not valid; those that are left
/// come into force together. `done` once for each, with its place among the names.
void server_set::impl::change(std::vector<std::string> names, const edit_fn& edit, std::function<void(std::size_t, result<json>)> done) {
    struct undo {
        std::size_t place;
        std::optional<server_override> before;
    };
    std::vector<undo> made;
    std::vector<std::pair<std::size_t, error>> failed;
    {
        std::lock_guard serial(applying);
        const auto take_back = [&](const undo& u) { book.put_back(names[u.place], u.before ? &*u.before : nullptr); };
        for (std::size_t i = 0; i < names.size(); ++i) {
            const server_override* found = book.find(names[i]);
            undo u{i, found ? std::optional(*found) : std::nullopt};
            auto ok = edit(names[i]);
            if (ok) ok = valid(names[i]);
            if (ok) {
                made.push_back(std::move(u));
            } else {
                take_back(u);
                failed.emplace_back(i, ok.error());
            }
        }
        auto wanted = made.empty() ? result<spec_map>() : wanted_specs();
        auto became = wanted ? made.empty() ? result<std::vector<std::string>>() : become(std::move(*wanted)) : result<std::vector<std::string>>(tl::unexpected(wanted.error()));
        if (!became) {
            for (auto u = made.rbegin(); u != made.rend(); ++u) {
                take_back(*u);
                failed.emplace_back(u->place, became.error());
            }
            made.clear();
        }
        for (const auto& u : made)
            store_override(names[u.place], [self = shared_from_this(), name = names[u.place], place = u.place, done](result<json> r) {
                if (!r) return done(place, fail(r.error().code, "it is in force, but not stored yet, and lost if the host ends before it is: " + r.error().message));
                auto record = self->find(name);
                done(place, record ? result<json>(record_row(*record, self->rt())) : json::object());
            });
    }
    for (auto& [place, why] : failed) done(place, tl::unexpected(std::move(why)));
}

void server_set::impl::change(const std::string& name, const edit_fn& edit, row_reply done) {
    auto shared = std::make_shared<row_reply>(std::move(done));  // second owners: copies of the function, of which one is called, once
    change(std::vector{name}, edit, [shared](std::size_t, result<json> r) { (*shared)(std::move(r)); });
}

/// [applying] Whether a server is as its schema and its spec want it, were the book applied.
result<void> server_set::impl::valid(const std::string& name) {
    override_book own;
    own.put_back(name, book.find(name));
    json file = json::object();
    if (const json& entry = member(file_servers, name); !entry.is_null()) file[name] = entry;
    auto effective = own.apply(file, resolved);
    if (!effective.problems.empty()) return fail(errc::invalid_argument, effective.problems[0]);
    auto it = effective.servers.find(name);
    if (it == effective.servers.end()) return {};
    if (const auto& check = context->options.check_entry)
        if (auto ok = check(name, it->second.entry); !ok) return ok;
    auto spec = make_spec(name, it->second.entry, breaker, health);
    if (!spec) return fail(errc::invalid_argument, spec.error().message);
    return preflight(**spec);
}

/// What the store holds becomes the book, but for what was changed here and is not stored; nothing does if that changed since the store
/// was asked: the next scan sees it. [any thread]
void server_set::impl::take_rows(const json& rows, std::uint64_t edits_before) {
    std::lock_guard serial(applying);
    if (edits != edits_before) return;
    override_book fresh;
    json seen = json::object();
    for (const json& row : rows) {
        const std::string key = string_or(row, "key");
        if (key.size() <= row_prefix || !member(row, "value").is_object() || unstored.count(key.substr(row_prefix))) continue;
        fresh.restore(key.substr(row_prefix), row["value"]);
        seen[key] = row["value"];
    }
    for (const auto& [name, edit] : unstored) fresh.put_back(name, book.find(name));
    if (seen == stored_rows) return;
    stored_rows = std::move(seen);
    book = std::move(fresh);
    if (!applied_once) return;
    auto wanted = wanted_specs();
    auto became = wanted ? become(std::move(*wanted)) : result<std::vector<std::string>>(tl::unexpected(wanted.error()));
    if (!became) context->report.log(log_level::error, "", "overrides from the store are not applied: " + became.error().message);
}

/// Writes again what the store does not have, and takes what it does.
void server_set::impl::look_at_store(row_reply done) {
    std::uint64_t edits_before = 0;
    {
        std::lock_guard serial(applying);
        for (const auto& [name, edit] : unstored) store_override(name, [](result<json>) {});
        edits_before = edits;
    }
    read_rows(json::array(), [weak = weak_from_this(), edits_before, done = std::move(done)](result<json> rows) mutable {
        if (auto self = weak.lock(); self && rows) self->take_rows(*rows, edits_before);
        done(std::move(rows));
    });
}

void server_set::impl::rescan() {
    scan = rt().after(rescan_period, [weak = weak_from_this()] {
        if (auto self = weak.lock())
            self->look_at_store([weak](result<json>) {
                if (auto again = weak.lock()) again->rescan();
            });
    });
}

/// All of them, page by page.
void server_set::impl::read_rows(json before, row_reply done) {
    std::string after = before.empty() ? std::string() : string_or(before.back(), "key");
    context->options.store->submit("list", {{"table", "overrides"}, {"prefix", "mcpServers/"}, {"after", after}, {"limit", override_page}}, store_timeout, {},
                                   [weak = weak_from_this(), before = std::move(before), after, done = std::move(done)](result<json> r) mutable {
                                       if (!r) return done(std::move(r));
                                       const json& page = member(*r, "rows");
                                       before.insert(before.end(), page.begin(), page.end());
                                       auto self = weak.lock();
                                       const bool last = page.size() < override_page || string_or(page.back(), "key") <= after;
                                       if (!self || last) return done(std::move(before));
                                       self->read_rows(std::move(before), std::move(done));
                                   });
}

void server_set::load_overrides(row_reply done) {
    if (!impl_->context->options.store) return done(json::object());
    impl_->look_at_store([self = impl_, done = std::move(done)](result<json> rows) mutable {
        if (!rows) self->context->report.log(log_level::error, "", "what was changed at runtime cannot be read: " + rows.error().message);
        self->rescan();
        done(std::move(rows));
    });
}

void server_set::update_config(const std::string& name, json changes, const std::string& who, row_reply done) {
    if (!impl_->find(name)) return done(tl::unexpected(not_there(name)));
    impl_->change(name, [self = impl_, changes = std::move(changes), who](const std::string& name) {
        return self->book.patch(name, changes, member(self->file_servers, name), who, rfc3339(self->rt().clock().wall()));
    }, std::move(done));
}

void server_set::reset_config(const std::string& name, row_reply done) {
    auto record = impl_->find(name);
    if (!record) return done(tl::unexpected(not_there(name)));
    if (record->spec()->added) return done(fail(errc::invalid_argument, "'" + name + "' exists by what was set at runtime alone: server.remove takes it out"));
    impl_->change(name, [self = impl_](const std::string& name) -> result<void> {
        self->book.drop(name);
        return {};
    }, std::move(done));
}

void server_set::add_server(const std::string& name, json entry, const std::string& who, row_reply done) {
    if (impl_->find(name)) return done(fail(errc::server_already_exists, "there is a server '" + name + "' already: update or remove it, or take another name"));
    impl_->change(name, [self = impl_, entry = std::move(entry), who](const std::string& name) {
        return self->book.add(name, entry, who, rfc3339(self->rt().clock().wall()));
    }, std::move(done));
}

void server_set::remove_server(const std::string& name, row_reply done) {
    auto record = impl_->find(name);
    if (!record) return done(tl::unexpected(not_there(name)));
    if (!record->spec()->added)
        return done(fail(errc::invalid_argument, "'" + name + "' stands in the configuration: take it out there, or disable it"));
    impl_->change(name, [self = impl_](const std::string& name) -> result<void> {
        self->book.drop(name);
        return {};
    }, std::move(done));
}

namespace {

json nothing_done() { return {{"successful", 0}, {"failed", 0}, {"results", json::array()}}; }

/// Many commands, some at a time. Owner: mutex; second owners: the commands under way.
struct bulk_run : std::enable_shared_from_this<bulk_run> {
    std::function<void(const std::string&, row_reply)> act;
    supervise::runtime* rt = nullptr;
    std::vector<std::string> names;
    row_reply done;
    std::mutex mutex;
    std::size_t next = 0, running = 0, successful = 0;
    json results = json::array();

    static std::shared_ptr<bulk_run> of(supervise::runtime& rt, std::vector<std::string> names, row_reply done) {
        auto run = std::make_shared<bulk_run>();
        run->rt = &rt;
        run->results = json(names.size(), nullptr);
        run->names = std::move(names);
        run->done = std::move(done);
        return run;
    }
    void pump() {
        for (;;) {
            std::size_t i = 0;
            {
                std::lock_guard lock(mutex);
                if (next == names.size() || running == bulk_parallel) return;
                i = next++;
                ++running;
            }
            act(names[i], [self = shared_from_this(), i](result<json> r) {
                // From the queue: an answer may come inside of act().
                self->rt->post([self, i, r = std::move(r)]() mutable { self->ended(i, std::move(r)); });
            });
        }
    }
    void ended(std::size_t i, result<json> r) {
        bool over = false;
        {
            std::lock_guard lock(mutex);
            --running;
            successful += r ? 1 : 0;
            results[i] = {{"name", names[i]}, {"ok", r.has_value()}};
            if (r) results[i]["status"] = member(*r, "status");
            else results[i]["error"] = r.error().to_json();
            over = running == 0 && next == names.size();
        }
        if (!over) return pump();
        done(json{{"successful", successful}, {"failed", names.size() - successful}, {"results", std::move(results)}});
    }
};

}  // namespace

void server_set::update_configs(std::vector<std::string> names, json changes, const std::string& who, row_reply done) {
    if (names.empty()) names = this->names();
    if (names.empty()) return done(nothing_done());
    auto run = bulk_run::of(impl_->rt(), std::move(names), std::move(done));
    run->next = run->running = run->names.size();  // all are under way
    impl_->change(run->names, [self = impl_, changes = std::move(changes), who](const std::string& name) -> result<void> {
        if (!self->find(name)) return tl::unexpected(not_there(name));
        return self->book.patch(name, changes, member(self->file_servers, name), who, rfc3339(self->rt().clock().wall()));
    }, [run](std::size_t i, result<json> r) { run->ended(i, std::move(r)); });
}

void server_set::bulk(const std::string& action, std::vector<std::string> names, row_reply done) {
    const std::map<std::string, command> commands{{"start", command::start}, {"stop", command::stop}, {"restart", command::restart},
                                                  {"enable", command::enable}, {"disable", command::disable}};
    const auto c = commands.find(action);
    if (c == commands.end()) return done(fail(errc::invalid_argument, "unknown action '" + action + "': expected start, stop, restart, enable or disable"));
    if (names.empty())
        for (const auto& r : impl_->all()) {
            const auto s = r->snapshot();
            const bool off = s && (s->state.disabled == disabled_by::person || s->state.disabled == disabled_by::automatic);
            // "all" means those that the action can concern; one that a person disabled is not started by the way.
            if (!off || c->second == command::enable || c->second == command::disable) names.push_back(r->name);
        }
    if (names.empty()) return done(nothing_done());
    auto run = bulk_run::of(impl_->rt(), std::move(names), std::move(done));
    run->act = [self = impl_, what = c->second](const std::string& name, row_reply r) { self->tell(name, what, std::move(r)); };
    run->pump();
}

void server_set::import_servers(const std::string& file, const std::string& text, bool dry_run, const std::string& who, row_reply done) {
    import_place place;
    place.file = file;
    const char* home = std::getenv("HOME");
    place.home = home ? home : "/";
    place.sources = config::reference_sources::real();
    auto read = servers::import_servers(text, place);
    json shown = read.to_json();
    std::map<std::string, json> entries;
    for (const auto& s : read.servers) entries[s.name] = s.entry;  // references stay: their values are none of the store's. Those of an "envFile" are in it
    resolve_imported(read, place);
    json rows = json::array(), problems = read.to_json()["problems"];
    for (const json& row : shown["servers"]) {
        const std::string name = row["name"];
        const auto it = std::find_if(read.servers.begin(), read.servers.end(), [&](const auto& s) { return s.name == name; });
        if (it == read.servers.end()) continue;
        result<void> ok = check_start(name, it->entry);
        if (impl_->find(name)) ok = fail(errc::server_already_exists, "there is a server '" + name + "' already: remove it, or rename this one");
        if (ok) rows.push_back(row);
        else
            problems.push_back({{"file", file}, {"line", it->at.line}, {"column", it->at.column}, {"pointer", "/" + name},
                                {"message", std::string(to_string(ok.error().code)) + ": " + ok.error().message}});
    }
    auto answer = std::make_shared<json>(json{{"format", shown["format"]}, {"servers", std::move(rows)}, {"problems", std::move(problems)}});
    if (dry_run || (*answer)["servers"].empty()) return done(std::move(*answer));
    struct join {
        row_reply done;
        std::shared_ptr<json> answer;  // second owner: each addition
        std::mutex mutex;
        std::size_t left = 0;
    };
    auto j = std::make_shared<join>();
    j->done = std::move(done);
    j->answer = answer;
    j->left = (*answer)["servers"].size();
    const json added = (*answer)["servers"];
    for (const json& row : added) {
        const std::string name = row["name"];
        add_server(name, entries[name], who, [j, name, file](result<json> r) {
            std::unique_lock lock(j->mutex);
            if (!r) {
                (*j->answer)["problems"].push_back({{"file", file}, {"line", 1}, {"column", 1}, {"pointer", "/" + name}, {"message", r.error().message}});
                json kept = json::array();
                for (const json& s : (*j->answer)["servers"])
                    if (s["name"] != name) kept.push_back(s);
                (*j->answer)["servers"] = std::move(kept);
            }
            if (--j->left > 0) return;
            lock.unlock();
            j->done(std::move(*j->answer));
        });
    }
}

}  // namespace holdfast::servers
