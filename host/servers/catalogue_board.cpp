#include "servers/catalogue_board.hpp"

#include "servers/server_actor.hpp"

namespace holdfast::servers {
namespace {
constexpr milliseconds cheap{2};       // a rebuild below this needs no pause after it
constexpr int rest_factor = 4;         // a dear one leaves the processor to others for this many times its own time
}  // namespace

std::shared_ptr<const catalogue> catalogue_board::read() const {
    std::lock_guard lock(mutex_);
    return now_;
}

void catalogue_board::changed() {
    if (dirty_.exchange(true)) return;
    if (!rt_.post([self = shared_from_this()] { self->rebuild(); })) dirty_ = false;
}

void catalogue_board::rebuild() {
    const auto began = std::chrono::steady_clock::now();  // a cost, not a time of the domain
    std::lock_guard lock(building_);
    if (!records_) return;
    dirty_ = false;
    auto fresh = std::make_shared<catalogue>();
    fresh->version = ++version_;
    for (const auto& record : records_()) {
        const auto part = record->part();
        if (!part) continue;
        fresh->tools.insert(fresh->tools.end(), part->tools.begin(), part->tools.end());
        for (const json& p : part->prompts) fresh->prompts.push_back(p);
        for (const json& r : part->resources) fresh->resources.push_back(r);
        for (const json& t : part->resource_templates) fresh->resource_templates.push_back(t);
    }
    {
        std::lock_guard leaf(mutex_);
        now_ = std::move(fresh);
    }
    if (listener_) listener_();
    const auto took = std::chrono::steady_clock::now() - began;
    if (took < cheap || dirty_.exchange(true)) return;
    // Claim the next rebuild now and make it after a rest: changes until then share it.
    auto timer = rt_.after(took * rest_factor, [self = shared_from_this()] { self->rebuild(); });
    timer.detach();
}

void catalogue_board::on_change(std::function<void()> f) {
    std::lock_guard lock(building_);
    listener_ = std::move(f);
}

void catalogue_board::end() {
    std::lock_guard lock(building_);
    records_ = nullptr;
    listener_ = nullptr;
}

}  // namespace holdfast::servers
