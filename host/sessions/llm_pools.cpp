#include "sessions/llm_pools.hpp"

#include <deque>

namespace holdfast::sessions {

void llm_slot::release(bool reusable) noexcept {
    auto give_back = std::exchange(give_back_, nullptr);
    if (give_back) give_back(reusable);
}

struct llm_pools::pool {
    pool(std::string of, const supervise::pool_rules& rules) : adapter(std::move(of)), random(supervise::random_seed()), machine(rules, random) {}
    const std::string adapter;
    std::mutex mutex;  // guards what follows; never held across a callback
    supervise::seeded_random random;
    supervise::pool_machine machine;
    std::map<std::uint64_t, on_slot> waiting;
    supervise::timer_handle timer;
};

std::shared_ptr<llm_pools> llm_pools::create(supervise::runtime& rt) { return std::shared_ptr<llm_pools>(new llm_pools(rt)); }

void llm_pools::examine_with(examiner f) {
    std::lock_guard lock(mutex_);
    examine_ = std::move(f);
}

void llm_pools::tell_leaks(std::function<void(const std::string&)> f) {
    std::lock_guard lock(mutex_);
    tell_ = std::move(f);
}

void llm_pools::configure(std::map<std::string, supervise::pool_rules> rules) {
    std::lock_guard lock(mutex_);
    rules_ = std::move(rules);
    std::erase_if(pools_, [this](const auto& p) {
        auto r = rules_.find(p.first);
        if (r == rules_.end()) r = rules_.find("*");
        return r == rules_.end() || !(r->second == p.second->machine.rules());
    });
}

bool llm_pools::covers(const std::string& adapter) const {
    std::lock_guard lock(mutex_);
    return rules_.count(adapter) > 0 || rules_.count("*") > 0;
}

std::shared_ptr<llm_pools::pool> llm_pools::pool_of(const std::string& adapter) {
    auto rules = rules_.find(adapter);
    if (rules == rules_.end()) rules = rules_.find("*");
    if (rules == rules_.end()) return nullptr;
    auto& p = pools_[adapter];
    if (!p) p = std::make_shared<pool>(adapter, rules->second);
    return p;
}

std::uint64_t llm_pools::acquire(const std::string& adapter, on_slot done) {
    std::shared_ptr<pool> p;
    std::uint64_t id = 0;
    {
        std::lock_guard lock(mutex_);
        id = next_++;
        p = pool_of(adapter);
        if (p) waiting_[id] = p;
    }
    if (!p) {  // reconfigured meanwhile
        rt_.post([done = std::move(done)]() mutable { done(llm_slot{}); });
        return id;
    }
    {
        std::lock_guard lock(p->mutex);
        p->waiting.emplace(id, std::move(done));
    }
    feed(p, supervise::pool_ev::acquire{id});
    return id;
}

void llm_pools::cancel(std::uint64_t id) {
    std::shared_ptr<pool> p;
    {
        std::lock_guard lock(mutex_);
        if (const auto it = waiting_.find(id); it != waiting_.end()) p = it->second.lock();
        waiting_.erase(id);
    }
    if (!p) return;
    on_slot done;
    {
        std::lock_guard lock(p->mutex);
        auto w = p->waiting.extract(id);
        if (w.empty()) return;
        done = std::move(w.mapped());
    }
    feed(p, supervise::pool_ev::cancel{id});
    rt_.post([done = std::move(done)]() mutable { done(fail(errc::cancelled, "cancelled")); });
}

/// Waiters and the adapter are told from the runtime: a slot that is given back at once, again and again, must not nest.
void llm_pools::feed(const std::shared_ptr<pool>& p, supervise::pool_event e) {
    namespace act = supervise::pool_act;
    namespace ev = supervise::pool_ev;
    const auto self = shared_from_this();
    std::vector<supervise::task> outside;
    std::vector<std::uint64_t> served;
    {
        std::lock_guard lock(p->mutex);
        std::deque<supervise::pool_event> events{std::move(e)};
        while (!events.empty()) {
            std::vector<supervise::pool_action> actions;
            p->machine.on(events.front(), rt_.now(), actions);
            events.pop_front();
            for (auto& action : actions) {
                if (auto* c = std::get_if<act::create>(&action)) {
                    outside.push_back([self, p, conn = c->conn] { self->examine(p, conn, true); });
                } else if (auto* k = std::get_if<act::check>(&action)) {
                    outside.push_back([self, p, conn = k->conn] { self->examine(p, conn, false); });
                } else if (auto* o = std::get_if<act::offer>(&action)) {
                    auto w = p->waiting.extract(o->waiter);
                    if (w.empty()) {
                        events.push_back(ev::cancel{o->waiter});
                        continue;
                    }
                    events.push_back(ev::accept{o->waiter, o->conn});
                    served.push_back(o->waiter);
                    llm_slot slot([self, p, conn = o->conn](bool reusable) { self->feed(p, ev::release{conn, reusable}); });
                    outside.push_back([done = std::move(w.mapped()), slot = std::move(slot)]() mutable { done(std::move(slot)); });
                } else if (auto* r = std::get_if<act::refuse>(&action)) {
                    auto w = p->waiting.extract(r->waiter);
                    if (w.empty()) continue;
                    served.push_back(r->waiter);
                    outside.push_back([done = std::move(w.mapped()), why = std::move(r->why)]() mutable { done(tl::unexpected(std::move(why))); });
                } else if (auto* l = std::get_if<act::leak>(&action)) {
                    outside.push_back([self, p, held = l->held] {
                        std::function<void(const std::string&)> tell;
                        {
                            std::lock_guard own(self->mutex_);
                            tell = self->tell_;
                        }
                        if (tell) tell("a call of " + p->adapter + " has been under way for " + std::to_string(std::chrono::duration_cast<seconds>(held).count()) + " s");
                    });
                }
            }
        }
        if (const auto at = p->machine.next_deadline())
            p->timer = rt_.after(std::max(*at - rt_.now(), nanoseconds(0)), [owner = weak_from_this(), weak = std::weak_ptr(p)] {
                const auto there = owner.lock();
                if (const auto alive = weak.lock(); there && alive) there->feed(alive, ev::tick{});
            });
        else
            p->timer.cancel();
    }
    if (!served.empty()) {
        std::lock_guard lock(mutex_);
        for (const auto id : served) waiting_.erase(id);
    }
    for (auto& f : outside) rt_.post(std::move(f));
}

void llm_pools::examine(const std::shared_ptr<pool>& p, std::uint64_t conn, bool fresh) {
    examiner ask;
    {
        std::lock_guard lock(mutex_);
        ask = examine_;
    }
    const auto said = [self = shared_from_this(), p, conn, fresh](result<void> well) {
        namespace ev = supervise::pool_ev;
        if (!fresh) self->feed(p, ev::checked{conn, well.has_value()});
        else if (well) self->feed(p, ev::created{conn});
        else self->feed(p, ev::create_failed{conn, well.error()});
    };
    if (ask) ask(p->adapter, said);
    else said(result<void>{});
}

json llm_pools::row(const std::string& adapter) const {
    std::shared_ptr<pool> p;
    {
        std::lock_guard lock(mutex_);
        const auto it = pools_.find(adapter);
        if (it == pools_.end()) {
            auto rules = rules_.find(adapter);
            if (rules == rules_.end()) rules = rules_.find("*");
            return rules == rules_.end() ? json() : supervise::pool_machine::row(rules->second, {});
        }
        p = it->second;
    }
    std::lock_guard lock(p->mutex);
    return supervise::pool_machine::row(p->machine.rules(), p->machine.now());
}

}  // namespace holdfast::sessions
