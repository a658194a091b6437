#pragma once
// A host for one UI plugin, loaded from its file through the C ABI: methods are scripted, events are kept and replayed, workers are
// real threads.
#include <dlfcn.h>
#include <fcntl.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <thread>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/api.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/ui.h"
#include "holdfast/ext/worker.h"
#include "holdfast/status.hpp"
#include "unit/net_server/raw_client.hpp"

namespace holdfast::test {
using nlohmann::json;

class scripted_host {
  public:
    using answer = std::function<void(json result)>;             ///< success
    using failure = std::function<void(std::int32_t, json error)>;  ///< HF_E_ code and the uniform error
    struct call {
        std::string method;
        json params, identity;
        answer done;
        failure fail;
        std::function<void(std::string_view)> chunk;  ///< empty: the caller takes no pieces
    };
    using script = std::function<void(call)>;

    std::string token = "0123456789abcdef0123456789abcdef";
    sdk::status no_listening;

    scripted_host() {
        raw_.size = sizeof raw_;
        raw_.abi = HF_ABI_VERSION;
        raw_.ctx = this;
        raw_.log_level = &log_level_;
        raw_.instance_id = sdk::str("web");
        raw_.get_ext = [](void* ctx, hf_str id) { return static_cast<scripted_host*>(ctx)->ext(sdk::view(id)); };
        log_ = {sizeof log_, 0, [](void* ctx, std::int32_t, hf_str m, hf_bytes f) { static_cast<scripted_host*>(ctx)->on_log(m, f); }};
        api_ = {sizeof api_, 0, &on_submit, &on_cancel, &on_describe, &on_authenticate};
        events_ = {sizeof events_, 0, [](void*, hf_bytes, hf_error*) -> std::int32_t { return HF_OK; }, &on_subscribe, &on_unsubscribe};
        listen_ = {sizeof listen_, 0, &on_listen};
        worker_ = {sizeof worker_, 0, &on_worker, [](void*, hf_str, hf_error*) -> std::int32_t { return HF_OK; }, [](void*, hf_str) -> std::int32_t { return HF_OK; }};
        library_ = ::dlopen(UI_HTTP_PLUGIN, RTLD_NOW | RTLD_LOCAL);
        if (!library_) throw std::runtime_error(::dlerror());
        entry_ = static_cast<const hf_entry*>(::dlsym(library_, "hf_plugin_entry_v1"));
    }
    ~scripted_host() {
        stop();
        if (listener_ >= 0) ::close(listener_);
    }

    /// Which method answers what. Before start().
    void on(const std::string& method, script s) { scripts_[method] = std::move(s); }

    /// create, init, start. Throws what the plugin said.
    void start(const json& settings = {{"listen", "127.0.0.1:0"}}, const std::string& import = {}) {
        const std::string text = settings.dump();
        hf_error err = sdk::empty_error();
        sdk::check(entry_->create(&raw_, sdk::bytes(text), &instance_, &err), err);
        try {
            sdk::check(instance_->init(instance_->self, &err), err);
            ui_ = static_cast<const hf_ui*>(instance_->get_ext(instance_->self, sdk::str(HF_EXT_UI)));
            if (!import.empty()) sdk::check(ui_->import_state(instance_->self, sdk::bytes(import), &err), err);
            sdk::check(instance_->start(instance_->self, &err), err);
        } catch (...) {
            instance_->destroy(instance_->self);
            instance_ = nullptr;
            throw;
        }
    }
    void quiesce(std::chrono::milliseconds time) {
        hf_error err = sdk::empty_error();
        instance_->quiesce(instance_->self, sdk::to_ns(std::chrono::steady_clock::now() + time), &err);
    }
    void stop() {
        if (!instance_) return;
        hf_error err = sdk::empty_error();
        instance_->stop(instance_->self, &err);
        __atomic_store_n(&stop_, 1, __ATOMIC_RELEASE);
        for (auto& t : threads_) t.join();
        threads_.clear();
        instance_->destroy(instance_->self);
        instance_ = nullptr;
        __atomic_store_n(&stop_, 0, __ATOMIC_RELEASE);
    }
    json describe() { return state_of(ui_->describe); }
    std::string export_state() { return state_of(ui_->export_state).dump(); }
    unsigned short port() {
        const std::string url = describe()["url"];
        return static_cast<unsigned short>(std::stoi(url.substr(url.rfind(':') + 1)));
    }

    /// Appends an event to a topic and delivers it. Returns its number.
    std::uint64_t publish(const std::string& topic, json event) {
        const std::lock_guard lock(mutex_);  // deliveries in order; callbacks only queue
        auto& log = topics_[topic];
        const std::uint64_t seq = log.size() + 1;
        event["topic"] = topic;
        event["seq"] = seq;
        event["epoch"] = 1;
        if (!event.contains("timestamp")) event["timestamp"] = "2026-11-21T12:00:00Z";
        log.push_back(event.dump());
        for (auto& [id, s] : subscriptions_)
            if (matches(s.topic, topic)) s.sink.on_event(s.sink.ctx, sdk::bytes(log.back()));
        return seq;
    }
    std::size_t subscriptions() {
        const std::lock_guard lock(mutex_);
        return subscriptions_.size();
    }
    std::uint64_t last_seq(const std::string& topic) {
        const std::lock_guard lock(mutex_);
        return topics_[topic].size();
    }
    std::vector<json> calls(const std::string& method) {
        const std::lock_guard lock(calls_mutex_);
        return calls_[method];
    }
    /// Keys that were there twice in one object, in all that the plugin asked: parsers disagree about them.
    int repeated_keys() const { return repeated_keys_; }
    /// Until `method` was called `n` times, or something was cancelled so often.
    bool was_called(const std::string& method, std::size_t n = 1) {
        std::unique_lock lock(calls_mutex_);
        return calls_changed_.wait_for(lock, raw_client::patience, [&] { return calls_[method].size() >= n; });
    }
    bool was_cancelled(int n = 1) {
        std::unique_lock lock(calls_mutex_);
        return calls_changed_.wait_for(lock, raw_client::patience, [&] { return cancelled_ >= n; });
    }

  private:
    struct subscription {
        std::string topic;
        hf_event_sink sink;
    };
    static scripted_host& at(void* ctx) { return *static_cast<scripted_host*>(ctx); }
    static bool matches(const std::string& pattern, const std::string& topic) {
        return pattern == topic || (!pattern.empty() && pattern.back() == '*' && topic.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0);
    }
    template <class F>
    json state_of(F f) {
        sdk::buffer out;
        hf_error err = sdk::empty_error();
        sdk::check(f(instance_->self, out.out(), &err), err);
        return json::parse(out.text());
    }
    const void* ext(std::string_view id) const {
        if (id == HF_EXT_LOG) return &log_;
        if (id == HF_EXT_API) return &api_;
        if (id == HF_EXT_EVENTS) return &events_;
        if (id == HF_EXT_LISTEN) return &listen_;
        if (id == HF_EXT_WORKER) return &worker_;
        return nullptr;
    }
    void on_log(hf_str, hf_bytes) {}

    static std::int32_t on_submit(void* ctx, const hf_call* c, hf_error*) {
        scripted_host& host = at(ctx);
        std::map<int, std::set<std::string>> keys;  // of the objects that are open, by depth
        const json request = json::parse(sdk::view(c->request), [&](int depth, json::parse_event_t what, json& value) {
            if (what == json::parse_event_t::object_start) keys[depth + 1].clear();
            if (what == json::parse_event_t::key && !keys[depth].insert(value.get<std::string>()).second) ++host.repeated_keys_;
            return true;
        });
        call out;
        out.method = sdk::view(c->method);
        out.params = request.value("params", json::object());
        out.identity = request.value("identity", json::object());
        const hf_call kept = *c;
        // As the host keeps it: one end, and never while a piece is with the plugin.
        struct ends {
            std::mutex mutex;
            bool over = false, in_chunk = false;
            std::function<void()> waiting;
            void finish(std::function<void()> last) {
                {
                    const std::lock_guard lock(mutex);
                    if (std::exchange(over, true)) return;
                    if (in_chunk) return static_cast<void>(waiting = std::move(last));
                }
                last();
            }
            void piece(const std::function<void()>& give) {
                {
                    const std::lock_guard lock(mutex);
                    if (over || std::exchange(in_chunk, true)) return;
                }
                give();
                std::function<void()> last;
                {
                    const std::lock_guard lock(mutex);
                    in_chunk = false;
                    last.swap(waiting);
                }
                if (last) last();
            }
        };
        const auto end = std::make_shared<ends>();
        out.done = [kept, end](json result) { end->finish([kept, result = std::move(result)] { kept.on_done(kept.ctx, kept.id, nullptr, sdk::bytes(result.dump())); }); };
        out.fail = [kept, end](std::int32_t code, json error) {
            end->finish([kept, code, error = std::move(error)] {
                hf_error e = sdk::empty_error();
                sdk::fill(&e, code, error.value("message", "failed"));
                kept.on_done(kept.ctx, kept.id, &e, sdk::bytes(error.dump()));
            });
        };
        if (kept.on_chunk)
            out.chunk = [kept, end](std::string_view piece) { end->piece([&] { kept.on_chunk(kept.ctx, kept.id, sdk::bytes(piece)); }); };
        {
            const std::lock_guard lock(host.calls_mutex_);
            host.cancels_[kept.id] = out.fail;
            host.calls_[out.method].push_back({{"params", out.params}, {"identity", out.identity}});
            host.calls_changed_.notify_all();
        }
        const auto found = host.scripts_.find(out.method);
        if (found == host.scripts_.end()) out.fail(HF_E_NOT_FOUND, {{"code", "not_found"}, {"message", "no method " + out.method}});
        else found->second(std::move(out));
        return HF_PENDING;
    }
    static void on_cancel(void* ctx, std::uint64_t id) {
        failure f;
        {
            const std::lock_guard lock(at(ctx).calls_mutex_);
            f = at(ctx).cancels_[id];
            ++at(ctx).cancelled_;
            at(ctx).calls_changed_.notify_all();
        }
        if (f) f(HF_E_CANCELLED, {{"code", "cancelled"}, {"message", "the caller cancelled it"}});
    }
    static std::int32_t on_describe(void*, hf_buf* out, hf_error*) {
        sdk::give(out, R"({"openapi":"3.1.0"})");
        return HF_OK;
    }
    static std::int32_t on_authenticate(void* ctx, hf_str token, hf_buf* identity, hf_error* err) {
        if (sdk::view(token) != at(ctx).token) return sdk::fill(err, HF_E_AUTH, "a valid token is needed");
        sdk::give(identity, R"({"user":"local","role":"admin"})");
        return HF_OK;
    }
    static std::int32_t on_subscribe(void* ctx, hf_bytes options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err) {
        scripted_host& host = at(ctx);
        const json o = json::parse(sdk::view(options));
        if (o.value("policy", "disconnect") == "nonsense") return sdk::fill(err, HF_E_INVALID, "policy: expected disconnect or drop_oldest");
        const std::lock_guard lock(host.mutex_);
        const std::string topic = o["topic"];
        *id = ++host.last_subscription_;
        host.subscriptions_[*id] = {topic, *sink};
        const auto& log = host.topics_[topic];
        *seq = log.size();
        if (o.contains("from"))
            for (std::size_t i = std::max<std::size_t>(1, o["from"].get<std::size_t>()); i <= log.size(); ++i) sink->on_event(sink->ctx, sdk::bytes(log[i - 1]));
        return HF_OK;
    }
    static void on_unsubscribe(void* ctx, std::uint64_t id) {
        const std::lock_guard lock(at(ctx).mutex_);
        at(ctx).subscriptions_.erase(id);
    }
    /// The same socket each time; refused when the test says why.
    static std::int32_t on_listen(void* ctx, hf_str, std::uint16_t port, std::int32_t* fd, hf_error* err) {
        scripted_host& host = at(ctx);
        if (!host.no_listening.ok()) return sdk::fill(err, host.no_listening.code, host.no_listening.message);
        if (host.listener_ < 0) host.listener_ = listening_socket(port);
        if (host.listener_ < 0) return sdk::fill(err, HF_E_UNAVAILABLE, "the port is taken");
        *fd = ::fcntl(host.listener_, F_DUPFD_CLOEXEC, 0);
        return HF_OK;
    }
    static std::int32_t on_worker(void* ctx, const hf_worker_spec* spec, hf_error*) {
        scripted_host& host = at(ctx);
        host.threads_.emplace_back([&host, run = spec->run, arg = spec->arg] {
            hf_worker_ctl ctl{};
            ctl.size = sizeof ctl;
            ctl.incarnation = 1;
            ctl.stop = &host.stop_;
            ctl.beat = &host.beat_;
            hf_error err = sdk::empty_error();
            run(arg, &ctl, &err);
        });
        return HF_OK;
    }

    hf_host raw_{};
    std::int32_t log_level_ = HF_LOG_INFO;
    hf_log log_{};
    hf_api api_{};
    hf_events events_{};
    hf_worker worker_{};
    hf_listen listen_{};
    int listener_ = -1;
    void* library_ = nullptr;
    const hf_entry* entry_ = nullptr;
    const hf_instance* instance_ = nullptr;
    const hf_ui* ui_ = nullptr;
    std::map<std::string, script> scripts_;
    std::atomic<int> repeated_keys_{0};
    std::mutex calls_mutex_;
    std::condition_variable calls_changed_;
    int cancelled_ = 0;
    std::map<std::string, std::vector<json>> calls_;
    std::map<std::uint64_t, failure> cancels_;
    std::mutex mutex_;  // events
    std::map<std::string, std::deque<std::string>> topics_;
    std::map<std::uint64_t, subscription> subscriptions_;
    std::uint64_t last_subscription_ = 0;
    std::vector<std::thread> threads_;
    std::int32_t stop_ = 0;
    std::uint64_t beat_ = 0;
};

}  // namespace holdfast::test
