// What the directory reads at the start, and the lists that belong to no session: aliases, input history.
#include "sessions/directory_impl.hpp"

namespace holdfast::sessions {
namespace {

constexpr std::int64_t page = 500;
constexpr std::size_t tails_at_once = 32;
constexpr seconds sweep_every{600};

}  // namespace

/// One reading of the store. Owner: the callbacks of the call under way; the tails' are counted under its own mutex.
struct directory_impl::index_run {
    unique_function<void(result<void>)> done;
    std::map<std::string, session_summary> rows;  // table "sessions"
    alias_table aliases;
    std::deque<std::pair<std::string, std::string>> lines;
    std::deque<std::string> streams;              // ids whose newest event is to be looked at
    std::vector<std::string> unfinished;
    std::size_t table = 0;
    std::string after;
    std::mutex mutex;
    std::size_t outstanding = 0;
    bool failed = false;
};

void directory_impl::start(unique_function<void(result<void>)> done) {
    auto run = std::make_shared<index_run>();
    run->done = std::move(done);
    load_tables(std::move(run));
}

void directory_impl::index_failed(std::shared_ptr<index_run> run, error) {
    // The store is another plugin: it may be a moment behind us, or restarting.
    auto fresh = std::make_shared<index_run>();
    fresh->done = std::move(run->done);
    services_.rt->after(options_.store_retry, [weak = weak_from_this(), fresh = std::move(fresh)]() mutable {
        if (auto self = weak.lock()) self->load_tables(std::move(fresh));
    }).detach();
}

void directory_impl::load_tables(std::shared_ptr<index_run> run) {
    static constexpr const char* tables[] = {"sessions", "aliases", "history"};
    if (run->table >= std::size(tables)) {
        run->after.clear();
        return load_streams(std::move(run));
    }
    json request{{"table", tables[run->table]}, {"limit", page}};
    if (!run->after.empty()) request["after"] = run->after;
    services_.store->submit("list", std::move(request), options_.store_timeout, {}, [self = shared_from_this(), run](result<json> r) {
        if (!r) return self->index_failed(run, r.error());
        const json& rows = member(*r, "rows");
        for (const json& row : rows) {
            const std::string key = string_or(row, "key");
            const json& v = member(row, "value");
            run->after = key;
            if (run->table == 0)
                run->rows[key] = {string_or(v, "title"), rfc3339_ms(string_or(v, "created_at")), rfc3339_ms(string_or(v, "updated_at")),
                                  static_cast<std::uint64_t>(int_or(v, "messages", 0)), static_cast<std::uint64_t>(int_or(v, "seq", 0))};
            else if (run->table == 1) run->aliases[key] = string_or(v, "expansion");
            else run->lines.emplace_back(key, string_or(v, "line"));
        }
        if (rows.size() < static_cast<std::size_t>(page)) {
            ++run->table;
            run->after.clear();
        }
        self->load_tables(run);
    });
}

void directory_impl::load_streams(std::shared_ptr<index_run> run) {
    json request{{"prefix", "session:"}, {"limit", page}};
    if (!run->after.empty()) request["after"] = run->after;
    services_.store->submit("streams", std::move(request), options_.store_timeout, {}, [self = shared_from_this(), run](result<json> r) {
        if (!r) return self->index_failed(run, r.error());
        const json& rows = member(*r, "streams");
        {
            std::lock_guard lock(self->mutex_);
            for (const json& row : rows) {
                run->after = string_or(row, "stream");
                const std::string id = run->after.substr(std::min<std::size_t>(run->after.size(), 8));
                run->streams.push_back(id);
                entry& e = self->sessions_[id];
                if (e.state != entry::cold || e.summary.created_ms != 0) continue;  // awake already, it knows better
                if (const auto known = run->rows.find(id); known != run->rows.end()) e.summary = known->second;
                if (e.summary.created_ms == 0) e.summary.created_ms = session_summary::unknown;
                e.summary.seq = static_cast<std::uint64_t>(int_or(row, "last", 0));
            }
        }
        if (rows.size() >= static_cast<std::size_t>(page)) return self->load_streams(run);
        {
            std::lock_guard lock(self->mutex_);
            self->aliases_ = std::make_shared<const alias_table>(std::move(run->aliases));
            self->lines_ = std::move(run->lines);
            self->indexed_ = true;
        }
        self->check_tails(run);
    });
}

/// The newest event of every session says whether a turn was under way.
void directory_impl::check_tails(std::shared_ptr<index_run> run) {
    for (;;) {
        std::string id;
        {
            std::lock_guard lock(run->mutex);
            if (run->streams.empty()) {
                if (run->outstanding > 0 || std::exchange(run->failed, true)) return;
                break;
            }
            if (run->outstanding >= tails_at_once) return;
            id = std::move(run->streams.front());
            run->streams.pop_front();
            ++run->outstanding;
        }
        services_.rt->post([self = shared_from_this(), run, id] {
            self->services_.store->submit("tail", {{"stream", "session:" + id}, {"limit", 1}}, self->options_.store_timeout, {}, [self, run, id](result<json> r) {
                bool open = !r;  // cannot be told: waking it does no harm
                if (r)
                    for (const json& e : member(*r, "events")) open = bool_or(member(e, "data"), "turn_open", false);
                {
                    std::lock_guard lock(run->mutex);
                    if (open) run->unfinished.push_back(id);
                    --run->outstanding;
                }
                self->check_tails(run);
            });
        });
    }
    index_done(std::move(run));
}

void directory_impl::index_done(std::shared_ptr<index_run> run) {
    for (const std::string& id : run->unfinished) {
        {
            std::lock_guard lock(mutex_);
            if (const auto it = sessions_.find(id); it != sessions_.end()) it->second.serve().wake = true;
        }
        dispatch(id, nullptr, false);
    }
    if (options_.delete_after.count() > 0) sweep();
    auto done = std::move(run->done);
    if (done) done({});
}

/// Optional rule: sessions nobody has touched for so long are destroyed.
void directory_impl::sweep() {
    const auto now = std::chrono::duration_cast<milliseconds>(services_.rt->clock().wall().time_since_epoch()).count();
    const std::int64_t limit = now - options_.delete_after.count();
    std::vector<std::string> old;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [id, e] : sessions_)
            if (e.state == entry::cold && e.summary.updated_ms > 0 && e.summary.updated_ms < limit) old.push_back(id);
    }
    for (const std::string& id : old) invoke("session.destroy", {"host", "cleanup rule"}, {{"session_id", id}}, [](result<json>) {});
    auto timer = services_.rt->after(sweep_every, [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->sweep();
    });
    std::lock_guard lock(mutex_);
    sweep_ = std::move(timer);
}

std::shared_ptr<const alias_table> directory_impl::aliases() const {
    std::lock_guard lock(mutex_);
    return aliases_;
}

json directory_impl::aliases_json() const { return {{"aliases", *aliases()}}; }

void directory_impl::set_alias(std::string name, std::string expansion, reply done) {
    if (auto ok = check_alias(name, expansion); !ok) return done(unexpected<error>(ok.error()));
    json request{{"table", "aliases"}, {"key", name}, {"value", {{"expansion", expansion}}}};
    services_.store->submit("put", std::move(request), options_.store_timeout, {},
                            [self = shared_from_this(), name, expansion, done = std::move(done)](result<json> r) mutable {
                                if (!r) return done(std::move(r));
                                {
                                    std::lock_guard lock(self->mutex_);
                                    auto next = std::make_shared<alias_table>(*self->aliases_);
                                    (*next)[name] = expansion;
                                    self->aliases_ = std::move(next);
                                }
                                done(self->aliases_json());
                            });
}

void directory_impl::delete_alias(std::string name, reply done) {
    if (!name.empty() && name.front() == '/') name.erase(0, 1);
    if (!aliases()->count(name)) return done(fail(errc::not_found, "there is no alias /" + name));
    services_.store->submit("delete", {{"table", "aliases"}, {"key", name}}, options_.store_timeout, {},
                            [self = shared_from_this(), name, done = std::move(done)](result<json> r) mutable {
                                if (!r) return done(std::move(r));
                                {
                                    std::lock_guard lock(self->mutex_);
                                    auto next = std::make_shared<alias_table>(*self->aliases_);
                                    next->erase(name);
                                    self->aliases_ = std::move(next);
                                }
                                done(self->aliases_json());
                            });
}

void directory_impl::add_history(std::string line, reply done) {
    constexpr std::size_t max_line = 16u << 10;
    if (line.empty() || line.size() > max_line) return done(fail(errc::invalid_argument, "a line has 1 to " + std::to_string(max_line) + " bytes"));
    char key[40];
    std::string oldest;
    {
        const auto now = std::chrono::duration_cast<std::chrono::microseconds>(services_.rt->clock().wall().time_since_epoch()).count();
        std::lock_guard lock(mutex_);
        line_number_ = std::max(line_number_ + 1, static_cast<std::uint64_t>(now));
        std::snprintf(key, sizeof key, "%020llu", static_cast<unsigned long long>(line_number_));
        if (lines_.size() >= max_input_history) oldest = lines_.front().first;
    }
    services_.store->submit("put", {{"table", "history"}, {"key", key}, {"value", {{"line", line}}}}, options_.store_timeout, {},
                            [self = shared_from_this(), key = std::string(key), line, oldest, done = std::move(done)](result<json> r) mutable {
                                if (!r) return done(std::move(r));
                                {
                                    std::lock_guard lock(self->mutex_);
                                    self->lines_.emplace_back(key, line);
                                    if (!oldest.empty() && self->lines_.front().first == oldest) self->lines_.pop_front();
                                }
                                if (!oldest.empty())
                                    self->services_.store->submit("delete", {{"table", "history"}, {"key", oldest}}, self->options_.store_timeout, {}, [](result<json>) {});
                                done(json::object());
                            });
}

void directory_impl::shared_lists(std::string_view m, const json& params, reply done) {
    if (m == "alias.list") return done(aliases_json());
    if (m == "alias.set") return set_alias(string_or(params, "name"), string_or(params, "expansion"), std::move(done));
    if (m == "alias.delete") return delete_alias(string_or(params, "name"), std::move(done));
    if (m == "history.add") return add_history(string_or(params, "line"), std::move(done));
    if (m != "history.list") return done(fail(errc::not_found, "there is no method " + std::string(m)));
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(int_or(params, "limit", 100), 1, max_input_history));
    json lines = json::array();
    {
        std::lock_guard lock(mutex_);
        const std::size_t skip = lines_.size() > limit ? lines_.size() - limit : 0;
        for (std::size_t i = skip; i < lines_.size(); ++i) lines.push_back(lines_[i].second);
    }
    done(json{{"lines", std::move(lines)}});
}

}  // namespace holdfast::sessions
