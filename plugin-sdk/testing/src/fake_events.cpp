#include <nlohmann/json.hpp>

#include "parts.hpp"

namespace holdfast::testing {

namespace {
bool matches(std::string_view pattern, std::string_view topic) {
    if (pattern.empty() || pattern.back() != '*') return pattern == topic;
    return topic.substr(0, pattern.size() - 1) == pattern.substr(0, pattern.size() - 1);
}
}  // namespace

std::int32_t fake_events::publish(std::string_view event, std::string_view instance, hf_error* err) {
    const auto json = nlohmann::json::parse(event, nullptr, false);
    if (!json.is_object() || !json.contains("type")) return sdk::fill(err, HF_E_INVALID, "an event is a JSON object with \"type\"");
    {
        std::lock_guard lock(mutex_);
        published_.emplace_back(event);
    }
    emit("plugin:" + std::string(instance), event);
    return HF_OK;
}

std::int32_t fake_events::subscribe(std::string_view options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err) {
    const auto json = nlohmann::json::parse(options, nullptr, false);
    if (!json.is_object() || !json.value("topic", nlohmann::json()).is_string())
        return sdk::fill(err, HF_E_INVALID, "subscribe needs {\"topic\":…}");
    auto s = std::make_shared<subscription>();
    s->topic = json["topic"];
    s->sink = sdk::read_struct(sink);
    std::lock_guard lock(mutex_);
    *id = ++last_id_;
    const auto at = seq_.find(s->topic);
    *seq = at == seq_.end() ? 0 : at->second;
    all_.emplace(*id, std::move(s));
    return HF_OK;
}

void fake_events::unsubscribe(std::uint64_t id) {
    std::shared_ptr<subscription> s;
    std::lock_guard lock(mutex_);
    const auto it = all_.find(id);
    if (it == all_.end()) return;
    s = it->second;
    s->closed = true;
    all_.erase(it);
}

void fake_events::emit(std::string_view topic, std::string_view event) {
    std::vector<std::shared_ptr<subscription>> to;
    auto json = nlohmann::json::parse(event);
    {
        std::lock_guard lock(mutex_);
        json["topic"] = topic;
        json["seq"] = ++seq_[std::string(topic)];
        json["epoch"] = 1;
        for (const auto& [id, s] : all_)
            if (matches(s->topic, topic)) to.push_back(s);
    }
    const std::string text = json.dump();
    for (const auto& s : to) {
        std::lock_guard one(s->one_at_a_time);
        if (!s->closed) s->sink.on_event(s->sink.ctx, sdk::bytes(text));
    }
}

std::vector<std::string> fake_events::published() const {
    std::lock_guard lock(mutex_);
    return published_;
}
std::size_t fake_events::subscriptions() const {
    std::lock_guard lock(mutex_);
    return all_.size();
}
std::size_t fake_events::close_all() {
    std::map<std::uint64_t, std::shared_ptr<subscription>> all;
    {
        std::lock_guard lock(mutex_);
        all.swap(all_);
    }
    for (const auto& [id, s] : all) {
        s->closed = true;
        std::lock_guard drained(s->one_at_a_time);
    }
    return all.size();
}

const hf_events* fake_events::table() {
    static constexpr hf_events t{
        sizeof(hf_events), 0,
        [](void* c, hf_bytes event, hf_error* e) -> std::int32_t {
            auto& h = fake_host::impl::of(c);
            return h.events.publish(sdk::view(event), h.options.instance_id, e);
        },
        [](void* c, hf_bytes options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* e) -> std::int32_t {
            return fake_host::impl::of(c).events.subscribe(sdk::view(options), sink, id, seq, e);
        },
        [](void* c, std::uint64_t id) { fake_host::impl::of(c).events.unsubscribe(id); }};
    return &t;
}

}  // namespace holdfast::testing
