// Every event in every state (S × event): where it leads, and what must hold whatever happens.
#include <gtest/gtest.h>

#include <random>

#include "servers/status_machine.hpp"

namespace holdfast::servers {
namespace {

enum state_name { fresh, trying, waiting, healthy, open_waiting, open_trying, stopped, by_person, automatic, state_names };
const char* names[] = {"fresh", "trying", "waiting", "healthy", "open_waiting", "open_trying", "stopped", "by_person", "automatic"};

supervise::seeded_random random_source(7);
const steady_time t0{std::chrono::hours(1)};

struct subject {
    status_machine m{status_rules{}, random_source};
    steady_time now = t0;
    std::vector<status_action> out;
    void on(status_event e) {
        out.clear();
        m.on(e, now, out);
    }
};

subject make(state_name s) {
    subject x;
    if (s == fresh) return x;
    x.on(ev::begin{});
    if (s == trying) return x;
    if (s == healthy) {
        x.on(ev::attempt_ok{});
        x.now += seconds(60);
        return x;
    }
    if (s == waiting) {
        x.on(ev::attempt_failed{"f"});
        return x;
    }
    if (s == stopped) {
        x.on(ev::stop{});
        return x;
    }
    if (s == by_person) {
        x.on(ev::disable{});
        return x;
    }
    if (s == automatic) {
        x.now += std::chrono::minutes(31);
        x.on(ev::tick{});
        return x;
    }
    for (int i = 0; i < 5; ++i) {
        x.on(ev::attempt_failed{"f"});
        if (i < 4) {
            x.now = *x.m.next_deadline();
            x.on(ev::tick{});
        }
    }
    if (s == open_trying) {
        x.now = *x.m.next_deadline();
        x.on(ev::tick{});
    }
    return x;
}

state_name name_of(const status_machine& m) {
    const auto& s = m.state;
    if (!s.begun) return fresh;
    switch (s.now) {
        case status::healthy: return healthy;
        case status::disconnected: return s.attempting ? trying : waiting;
        case status::circuit_open: return s.attempting ? open_trying : open_waiting;
        case status::disabled:
            return s.disabled == disabled_by::stopped ? stopped : s.disabled == disabled_by::person ? by_person : automatic;
    }
    return fresh;
}

struct column {
    const char* name;
    status_event event;
};
const std::vector<column>& columns() {
    static const std::vector<column> all{{"begin", ev::begin{}},       {"attempt_ok", ev::attempt_ok{}}, {"attempt_failed", ev::attempt_failed{"f"}},
                                         {"refused", ev::refused{seconds(3)}}, {"lost", ev::lost{"l"}},  {"disable", ev::disable{}},
                                         {"enable", ev::enable{}},     {"stop", ev::stop{}},             {"start", ev::start{}},
                                         {"restart", ev::restart{"r"}}, {"tick", ev::tick{}}};
    return all;
}

// rows: states; columns: events, in the order of columns().
// clang-format off
const state_name table[state_names][11] = {
    //                begin         ok            failed        refused       lost          disable    enable        stop      start         restart  tick
    /* fresh        */{trying,       fresh,        fresh,        fresh,        fresh,        fresh,     fresh,        fresh,    fresh,        fresh,   fresh},
    /* trying       */{trying,       healthy,      waiting,      waiting,      trying,       by_person, trying,       stopped,  trying,       trying,  trying},
    /* waiting      */{waiting,      waiting,      waiting,      waiting,      waiting,      by_person, waiting,      stopped,  trying,       trying,  waiting},
    /* healthy      */{healthy,      healthy,      healthy,      healthy,      trying,       by_person, healthy,      stopped,  healthy,      trying,  healthy},
    /* open_waiting */{open_waiting, open_waiting, open_waiting, open_waiting, open_waiting, by_person, open_waiting, stopped,  open_trying,  trying,  open_waiting},
    /* open_trying  */{open_trying,  healthy,      open_waiting, open_waiting, open_trying,  by_person, open_trying,  stopped,  open_trying,  trying,  open_trying},
    /* stopped      */{stopped,      stopped,      stopped,      stopped,      stopped,      by_person, trying,       stopped,  trying,       trying,  stopped},
    /* by_person    */{by_person,    by_person,    by_person,    by_person,    by_person,    by_person, trying,       by_person, by_person,   by_person, by_person},
    /* automatic    */{automatic,    automatic,    automatic,    automatic,    automatic,    by_person, trying,       automatic, automatic,   automatic, automatic},
};
// clang-format on

TEST(status_table, every_event_in_every_state_leads_where_the_table_says) {
    for (int s = 0; s < state_names; ++s) {
        ASSERT_EQ(name_of(make(static_cast<state_name>(s)).m), s) << names[s];
        for (std::size_t e = 0; e < columns().size(); ++e) {
            subject x = make(static_cast<state_name>(s));
            x.on(columns()[e].event);
            EXPECT_EQ(names[name_of(x.m)], std::string(names[table[s][e]])) << names[s] << " × " << columns()[e].name;
        }
    }
}

/// What must hold after any event, whatever came before.
void check(const subject& x, status before) {
    const auto& s = x.m.state;
    int changes = 0, connects = 0;
    for (const auto& a : x.out) {
        if (auto* c = std::get_if<act::changed>(&a)) {
            EXPECT_NE(c->from, c->to);
            EXPECT_FALSE(c->reason.empty());
            ++changes;
        }
        connects += std::get_if<act::connect>(&a) != nullptr;
    }
    EXPECT_LE(changes, 1);
    EXPECT_LE(connects, 1) << "one attempt at a time";
    if (changes == 0) {
        EXPECT_EQ(s.now, before) << "a change of status without its event";
    }
    EXPECT_TRUE(connects == 0 || s.attempting);
    if (s.now == status::disabled) {
        EXPECT_NE(s.disabled, disabled_by::nobody);
        EXPECT_FALSE(s.attempting || s.scheduled);
        EXPECT_FALSE(x.m.next_deadline());
    } else if (s.begun) {
        EXPECT_EQ(s.disabled, disabled_by::nobody);
    }
    if (s.now == status::healthy) {
        EXPECT_EQ(s.failures, 0u);
        EXPECT_FALSE(s.attempting || s.scheduled);
    }
    if (s.begun && (s.now == status::disconnected || s.now == status::circuit_open)) {
        ASSERT_TRUE(x.m.next_deadline()) << "nothing would ever happen again";
        EXPECT_LE(*x.m.next_deadline(), s.last_healthy + std::chrono::minutes(30));
    }
}

TEST(status_table, invariants_hold_in_any_order_of_events) {
    const std::uint64_t seed = 20'261'121;
    RecordProperty("seed", static_cast<int>(seed));
    std::mt19937_64 dice(seed);
    for (int run = 0; run < 300; ++run) {
        subject x;
        for (int step = 0; step < 400; ++step) {
            const auto before = x.m.state.now;
            const auto next = x.m.next_deadline();
            switch (dice() % 4) {
                case 0: if (next) x.now = std::max(x.now, *next); break;
                case 1: x.now += milliseconds(dice() % 60'000); break;
                default: break;
            }
            // Mostly the events of ordinary life, so that deep states are reached.
            const std::size_t e = dice() % 3 ? std::array<std::size_t, 5>{0, 1, 2, 4, 10}[dice() % 5] : dice() % columns().size();
            x.on(columns()[e].event);
            check(x, before);
            if (HasFailure()) FAIL() << "run " << run << " step " << step << " event " << columns()[e].name;
        }
    }
}

}  // namespace
}  // namespace holdfast::servers
