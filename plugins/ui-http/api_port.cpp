#include "ui-http/api_port.hpp"

namespace holdfast::ui_http {

std::uint64_t api_port::call(std::string_view method, std::string_view params_json, const person& who, std::function<void(api_result)> done,
                             std::function<void(std::string_view)> on_chunk) {
    bool refused = false;
    {
        const std::lock_guard lock(calls_->mutex);
        refused = calls_->closed;
        if (!refused) ++calls_->under_way;
    }
    if (refused) {
        api_result r;
        r.error = {"unavailable", "this user interface is stopping; connect again", 1000};
        return done(std::move(r)), 0;
    }
    const std::string identity = who.identity_json();
    sdk::api_options options;
    options.identity_json = identity;
    options.on_chunk = std::move(on_chunk);
    struct note {  // the id is known only after call() returned, and the completion may come first
        std::uint64_t id = 0;
        bool finished = false;
    };
    auto n = std::make_shared<note>();
    const auto id = api_.call(method, params_json,
        [shared = calls_, n, done = std::move(done)](const sdk::status& s, std::string_view text) {
            struct leave {
                std::shared_ptr<calls> c;
                std::shared_ptr<note> n;
                ~leave() {
                    const std::lock_guard lock(c->mutex);
                    n->finished = true;
                    c->ids.erase(n->id);
                    if (--c->under_way == 0) c->none_left.notify_all();
                }
            } leaving{shared, n};
            api_result r;
            r.ok = s.ok();
            if (r.ok) r.json_text = text.empty() ? "{}" : std::string(text);
            else r.error = api_error_from(s, text);
            done(std::move(r));
        }, std::move(options));
    const std::lock_guard lock(calls_->mutex);
    if (n->finished) return 0;
    n->id = id;
    calls_->ids.insert(id);
    return id;
}

person api_port::authenticate(std::string_view token) const {
    const auto identity = parse_json(api_.authenticate(token));
    if (!identity) throw sdk::plugin_error(HF_E_AUTH, "the token was refused");
    return {string_or(*identity, "user", "local"), string_or(*identity, "role", "viewer")};
}

void api_port::close() {
    std::unordered_set<std::uint64_t> ids;
    {
        const std::lock_guard lock(calls_->mutex);
        calls_->closed = true;
        ids = calls_->ids;
    }
    for (const auto id : ids) api_.cancel(id);
}

bool api_port::wait(std::chrono::milliseconds patience) {
    std::unique_lock lock(calls_->mutex);
    return calls_->none_left.wait_for(lock, patience, [&] { return calls_->under_way == 0; });
}

}  // namespace holdfast::ui_http
