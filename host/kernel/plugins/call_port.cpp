#include "kernel/plugins/call_port.hpp"

#include <deque>
#include <mutex>

#include "kernel/plugins/abi_errors.hpp"

namespace holdfast::plugins {
namespace {

constexpr std::size_t max_waiting_chunks = 4096;         // a plugin that streams from several threads at once, against the rule
constexpr auto replacement_patience = std::chrono::seconds(30);
constexpr auto replacement_poll = milliseconds(2);
constexpr auto cancel_grace = milliseconds(2000);        // then a cancelled call is completed for the plugin

std::atomic<std::uint64_t> late{0};

/// One call from submit to its completion. Owners: the table of calls; whoever is delivering something of it.
struct call_state : std::enable_shared_from_this<call_state> {
    std::uint64_t id = 0;
    std::string name;
    call_port::on_chunk chunk;
    call_port::on_done done;

    std::mutex mutex;  // guards what follows; never held while chunk or done run
    std::deque<json> waiting;
    std::optional<result<json>> final;
    bool delivering = false;
    std::function<void()> cancel;  // asks the plugin; holds the lease
    end_watch watch;
    supervise::timer_handle deadline, grace, retry;
};

/// What a plugin holds of a call is a number, so that an answer after the end of the call meets nothing.
class call_table {
  public:
    std::shared_ptr<call_state> find(std::uint64_t id) {
        auto& s = shard(id);
        std::lock_guard lock(s.mutex);
        auto it = s.calls.find(id);
        return it == s.calls.end() ? nullptr : it->second;
    }
    void add(std::shared_ptr<call_state> c) {
        auto& s = shard(c->id);
        std::lock_guard lock(s.mutex);
        s.calls.emplace(c->id, std::move(c));
    }
    bool remove(std::uint64_t id) {
        std::shared_ptr<call_state> gone;  // destroyed outside the lock
        auto& s = shard(id);
        std::lock_guard lock(s.mutex);
        auto it = s.calls.find(id);
        if (it == s.calls.end()) return false;
        gone = std::move(it->second);
        s.calls.erase(it);
        return true;
    }

  private:
    struct alignas(64) shard_type {
        std::mutex mutex;
        std::unordered_map<std::uint64_t, std::shared_ptr<call_state>> calls;
    };
    shard_type& shard(std::uint64_t id) { return shards_[id % 16]; }
    std::array<shard_type, 16> shards_;
};
call_table& calls() {
    static auto* t = new call_table;  // outlives plugins' threads that are lost
    return *t;
}

/// Delivers chunks in order, then the completion, one thread at a time and outside the lock.
void deliver(const std::shared_ptr<call_state>& c) {
    for (;;) {
        std::unique_lock lock(c->mutex);
        if (!c->waiting.empty()) {
            json next = std::move(c->waiting.front());
            c->waiting.pop_front();
            lock.unlock();
            try {
                if (c->chunk) c->chunk(next);
            } catch (...) {  // the caller's own trouble: the call goes on
            }
            continue;
        }
        if (!c->final) {
            c->delivering = false;
            return;
        }
        auto final = std::move(*c->final);  // delivering stays true: nobody comes here again
        auto done = std::move(c->done);
        auto chunk = std::move(c->chunk);
        auto cancel = std::move(c->cancel);
        auto watch = std::move(c->watch);
        auto deadline = std::move(c->deadline);
        auto grace = std::move(c->grace);
        auto retry = std::move(c->retry);
        lock.unlock();
        cancel = nullptr;  // the lease goes before the caller learns the end
        try {
            if (done) done(std::move(final));
        } catch (...) {  // as above
        }
        return;
    }
}

/// The first completion counts.
void complete(const std::shared_ptr<call_state>& c, result<json> r) {
    if (!calls().remove(c->id)) {
        late.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    {
        std::lock_guard lock(c->mutex);
        c->final = std::move(r);
        if (c->delivering) return;
        c->delivering = true;
    }
    deliver(c);
}

void from_plugin_chunk(void*, std::uint64_t id, hf_bytes bytes) {
    auto c = calls().find(id);
    if (!c) {
        late.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    auto parsed = parse_json(view(bytes));
    if (!parsed) return complete(c, fail(errc::protocol_error, "plugin '" + c->name + "' streamed what is " + parsed.error().message));
    {
        std::lock_guard lock(c->mutex);
        if (c->final || c->waiting.size() >= max_waiting_chunks) {
            late.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        c->waiting.push_back(std::move(*parsed));
        if (c->delivering) return;
        c->delivering = true;
    }
    deliver(c);
}

void from_plugin_done(void*, std::uint64_t id, const hf_error* err, hf_bytes bytes) {
    auto c = calls().find(id);
    if (!c) {
        late.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    if (err != nullptr) return complete(c, tl::unexpected<error>(from_abi(err->code == HF_OK ? HF_E_INTERNAL : err->code, err)));
    auto parsed = view(bytes).empty() ? result<json>(json::object()) : parse_json(view(bytes));
    if (!parsed) return complete(c, fail(errc::protocol_error, "plugin '" + c->name + "' answered what is " + parsed.error().message));
    complete(c, std::move(*parsed));
}

/// One sequence for all interfaces: they share one table of calls.
std::uint64_t next_call_id() noexcept {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
}

template <class Table>
class table_port final : public call_port {
  public:
    table_port(resolver<Table> resolve, supervise::runtime& rt, std::string name)
        : resolve_(std::move(resolve)), rt_(rt), name_(std::move(name)), in_flight_(std::make_shared<std::atomic<std::size_t>>(0)) {}

    std::uint64_t submit(std::string method, json request, milliseconds timeout, on_chunk chunk, on_done done) override {
        const auto id = next_call_id();
        if (in_flight_->fetch_add(1) >= max_calls_per_port) {
            in_flight_->fetch_sub(1);
            return done(fail(errc::overloaded, "plugin '" + name_ + "' has " + std::to_string(max_calls_per_port) + " calls under way")), id;
        }
        auto c = std::make_shared<call_state>();
        c->id = id;
        c->name = name_;
        c->chunk = std::move(chunk);
        c->done = [n = in_flight_, done = std::move(done)](result<json> r) mutable {
            n->fetch_sub(1);
            done(std::move(r));
        };
        calls().add(c);
        const auto now = std::chrono::steady_clock::now();
        if (timeout.count() > 0) {
            std::lock_guard lock(c->mutex);
            c->deadline = rt_.after(timeout, [weak = std::weak_ptr(c), timeout] {
                auto late_call = weak.lock();
                if (!late_call) return;
                auto ask = cancel_of(late_call);
                complete(late_call, fail(errc::timeout, "plugin '" + late_call->name + "' did not answer within " + std::to_string(timeout.count()) + " ms"));
                if (ask) ask();  // it may stop working on what nobody waits for
            });
        }
        outgoing out{resolve_, &rt_, std::move(method), dump(request), timeout.count() > 0 ? (now + timeout).time_since_epoch().count() : 0, now + replacement_patience};
        send(c, std::move(out));
        return id;
    }

    void cancel(std::uint64_t id) override {
        auto c = calls().find(id);
        if (!c) return;
        auto ask = cancel_of(c);
        {
            std::lock_guard lock(c->mutex);
            if (!c->final && !c->grace.pending())
                c->grace = rt_.after(cancel_grace, [weak = std::weak_ptr(c)] {
                    if (auto ignored = weak.lock()) complete(ignored, fail(errc::cancelled, "cancelled; plugin '" + ignored->name + "' did not react"));
                });
        }
        if (ask) ask();
    }

  private:
    struct outgoing {
        resolver<Table> resolve;
        supervise::runtime* rt;
        std::string method, request;
        std::int64_t deadline_ns;
        std::chrono::steady_clock::time_point give_up;  // waiting for a version that takes over
    };

    static void send(const std::shared_ptr<call_state>& c, outgoing out) {
        auto b = out.resolve();
        if (!b) {
            // One version has stopped and the next is starting: a matter of milliseconds, and no reason to fail.
            if (b.error().code != errc::restarting || std::chrono::steady_clock::now() > out.give_up) return complete(c, tl::unexpected<error>(b.error()));
            std::lock_guard lock(c->mutex);
            if (!c->final)
                c->retry = out.rt->after(replacement_poll, [weak = std::weak_ptr(c), out]() mutable {
                    if (auto waiting = weak.lock()) send(waiting, std::move(out));
                });
            return;
        }
        {
            std::lock_guard lock(c->mutex);
            if (c->final) return;
            c->cancel = [b = *b, id = c->id] { invoke(b, [&](const Table& t, void* self) { t.cancel(self, id); }); };
        }
        // Fires at once when the instance has ended between resolve and here: outside the lock.
        end_watch watch(b->lease, [weak = std::weak_ptr(c)](const std::string& why) {
            if (auto lost = weak.lock()) complete(lost, fail(errc::plugin_failed, "plugin '" + lost->name + "' ended before it answered: " + why));
        });
        {
            std::lock_guard lock(c->mutex);
            if (!c->final) c->watch = std::move(watch);
        }

        hf_call call{};
        call.size = sizeof call;
        call.id = c->id;
        call.deadline_ns = out.deadline_ns;
        call.method = as_str(out.method);
        call.request = as_bytes(out.request);
        call.on_chunk = from_plugin_chunk;
        call.on_done = from_plugin_done;
        hf_error err = empty_hf_error();
        const std::int32_t rc = invoke(*b, [&](const Table& t, void* self) { return t.submit(self, &call, &err); });
        if (rc < 0) {
            // A plugin that answered and then returned an error has broken the rule; its answer counts.
            if (calls().find(c->id)) complete(c, tl::unexpected<error>(from_abi(rc, &err)));
            else late.fetch_add(1, std::memory_order_relaxed);
        }
    }

    static std::function<void()> cancel_of(const std::shared_ptr<call_state>& c) {
        std::lock_guard lock(c->mutex);
        return c->cancel;
    }
    const resolver<Table> resolve_;
    supervise::runtime& rt_;
    const std::string name_;
    const std::shared_ptr<std::atomic<std::size_t>> in_flight_;  // second owners: calls that outlive the port
};

}  // namespace

std::shared_ptr<call_port> make_call_port(resolver<hf_llm> resolve, supervise::runtime& rt, std::string name) {
    return std::make_shared<table_port<hf_llm>>(std::move(resolve), rt, std::move(name));
}
std::shared_ptr<call_port> make_call_port(resolver<hf_store> resolve, supervise::runtime& rt, std::string name) {
    return std::make_shared<table_port<hf_store>>(std::move(resolve), rt, std::move(name));
}
void count_late_answer() noexcept { late.fetch_add(1, std::memory_order_relaxed); }
std::uint64_t late_answers() noexcept { return late.load(std::memory_order_relaxed); }

}  // namespace holdfast::plugins
