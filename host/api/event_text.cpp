#include "api/event_text.hpp"

namespace holdfast::api {

json notice_json(const events::notice& n) {
    json out{{"topic", n.topic}, {"epoch", n.epoch}};
    switch (n.what) {
        case events::notice::kind::gap:
            out["type"] = "gap";
            out["from"] = n.from;
            out["to"] = n.to;
            out["reason"] = std::string(events::to_string(n.why));
            break;
        case events::notice::kind::epoch_changed:
            out["type"] = "epoch";
            out["from"] = n.from;
            break;
        case events::notice::kind::closed:
            out["type"] = "closed";
            out["reason"] = std::string(events::to_string(n.why));
            out["seq"] = n.from;
            break;
    }
    return out;
}

result<events::subscribe_options> subscribe_options_from(const json& options) {
    events::subscribe_options out;
    for (const char* key : {"from", "epoch"}) {
        const json& v = member(options, key);
        if (v.is_null()) continue;
        if (!v.is_number_integer() || v.get<std::int64_t>() < 0)
            return fail(errc::invalid_argument, std::string(key) + ": expected a non-negative integer");
        (std::string_view(key) == "from" ? out.from : out.epoch) = v.get<std::uint64_t>();
    }
    for (const json& t : member(options, "types"))
        if (t.is_string()) out.types.push_back(t.get<std::string>());
    const std::string policy = string_or(options, "policy", "disconnect");
    if (policy == "drop_oldest")
        out.policy = events::overflow::drop_oldest;
    else if (policy != "disconnect")
        return fail(errc::invalid_argument, "policy: expected disconnect or drop_oldest, found '" + policy + "'");
    return out;
}

}  // namespace holdfast::api
