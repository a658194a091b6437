#include "app/plugin_board.hpp"

#include <condition_variable>

#include "app/logging.hpp"
#include "holdfast/ext/ui.h"
#include "kernel/core/nearest.hpp"
#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/handover.hpp"
#include "servers/server_spec.hpp"

namespace holdfast::app {
namespace {

constexpr seconds store_deadline{20};

using start_mode = wanted_plugin::start_mode;

start_mode mode_from(const std::string& name) {
    return name == "on_demand" ? start_mode::on_demand : name == "disabled" ? start_mode::disabled : start_mode::automatic;
}

const plugins::found_plugin* find_file(const std::vector<plugins::found_plugin>& found, const std::string& use) {
    for (const auto& f : found)
        if (!f.shadowed && (f.file_id == use || f.path == use)) return &f;
    return nullptr;
}

/// Counts down from any thread; waits on one.
class latch {
  public:
    void add() {
        std::lock_guard lock(mutex_);
        ++left_;
    }
    void down() {
        std::lock_guard lock(mutex_);
        if (--left_ == 0) changed_.notify_all();
    }
    bool wait(nanoseconds deadline) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, deadline, [&] { return left_ == 0; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int left_ = 0;
};

plugins::plugin_spec spec_of(const std::string& id, const json& entry, const std::string& base_dir) {
    plugins::plugin_spec s;
    s.id = id;
    s.use = string_or(entry, "use");
    s.base = base_dir;
    if (entry.contains("settings")) s.settings = entry["settings"];
    if (const std::string pin = string_or(entry, "sha256"); !pin.empty()) s.sha256 = pin;
    if (string_or(entry, "isolation") == "process") s.isolation = plugins::isolation_mode::process;
    const json& limits = member(entry, "limits");
    s.limits.memory_mb = static_cast<std::uint64_t>(int_or(limits, "memory_mb", 500));
    s.limits.cpu_percent = static_cast<std::uint32_t>(int_or(limits, "cpu_percent", 0));
    s.limits.descriptors = static_cast<std::uint32_t>(int_or(limits, "descriptors", 1024));
    if (entry.contains("sandbox")) s.sandbox = entry["sandbox"];
    const json& reload = member(entry, "reload");
    s.drain_timeout = milliseconds(static_cast<std::int64_t>(number_or(reload, "drain_s", 30) * 1000));
    s.probation = milliseconds(static_cast<std::int64_t>(number_or(reload, "probation_s", 30) * 1000));
    if (entry.contains("supervision"))
        if (auto sup = plugins::supervision_from(entry["supervision"])) s.supervision = *sup;  // checked by the configuration
    return s;
}

struct release_buffer {
    hf_buf buf{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
    ~release_buffer() {
        if (buf.release) buf.release(&buf);
    }
    std::string text() const { return std::string(static_cast<const char*>(buf.data), buf.length); }
};

/// One of the two questions a UI answers with JSON; null when it does not.
json ask_ui(plugins::plugin_set& set, const std::string& id, int32_t (*hf_ui::*question)(void*, hf_buf*, hf_error*)) {
    auto ui = set.resolve<hf_ui>(id, HF_EXT_UI)();
    if (!ui || !(ui->table->*question)) return nullptr;
    release_buffer out;
    hf_error err{};
    err.size = sizeof err;
    const std::int32_t rc = plugins::invoke(*ui, [&](const hf_ui& t, void* self) { return (t.*question)(self, &out.buf, &err); });
    if (rc != HF_OK) return nullptr;
    auto parsed = parse_json(out.text());
    return parsed ? *parsed : json();
}

}  // namespace

bool same_configuration(const wanted_plugin& a, const wanted_plugin& b) {
    const auto& x = a.spec;
    const auto& y = b.spec;
    return x.use == y.use && x.settings == y.settings && x.sha256 == y.sha256 && x.isolation == y.isolation && x.limits == y.limits && x.sandbox == y.sandbox && x.drain_timeout == y.drain_timeout &&
           x.probation == y.probation && a.watch == b.watch && a.start == b.start && a.shown_supervision == b.shown_supervision;
}

std::map<std::string, wanted_plugin> wanted_plugins(const json& resolved, const json& redacted, const std::string& base_dir,
                                                    const std::vector<plugins::found_plugin>& found) {
    std::map<std::string, wanted_plugin> out;
    auto take = [&](const std::string& id, const json& entry, const json& shown, bool implied) {
        wanted_plugin w;
        w.spec = spec_of(id, entry, base_dir);
        if (const auto* file = find_file(found, w.spec.use)) {
            w.kind = file->about.kind;
            // The host's one "auth" section reaches every listener that knows it and does not say otherwise.
            const json& known = member(file->about.settings_schema, "properties");
            if (known.contains("auth") && !w.spec.settings.contains("auth")) w.spec.settings["auth"] = {{"mode", string_or(resolved["auth"], "mode", "token")}};
        }
        w.start = mode_from(string_or(entry, "start"));
        w.watch = bool_or(member(entry, "reload"), "watch", false);
        w.restarts_host = string_or(entry, "on_hang") == "restart_host";
        w.shown_settings = shown.is_null() ? json::object() : shown;
        w.shown_supervision = entry.contains("supervision") ? entry["supervision"] : json();
        w.implied = implied;
        out[id] = std::move(w);
    };
    const json& listed = resolved["plugins"];
    for (const auto& [id, entry] : listed.items()) take(id, entry, member(member(member(redacted, "plugins"), id), "settings"), false);

    auto imply = [&](const std::string& use, const json& settings, const json& shown) {
        if (use.empty()) return;
        for (const auto& [id, w] : out)
            if (id == use || w.spec.use == use) return;
        if (!find_file(found, use)) return;  // whoever needs it says so
        take(use, json{{"use", use}, {"settings", settings.is_null() ? json::object() : settings}}, shown, true);
    };
    imply(string_or(resolved["store"], "use", "store-sqlite"), member(resolved["store"], "settings"), member(member(redacted, "store"), "settings"));
    for (const char* section : {"breaker", "health"}) {
        imply(string_or(member(resolved, section), "use", std::string(section) == "breaker" ? "breaker-consecutive" : "health-threshold"), nullptr, nullptr);
        for (const auto& [name, server] : resolved["mcpServers"].items()) imply(string_or(member(server, section), "use"), nullptr, nullptr);
    }
    imply("transport-stdio", nullptr, nullptr);
    imply("transport-http", nullptr, nullptr);
    for (const auto& [name, server] : resolved["mcpServers"].items()) {
        const std::string transport = servers::transport_of(server);
        imply(transport == "websocket" || transport == "socket" ? "transport-" + transport : transport, nullptr, nullptr);
    }
    const bool has_demonstration = std::any_of(out.begin(), out.end(), [](const auto& e) { return e.second.spec.use == "llm-demo"; });
    if (!has_demonstration) imply("llm-demo", nullptr, nullptr);  // "auto" always has an answer
    return out;
}

std::vector<std::string> plugin_board::apply(std::map<std::string, wanted_plugin> wanted, const std::vector<std::string>& order,
                                             nanoseconds deadline) {
    std::map<std::string, wanted_plugin> before;
    {
        std::lock_guard lock(mutex_);
        before = wanted_;
        wanted_ = wanted;
        order_.clear();
        for (const std::string& id : order)
            if (wanted.count(id)) order_.push_back(id);
        for (const auto& [id, w] : wanted)
            if (std::find(order_.begin(), order_.end(), id) == order_.end()) order_.push_back(id);
    }
    std::vector<std::string> changes;
    auto waiting = std::make_shared<latch>();  // second owner: the callbacks
    auto tell = [](const std::string& id, std::shared_ptr<latch> group) {
        group->add();
        return [group, id](result<plugins::plugin_info> r) {
            if (!r) write_log(level::error, id, r.error().message);
            group->down();
        };
    };
    for (const auto& [id, w] : before)
        if (!wanted.count(id)) {
            changes.push_back("removed plugins/" + id);
            if (set_->info(id)) set_->remove(id, tell(id, waiting));
        }
    waiting->wait(deadline);
    // All at once: a store that waits for its disk keeps no other plugin from loading. Who needs one another's services is
    // started after this returns (servers, sessions), or asks anew for every use.
    auto stores = std::make_shared<latch>();  // second owner: the callbacks
    for (const bool store : {true, false}) {
        const auto& group = store ? stores : waiting;
        for (const auto& [id, w] : wanted) {
            if ((w.kind == "store") != store) continue;
            auto old = before.find(id);
            if (old != before.end() && same_configuration(old->second, w)) continue;
            changes.push_back((old == before.end() ? "added plugins/" : "changed plugins/") + id);
            const bool present = bool(set_->info(id));
            if (w.start == start_mode::disabled) {
                if (present) set_->remove(id, tell(id, group));
            } else if (present) {
                set_->reconfigure(w.spec, tell(id, group));
            } else if (w.start == start_mode::automatic) {
                set_->add(w.spec, tell(id, group));
            }
        }
    }
    const bool in_time = stores->wait(std::min<nanoseconds>(store_deadline, deadline));
    if (!waiting->wait(deadline) || !in_time) write_log(level::warn, "host", "some plugins are still starting");
    return changes;
}

result<wanted_plugin> plugin_board::find(const std::string& id) const {
    std::lock_guard lock(mutex_);
    if (auto it = wanted_.find(id); it != wanted_.end()) return it->second;
    const std::string close = nearest(id, order_);
    std::string all;
    for (const std::string& n : order_) all += (all.empty() ? "" : ", ") + n;
    return fail(errc::not_found, "no plugin '" + id + "'" + (close.empty() ? ": configured are " + all : ": did you mean '" + close + "'?"));
}

void plugin_board::start(const std::string& id, json handover, done finished) {
    auto w = find(id);
    if (!w) return finished(tl::unexpected<error>(w.error()));
    if (w->start == start_mode::disabled)
        return finished(fail(errc::forbidden, "plugin '" + id + "' is disabled in the configuration: set \"start\" to auto or on_demand"));
    plugins::start_hook import;
    if (handover.is_object()) import = {HF_EXT_UI, [text = dump(handover)](const void* table, void* self) { return plugins::import_state(*static_cast<const hf_ui*>(table), self, text); }};
    if (!set_->info(id)) return set_->add(w->spec, std::move(finished), std::move(import));
    set_->start(id, std::move(finished), std::move(import));
}

void plugin_board::stop(const std::string& id, done finished) {
    auto w = find(id);
    if (!w) return finished(tl::unexpected<error>(w.error()));
    if (auto info = set_->info(id); !info) {  // on demand and never started: it is stopped already
        plugins::plugin_info idle;
        idle.id = id;
        idle.use = w->spec.use;
        idle.phase = plugins::instance_phase::stopped;
        return finished(std::move(idle));
    }
    set_->stop(id, std::move(finished));
}

void plugin_board::restart(const std::string& id, done finished) {
    if (auto w = find(id); !w) return finished(tl::unexpected<error>(w.error()));
    if (!set_->info(id)) return start(id, nullptr, std::move(finished));
    set_->restart(id, std::move(finished));
}

void plugin_board::release(const std::string& id, done finished) {
    if (auto w = find(id); !w) return finished(tl::unexpected<error>(w.error()));
    set_->release(id, std::move(finished));
}

void plugin_board::reload(const std::string& id, const std::string& from, done finished) {
    if (auto w = find(id); !w) return finished(tl::unexpected<error>(w.error()));
    if (!set_->info(id)) return start(id, nullptr, std::move(finished));
    set_->reload(id, from, std::move(finished));
}

void plugin_board::remove(const std::string& id, done finished) {
    if (auto w = find(id); !w) return finished(tl::unexpected<error>(w.error()));
    {
        std::lock_guard lock(mutex_);
        wanted_.erase(id);
        std::erase(order_, id);
    }
    plugins::plugin_info gone;
    gone.id = id;
    gone.phase = plugins::instance_phase::retired;
    if (!set_->info(id)) return finished(std::move(gone));
    set_->remove(id, std::move(finished));
}

void plugin_board::swap(const std::string& from, const std::string& to, api::reply reply) {
    for (const std::string& id : {from, to})
        if (auto w = find(id); !w) return reply(tl::unexpected<error>(w.error()));
        else if (w->kind != "ui") return reply(fail(errc::invalid_argument, "plugin '" + id + "' is no user interface but of kind '" + w->kind + "'"));
    if (from == to) return reply(fail(errc::invalid_argument, "from and to are the same"));

    auto finish = [this, from, to, reply = std::move(reply)](result<plugins::plugin_info> started) mutable {
        if (!started && started.error().code != errc::running)
            return reply(fail(started.error().code, "'" + to + "' did not start, '" + from + "' goes on: " + started.error().message));
        if (json left = ask_ui(*set_, from, &hf_ui::export_state); left.is_object()) {
            std::lock_guard lock(mutex_);
            left_with_[from] = std::move(left);
        }
        stop(from, [this, from, to, reply = std::move(reply)](result<plugins::plugin_info>) mutable {
            auto a = row(from);
            auto b = row(to);
            reply(json{{"from", a ? *a : json()}, {"to", b ? *b : json()}});
        });
    };
    json handover = ask_ui(*set_, from, &hf_ui::export_state);
    {
        std::lock_guard lock(mutex_);
        if (auto own = left_with_.find(to); own != left_with_.end()) {
            json both = own->second;  // what only this UI knows; of what both know, the newer counts
            if (handover.is_object()) both.update(handover);
            handover = std::move(both);
        }
    }
    if (auto info = set_->info(to); info && info->phase == plugins::instance_phase::active) return finish(std::move(info));
    start(to, std::move(handover), std::move(finish));
}

json plugin_board::row_of(const wanted_plugin& w) const {
    json out{{"id", w.spec.id}, {"use", w.spec.use}, {"kind", w.kind}, {"settings", w.shown_settings}, {"implied", w.implied}};
    auto info = set_->info(w.spec.id);
    if (!info) {
        out["state"] = w.start == start_mode::disabled ? "disabled" : "stopped";
        out["reason"] = w.start == start_mode::disabled ? "disabled in the configuration" : "starts on demand";
        out["restarts"] = 0;
        return out;
    }
    const json known = info->to_json();
    for (const auto& [key, value] : known.items())
        if (!out.contains(key)) out[key] = value;
    out["state"] = std::string(plugins::to_string(info->phase));
    if (info->reason.empty() && !info->rolled_back.empty()) out["reason"] = "rolled back: " + info->rolled_back;
    if (w.kind == "ui" && info->phase == plugins::instance_phase::active)
        if (const json about = ask_ui(*set_, w.spec.id, &hf_ui::describe); about.is_object() && about.contains("url")) out["url"] = about["url"];
    return out;
}

json plugin_board::rows() const {
    std::vector<wanted_plugin> all;
    {
        std::lock_guard lock(mutex_);
        for (const std::string& id : order_) all.push_back(wanted_.at(id));
    }
    json rows = json::array();
    for (const auto& w : all) rows.push_back(row_of(w));
    return {{"plugins", rows}};
}

result<json> plugin_board::row(const std::string& id) const {
    auto w = find(id);
    if (!w) return tl::unexpected<error>(w.error());
    return row_of(*w);
}

std::vector<std::string> plugin_board::urls() const {
    std::vector<std::string> out;
    for (const auto& w : of_kind("ui"))
        if (const json about = ask_ui(*set_, w.spec.id, &hf_ui::describe); about.is_object() && about.contains("url")) out.push_back(string_or(about, "url"));
    return out;
}

bool plugin_board::terminal_taken() const {
    for (const auto& w : of_kind("ui"))
        if (auto info = set_->info(w.spec.id); info && info->phase == plugins::instance_phase::active && bool_or(ask_ui(*set_, w.spec.id, &hf_ui::describe), "terminal", false))
            return true;
    return false;
}

json plugin_board::counts() const {
    json out = json::object();
    for (const auto& info : set_->list()) {
        const std::string name(plugins::to_string(info.phase));
        out[name] = int_or(out, name, 0) + 1;
    }
    return out;
}

std::string plugin_board::instance_for(const std::string& name) const {
    std::lock_guard lock(mutex_);
    if (wanted_.count(name)) return name;
    for (const std::string& id : order_)
        if (wanted_.at(id).spec.use == name) return id;
    return name;
}

bool plugin_board::watched(const std::string& id) const {
    std::lock_guard lock(mutex_);
    auto it = wanted_.find(id);
    return it != wanted_.end() && it->second.watch;
}

bool plugin_board::restarts_host(const std::string& id) const {
    std::lock_guard lock(mutex_);
    auto it = wanted_.find(id);
    return it != wanted_.end() && it->second.restarts_host;
}

std::vector<wanted_plugin> plugin_board::of_kind(const std::string& kind) const {
    std::lock_guard lock(mutex_);
    std::vector<wanted_plugin> out;
    for (const std::string& id : order_)
        if (wanted_.at(id).kind == kind) out.push_back(wanted_.at(id));
    return out;
}

}  // namespace holdfast::app
