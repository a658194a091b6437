// One topic against a naive reference: every command on both, every item must agree.
#include "unit/events/support.hpp"

#include <rapidcheck/gtest.h>

using namespace holdfast;
using namespace holdfast::events;
using namespace holdfast::events::testing;

namespace {

/// All of history in a vector, all rules spelled out.
struct reference {
    struct reader {
        overflow policy;
        std::uint64_t pos;
        std::uint64_t generation;
        std::uint64_t last = 0;
        bool closed = false;
        std::string pending;
    };
    std::size_t capacity;
    std::uint64_t next = 1, floor = 1, generation = 0;

    std::uint64_t first() const { return std::max(floor, next > capacity ? next - capacity : 1); }

    reader attach(overflow p, std::optional<std::uint64_t> from) const {
        reader r{p, next, generation};
        if (from && *from > next) r.pending = "epoch_changed(reopened " + std::to_string(next) + ")";
        if (from && *from <= next) {
            r.pos = std::max(*from, first());
            if (*from < first())
                r.pending = "gap(trimmed " + std::to_string(*from) + "-" + std::to_string(first() - 1) + ")";
        }
        return r;
    }

    std::vector<std::string> poll(reader& r, std::size_t max) const {
        std::vector<std::string> out;
        while (out.size() < max && !r.closed) {
            if (!r.pending.empty()) {
                out.push_back(std::exchange(r.pending, ""));
            } else if (r.generation != generation) {
                r.generation = generation;
                r.pos = first();
                r.last = 0;
                out.push_back("epoch_changed(reopened " + std::to_string(r.pos) + ")");
            } else if (r.pos < first()) {
                if (r.policy == overflow::disconnect) {
                    r.closed = true;
                    out.push_back("closed(overrun " + std::to_string(r.last) + ")");
                } else {
                    out.push_back("gap(overrun " + std::to_string(r.pos) + "-" + std::to_string(first() - 1) + ")");
                    r.pos = first();
                }
            } else if (r.pos < next) {
                r.last = r.pos;
                out.push_back(std::to_string(r.pos++));
            } else {
                break;
            }
        }
        return out;
    }
};

struct pair_of_readers {
    subscription real;
    reference::reader model;
    int wakes = 0;
    bool armed = false;
};

}  // namespace

RC_GTEST_PROP(model, one_topic_behaves_as_the_reference, ()) {
    const auto capacity = *rc::gen::inRange<std::size_t>(1, 200);
    bus b({.topic = {.capacity = capacity}});
    std::uint64_t epoch = 1;
    RC_ASSERT(b.open_topic("t", epoch, 1).has_value());
    reference ref{capacity};
    std::vector<std::unique_ptr<pair_of_readers>> readers;

    const auto steps = *rc::gen::inRange(1, 120);
    for (int i = 0; i < steps; ++i) {
        const int what = *rc::gen::inRange(0, 20);
        if (what < 9) {
            const int n = *rc::gen::inRange(1, 90);
            for (int k = 0; k < n; ++k) RC_ASSERT(b.publish("t", "x", number{k}) == ref.next++);
        } else if (what < 12) {
            const bool replay = *rc::gen::arbitrary<bool>();
            std::optional<std::uint64_t> from;
            if (replay) from = *rc::gen::inRange<std::uint64_t>(1, ref.next + 3);
            const auto policy = *rc::gen::element(overflow::disconnect, overflow::drop_oldest);
            auto p = std::make_unique<pair_of_readers>();
            p->model = ref.attach(policy, from);
            p->real = b.subscribe("t", {.from = from, .policy = policy, .wake = [raw = p.get()] { ++raw->wakes; }});
            RC_ASSERT(p->real.attached_at() == (position{epoch, ref.next - 1}));
            readers.push_back(std::move(p));
        } else if (what < 18 && !readers.empty()) {
            auto& r = *readers[*rc::gen::inRange<std::size_t>(0, readers.size())];
            const auto max = *rc::gen::inRange<std::size_t>(1, 150);
            std::vector<std::string> got;
            for (const item& it : r.real.poll(max)) got.push_back(describe(it));
            RC_ASSERT(got == ref.poll(r.model, max));
            RC_ASSERT(r.real.closed() == r.model.closed);
        } else if (what == 18) {
            b.trim_topic("t");
            ref.floor = ref.next;
        } else if (what == 19) {
            const auto to = *rc::gen::inRange<std::uint64_t>(1, 300);
            RC_ASSERT(b.open_topic("t", ++epoch, to).has_value());
            ref.next = ref.floor = to;
            ++ref.generation;
        }
        const auto from = *rc::gen::inRange<std::uint64_t>(1, ref.next + 1);
        const auto replayed = b.replay("t", from);
        RC_ASSERT(replayed.gap.has_value() == (from < ref.first()));
        RC_ASSERT(replayed.events.size() == std::min<std::uint64_t>(default_capacity, ref.next - std::max(from, ref.first())));
        if (!replayed.events.empty()) RC_ASSERT(replayed.events.front()->seq() == std::max(from, ref.first()));
    }
}

/// Coalescing, with every poll complete: what is delivered is exactly the newest per key, and every number is accounted for.
RC_GTEST_PROP(model, coalescing_delivers_the_newest_of_each_key_and_accounts_for_all, ()) {
    bus b;
    auto s = b.subscribe("t", {.policy = overflow::coalesce, .key = [](const event_body& e) {
        const int k = e.payload_as<number>()->value;
        return k ? std::to_string(k) : std::string();
    }});
    std::uint64_t expected = 1;
    for (int round = *rc::gen::inRange(1, 6); round > 0; --round) {
        const auto keys = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 6));
        const std::uint64_t base = expected;
        for (const int k : keys) b.publish("t", "x", number{k});
        while (expected < base + keys.size()) {
            const auto items = s.poll(*rc::gen::inRange<std::size_t>(1, 5));
            RC_ASSERT(!items.empty());
            for (const item& i : items) {
                const std::uint64_t from = i.ev ? i.ev->seq() : i.note->from, to = i.ev ? from : i.note->to;
                RC_ASSERT(from == expected);
                for (; expected <= to; ++expected) {
                    const auto at = keys.begin() + static_cast<std::ptrdiff_t>(expected - base);
                    const bool newest = *at == 0 || std::find(at + 1, keys.end(), *at) == keys.end();
                    RC_ASSERT(newest == static_cast<bool>(i.ev));
                }
            }
        }
        RC_ASSERT(s.poll(1).empty());
    }
}
