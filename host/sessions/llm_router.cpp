#include "sessions/llm_router.hpp"

#include <algorithm>
#include <atomic>
#include <cctype>

namespace holdfast::sessions {

/// One chat under way. Fields without a comment are guarded by the router's mutex.
struct llm_router::call_state {
    std::uint64_t id = 0;
    std::string wanted;
    std::vector<std::string> hints;
    json request;                   // written once, before the first attempt
    llm_events events;              // used by one attempt at a time
    std::vector<llm_adapter> chain;
    std::size_t next = 0;
    std::string why;
    std::shared_ptr<plugins::call_port> port;
    std::uint64_t port_call = 0;
    std::uint64_t attempt_number = 0;
    llm_slot slot;                  // of the attempt under way
    std::uint64_t waits = 0;        // for a slot: what cancels it
    bool spoke = false;
    bool cancelled = false;
    bool over = false;
};

namespace {

/// Parts of a provider's own go back to the adapter they came from, and to nobody else.
json request_for(const std::string& adapter, const json& request) {
    json out = request;
    for (json& m : out["messages"]) {
        json kept = json::array();
        for (json& part : m["content"]) {
            if (string_or(part, "type") != "opaque") kept.push_back(std::move(part));
            else if (string_or(part, "adapter") == adapter) kept.push_back(std::move(part["part"]));
        }
        m["content"] = std::move(kept);
    }
    return out;
}

/// Whether the provider is done with the call: a slot whose call may still be worked on is not given to another.
bool answered(const result<json>& r) {
    if (r) return true;
    switch (r.error().code) {
        case errc::timeout:
        case errc::cancelled:
        case errc::transport_lost:
        case errc::plugin_failed: return false;
        default: return true;
    }
}

}  // namespace

std::shared_ptr<llm_router> llm_router::create(const clock_source& clock) { return std::shared_ptr<llm_router>(new llm_router(clock)); }

void llm_router::configure(std::vector<llm_adapter> adapters, std::string preferred, std::vector<std::string> fallback) {
    std::lock_guard lock(mutex_);
    std::map<std::string, known> kept;  // of adapters that stay the same
    for (const llm_adapter& a : adapters) {
        const auto same = std::find_if(adapters_.begin(), adapters_.end(), [&](const llm_adapter& o) { return o.id == a.id && o.port == a.port; });
        if (same != adapters_.end()) kept[a.id] = known_[a.id];
    }
    adapters_ = std::move(adapters);
    known_ = std::move(kept);
    preferred_ = preferred.empty() ? "auto" : std::move(preferred);
    fallback_ = std::move(fallback);
}

void llm_router::set_gate(llm_gate gate) {
    std::lock_guard lock(mutex_);
    gate_ = std::move(gate);
}

void llm_router::set_pools(std::shared_ptr<llm_pools> pools) {
    pools->examine_with([weak = weak_from_this()](const std::string& id, unique_function<void(result<void>)> said) {
        if (const auto self = weak.lock()) self->examine(id, std::move(said));
        else said(fail(errc::unavailable, "the host stops"));
    });
    std::lock_guard lock(mutex_);
    pools_ = std::move(pools);
}

bool llm_router::fresh_locked() const {
    const steady_time now = clock_.now();
    return std::all_of(adapters_.begin(), adapters_.end(), [&](const llm_adapter& a) {
        const auto it = known_.find(a.id);
        return it != known_.end() && it->second.asked && now - it->second.at < describe_valid_for;
    });
}

llm_router::pick llm_router::choose_locked(const std::string& wanted) const {
    const std::string target = wanted.empty() ? preferred_ : wanted;
    const auto by_id = [&](const std::string& id) -> const llm_adapter* {
        for (const llm_adapter& a : adapters_)
            if (a.id == id) return &a;
        return nullptr;
    };
    pick p;
    if (target != "auto") {
        if (const llm_adapter* a = by_id(target)) {
            p.chain.push_back(*a);
            p.why = wanted.empty() ? "it is the configured default" : "it was asked for";
        } else {
            p.why = "there is no model adapter named \"" + target + "\"; see `holdfast llm list`";
            return p;
        }
    } else {
        std::vector<llm_adapter> demonstrations;
        std::string missing;
        for (const llm_adapter& a : adapters_) {
            const auto it = known_.find(a.id);
            const json* d = it == known_.end() ? nullptr : &it->second.description;
            const bool available = d && bool_or(*d, "available", false);
            if (available && bool_or(*d, "demonstration", false)) demonstrations.push_back(a);
            else if (available) p.chain.push_back(a);
            else missing += (missing.empty() ? "" : "; ") + a.id + ": " + (d ? string_or(*d, "reason", "not available") : "did not answer");
        }
        if (!p.chain.empty()) p.why = p.chain.front().id + " is the first configured model that is available";
        else if (!demonstrations.empty()) {
            p.chain = std::move(demonstrations);
            p.why = "no real model is available" + (missing.empty() ? std::string(" (none is configured)") : " (" + missing + ")") + ", so the demonstration model answers";
        } else {
            p.why = adapters_.empty() ? "no model adapter is configured; add one under \"plugins\"" : "no model is available (" + missing + ")";
        }
    }
    for (const std::string& id : fallback_) {
        const llm_adapter* a = by_id(id);
        const bool there = std::any_of(p.chain.begin(), p.chain.end(), [&](const llm_adapter& c) { return c.id == id; });
        if (a && !there) p.chain.push_back(*a);
    }
    return p;
}

std::string llm_router::hinted_locked(const std::vector<std::string>& hints) const {
    const auto holds = [](const std::string& name, const std::string& hint) {
        const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
        return std::search(name.begin(), name.end(), hint.begin(), hint.end(), same) != name.end();
    };
    for (const std::string& hint : hints)
        for (const llm_adapter& a : adapters_) {
            const auto it = known_.find(a.id);
            if (it == known_.end() || !bool_or(it->second.description, "available", false) || bool_or(it->second.description, "demonstration", false)) continue;
            if (holds(a.id, hint) || holds(string_or(it->second.description, "model"), hint)) return a.id;
        }
    return {};
}

std::uint64_t llm_router::chat(const std::string& wanted, json request, llm_events events, std::vector<std::string> hints) {
    auto c = std::make_shared<call_state>();
    c->wanted = wanted;
    c->hints = std::move(hints);
    c->request = std::move(request);
    c->events = std::move(events);
    bool ready = false;
    {
        std::lock_guard lock(mutex_);
        c->id = next_id_++;
        calls_[c->id] = c;
        const std::string& target = wanted.empty() ? preferred_ : wanted;
        ready = (target != "auto" && c->hints.empty()) || fresh_locked();
    }
    const std::uint64_t id = c->id;
    if (ready) begin(c);
    else refresh([self = shared_from_this(), c] { self->begin(c); });
    return id;
}

void llm_router::begin(const std::shared_ptr<call_state>& c) {
    {
        std::lock_guard lock(mutex_);
        const std::string hinted = hinted_locked(c->hints);
        pick p = choose_locked(hinted.empty() ? c->wanted : hinted);
        if (!hinted.empty()) p.why = "it fits what was hinted at";
        c->chain = std::move(p.chain);
        c->why = std::move(p.why);
    }
    try_next(c, std::nullopt);
}

void llm_router::try_next(const std::shared_ptr<call_state>& c, std::optional<error> last) {
    for (;;) {
        llm_adapter a;
        std::shared_ptr<llm_pools> pools;
        {
            std::lock_guard lock(mutex_);
            if (c->over || c->cancelled) break;
            if (c->next >= c->chain.size()) break;
            a = c->chain[c->next++];
            pools = pools_;
        }
        if (pools && pools->covers(a.id)) {
            const auto waits = pools->acquire(a.id, [self = shared_from_this(), c, a, last](result<llm_slot> slot) mutable { self->admitted(c, a, std::move(slot), std::move(last)); });
            bool cancelled;
            {
                std::lock_guard lock(mutex_);
                c->waits = waits;  // served already: cancelling it does nothing
                cancelled = c->cancelled;
            }
            if (cancelled) pools->cancel(waits);
            return;
        }
        if (enter(c, a, {}, last)) return;
    }
    bool cancelled;
    std::string why;
    {
        std::lock_guard lock(mutex_);
        cancelled = c->cancelled;
        why = c->why;
    }
    if (cancelled) finish(c, fail(errc::cancelled, "cancelled"));
    else if (last) finish(c, unexpected<error>(std::move(*last)));
    else finish(c, fail(errc::unavailable, why));
}

void llm_router::admitted(const std::shared_ptr<call_state>& c, const llm_adapter& a, result<llm_slot> slot, std::optional<error> last) {
    bool gone;
    {
        std::lock_guard lock(mutex_);
        gone = c->over || c->cancelled;
    }
    if (gone) {
        if (slot) slot->release(true);
        return try_next(c, std::move(last));  // which ends it
    }
    if (slot) {
        if (enter(c, a, std::move(*slot), last)) return;
    } else if (!last) {
        last = error{slot.error().code, a.id + ": " + slot.error().message, slot.error().retry_after};
    }
    try_next(c, std::move(last));
}

bool llm_router::enter(const std::shared_ptr<call_state>& c, const llm_adapter& a, llm_slot slot, std::optional<error>& last) {
    llm_gate gate;
    {
        std::lock_guard lock(mutex_);
        gate = gate_;
    }
    llm_gate::permit permit;
    if (gate.acquire) permit = gate.acquire(a.id);
    if (permit.granted) {
        {
            std::lock_guard lock(mutex_);
            c->slot = std::move(slot);
        }
        attempt(c, a, permit.generation);
        return true;
    }
    slot.release(true);
    // The first error says more than "the breaker is open" of a later adapter.
    if (!last) last = error{errc::unavailable, "the circuit breaker of " + a.id + " is open after repeated failures", permit.retry_after};
    return false;
}

void llm_router::attempt(const std::shared_ptr<call_state>& c, const llm_adapter& a, std::uint64_t generation) {
    std::uint64_t number;
    {
        std::lock_guard lock(mutex_);
        c->port = a.port;
        c->port_call = 0;
        number = ++c->attempt_number;
    }
    auto self = shared_from_this();
    const steady_time began = clock_.now();
    const std::uint64_t call = a.port->submit(
        "chat", request_for(a.id, c->request), milliseconds(0),
        [self, c, id = a.id](const json& chunk) {
            bool first = false;
            std::string why;
            {
                std::lock_guard lock(self->mutex_);
                if (c->over || c->cancelled) return;
                first = !std::exchange(c->spoke, true);
                why = c->why;
            }
            if (first && c->events.chosen) c->events.chosen(id, why);
            if (c->events.chunk) c->events.chunk(chunk);
        },
        [self, c, id = a.id, generation, began](result<json> r) { self->attempt_done(c, id, generation, began, std::move(r)); });
    bool cancel_now = false;
    {
        std::lock_guard lock(mutex_);
        if (number == c->attempt_number && !c->over) {
            c->port_call = call;
            cancel_now = c->cancelled;
        }
    }
    if (cancel_now) a.port->cancel(call);
}

void llm_router::attempt_done(const std::shared_ptr<call_state>& c, const std::string& adapter, std::uint64_t generation, steady_time began,
                              result<json> r) {
    llm_gate gate;
    llm_slot slot;
    bool spoke, cancelled;
    std::string why;
    {
        std::lock_guard lock(mutex_);
        slot = std::move(c->slot);
        gate = gate_;
        spoke = c->spoke;
        cancelled = c->cancelled;
        why = c->why;
    }
    if (gate.report) {
        auto how = llm_gate::outcome::success;
        if (!r) {
            const bool ours = cancelled || r.error().code == errc::cancelled || r.error().code == errc::invalid_argument;
            how = ours ? llm_gate::outcome::ignored : llm_gate::outcome::failure;
        }
        gate.report(adapter, generation, how, clock_.now() - began);
    }
    slot.release(answered(r));
    if (r) {
        if (!spoke && !cancelled && c->events.chosen) c->events.chosen(adapter, why);
        if (!r->is_object()) return finish(c, fail(errc::protocol_error, adapter + " answered with something that is not an object"));
        (*r)["adapter"] = adapter;
        return finish(c, std::move(r));
    }
    // After the first byte nobody else may answer: the user has read half of it.
    if (spoke || cancelled || r.error().code == errc::cancelled) return finish(c, std::move(r));
    {
        std::lock_guard lock(mutex_);
        c->why = adapter + " failed: " + r.error().message;
    }
    error e = std::move(r.error());
    e.message = adapter + ": " + e.message;
    try_next(c, std::move(e));
}

void llm_router::finish(const std::shared_ptr<call_state>& c, result<json> r) {
    {
        std::lock_guard lock(mutex_);
        if (std::exchange(c->over, true)) return;
        calls_.erase(c->id);
        c->port.reset();
        if (c->cancelled && r) r = fail(errc::cancelled, "cancelled");
    }
    auto done = std::move(c->events.done);
    if (done) done(std::move(r));
}

void llm_router::cancel(std::uint64_t id) {
    std::shared_ptr<plugins::call_port> port;
    std::shared_ptr<llm_pools> pools;
    std::uint64_t call = 0, waits = 0;
    {
        std::lock_guard lock(mutex_);
        const auto it = calls_.find(id);
        if (it == calls_.end()) return;
        it->second->cancelled = true;
        pools = pools_;
        waits = it->second->waits;
        port = it->second->port;
        call = it->second->port_call;
    }
    if (port && call) port->cancel(call);
    if (pools && waits) pools->cancel(waits);
}

void llm_router::ask(const llm_adapter& a, unique_function<void()> answered) {
    a.port->submit("describe", json::object(), describe_timeout, {}, [self = shared_from_this(), answered = std::move(answered), id = a.id, port = a.port](result<json> r) mutable {
        {
            std::lock_guard lock(self->mutex_);
            const bool same = std::any_of(self->adapters_.begin(), self->adapters_.end(),
                                          [&](const llm_adapter& o) { return o.id == id && o.port == port; });
            if (same)
                self->known_[id] = {r && r->is_object() ? *r : json{{"available", false}, {"reason", r ? "no answer" : r.error().message}},
                                    self->clock_.now(), true};
        }
        answered();
    });
}

/// As it last said, if that is not long ago.
void llm_router::examine(const std::string& id, unique_function<void(result<void>)> said) {
    std::optional<llm_adapter> adapter;
    bool fresh = false;
    {
        std::lock_guard lock(mutex_);
        for (const llm_adapter& a : adapters_)
            if (a.id == id) adapter = a;
        const auto it = known_.find(id);
        fresh = it != known_.end() && it->second.asked && clock_.now() - it->second.at < describe_valid_for;
    }
    if (!adapter) return said(fail(errc::unavailable, "there is no model adapter named \"" + id + "\""));
    const auto judge = [self = shared_from_this(), id] {
        std::lock_guard lock(self->mutex_);
        const json& d = self->known_[id].description;
        return bool_or(d, "available", false) ? result<void>{} : fail(errc::unavailable, string_or(d, "reason", "it is not available"));
    };
    if (fresh) return said(judge());
    ask(*adapter, [judge, said = std::move(said)]() mutable { said(judge()); });
}

void llm_router::refresh(unique_function<void()> done) {
    std::vector<llm_adapter> all;
    {
        std::lock_guard lock(mutex_);
        if (done) waiting_.push_back(std::move(done));
        if (describing_ > 0) return;
        all = adapters_;
        describing_ = all.size() + 1;  // one for this call itself
    }
    const auto answered = [self = shared_from_this()] {
        std::vector<unique_function<void()>> waiting;
        {
            std::lock_guard lock(self->mutex_);
            if (--self->describing_ > 0) return;
            waiting.swap(self->waiting_);
        }
        for (auto& w : waiting) w();
    };
    for (const llm_adapter& a : all) ask(a, answered);
    answered();
}

json llm_router::list() const {
    std::vector<llm_adapter> adapters;
    std::map<std::string, known> known_now;
    llm_gate gate;
    std::shared_ptr<llm_pools> pools;
    pick p;
    std::string preferred;
    {
        std::lock_guard lock(mutex_);
        adapters = adapters_;
        known_now = known_;
        gate = gate_;
        pools = pools_;
        p = choose_locked({});
        preferred = preferred_;
    }
    json rows = json::array();
    for (const llm_adapter& a : adapters) {
        const json& d = known_now[a.id].description;
        rows.push_back({{"id", a.id},
                        {"use", a.use},
                        {"model", string_or(d, "model")},
                        {"available", bool_or(d, "available", false)},
                        {"reason", string_or(d, "reason", known_now[a.id].asked ? "" : "not asked yet")},
                        {"breaker", gate.state ? gate.state(a.id) : "closed"},
                        {"demonstration", bool_or(d, "demonstration", false)}});
        if (json pool = pools ? pools->row(a.id) : json(); !pool.is_null()) rows.back()["pool"] = std::move(pool);
    }
    return {{"default", preferred}, {"chosen", p.chain.empty() ? "" : p.chain.front().id}, {"reason", p.why}, {"adapters", std::move(rows)}};
}

json llm_router::choice() const {
    std::lock_guard lock(mutex_);
    const pick p = choose_locked({});
    return {{"default", preferred_}, {"chosen", p.chain.empty() ? "" : p.chain.front().id}, {"reason", p.why}};
}

bool llm_router::knows(const std::string& id) const {
    std::lock_guard lock(mutex_);
    return id == "auto" || std::any_of(adapters_.begin(), adapters_.end(), [&](const llm_adapter& a) { return a.id == id; });
}

}  // namespace holdfast::sessions
