#include "servers/logins.hpp"

namespace holdfast::servers {
namespace {
constexpr milliseconds goodbye{1'000};
}

logins::~logins() {
    for (auto& [name, a] : under_way_) a->wire.reset();  // its callbacks hold the attempt
}

void logins::begin(const std::string& name, row_reply done) {
    attempt_ptr fresh;
    std::string url;
    {
        std::lock_guard lock(mutex_);
        attempt_ptr& a = under_way_[name];
        if (!a) a = fresh = std::make_shared<attempt>();
        url = a->url;
        if (url.empty() && a->begun.size() < max_login_waiters) {
            a->begun.push_back(std::move(done));
            done = nullptr;
        }
    }
    if (fresh) return open(name, "login", fresh);
    if (!url.empty()) done(json{{"name", name}, {"authorization_url", url}});
    else if (done) done(fail(errc::overloaded, "too many wait for this login"));
}

void logins::wait(const std::string& name, row_reply done) {
    std::optional<result<void>> last;
    {
        std::lock_guard lock(mutex_);
        const auto it = under_way_.find(name);
        if (it != under_way_.end() && it->second->ended.size() < max_login_waiters) {
            it->second->ended.push_back(std::move(done));
            return;
        }
        if (const auto ended = last_.find(name); ended != last_.end()) last = ended->second;
    }
    done(last ? told(name, *last) : fail(errc::not_found, "no login to '" + name + "' is under way"));
}

result<json> logins::told(const std::string& name, const result<void>& how) const {
    if (!how) return tl::unexpected(how.error());
    return set_->row(name);
}

void logins::logout(const std::string& name, row_reply done) {
    auto a = std::make_shared<attempt>();
    a->ended.push_back(std::move(done));
    {
        std::lock_guard lock(mutex_);
        last_.erase(name);
    }
    open(name, "logout", a);
}

void logins::open(const std::string& name, const char* action, const attempt_ptr& a) {
    auto where = set_->errand(name);
    if (!where) return finish(name, a, tl::unexpected(where.error()));
    json config = std::move(where->config);
    if (!member(config, "auth").is_object())
        return finish(name, a, fail(errc::invalid_argument, "'" + name + "' has no \"auth\": set \"auth\": {\"type\": \"oauth\"} if it wants a login"));
    config["auth"]["action"] = action;
    auto wire = connection::open(std::move(where->transport), config, goodbye,
                                 [weak = weak_from_this(), name, a](std::uint64_t, transport_report r) {
                                     if (const auto self = weak.lock()) self->report(name, a, std::move(r));
                                 });
    if (!wire) return finish(name, a, tl::unexpected(wire.error()));
    std::lock_guard lock(mutex_);
    if (!a->over) a->wire = std::move(*wire);  // its callbacks hold the attempt: finish() parts them
}

void logins::report(const std::string& name, const attempt_ptr& a, transport_report r) {
    if (auto* o = std::get_if<heard::opened>(&r)) {
        std::string url = string_or(o->info, "authorization_url");
        if (url.empty()) return finish(name, a, fail(errc::invalid_argument, "the transport of '" + name + "' knows no login"));
        std::vector<row_reply> all;
        {
            std::lock_guard lock(mutex_);
            a->url = url;
            all.swap(a->begun);
        }
        for (auto& done : all) done(json{{"name", name}, {"authorization_url", url}});
    } else if (auto* c = std::get_if<heard::closed>(&r)) {
        if (c->by_us) finish(name, a, {});
        else finish(name, a, tl::unexpected(std::move(c->why)));
    }
}

void logins::finish(const std::string& name, const attempt_ptr& a, result<void> how) {
    std::vector<row_reply> begun, ended;
    std::unique_ptr<connection> wire;
    {
        std::lock_guard lock(mutex_);
        if (std::exchange(a->over, true)) return;
        wire = std::move(a->wire);
        begun.swap(a->begun);
        ended.swap(a->ended);
        if (const auto it = under_way_.find(name); it != under_way_.end() && it->second == a) {
            under_way_.erase(it);
            last_.insert_or_assign(name, how);
        }
    }
    for (auto& done : begun) {
        if (how) done(json{{"name", name}, {"authorization_url", nullptr}});  // nothing was left to be asked
        else done(tl::unexpected(how.error()));
    }
    // Somebody else now, perhaps, or nobody: the session, the lists and whatever was kept of the answers to the one before go with
    // the connection (2026-07-28, caching: never shared across authorization contexts). What is stopped stays so.
    if (how && string_or(set_->row(name).value_or(json::object()), "status") != "disabled") set_->restart(name, [](result<json>) {});
    for (auto& done : ended) done(told(name, how));
}

}  // namespace holdfast::servers
