// The client's side of the protocol against a server that says anything at any time. An input is a script, one step a line:
//   m…  the server says this; '$' stands for the id of the newest request, '^' of the oldest that waits, '~' for the subscription's, '`' for a line feed
//   t…  so many milliseconds pass    c r p  a call, a read, a probe begins    a  the oldest question is answered: the rest of the line
//   x   the oldest call is cancelled  l n  the newest request is lost, refused by the transport   w…  this resource is watched
//   f   all lists are wanted          q    the connection ends
// What must hold: every call and every probe ends exactly once; no deadline lies in the past after a tick; nothing is sent
// after the end. An hour of it: tests/fuzz/run.sh mcp 3600
#include <deque>

#include "mcp/client_elicitation.hpp"
#include "mcp/client_machine.hpp"
#include "mcp/definition.hpp"

using namespace holdfast;
using namespace holdfast::mcp;

namespace {

constexpr std::size_t max_steps = 300;
constexpr int max_ticks = 10'000;

void must(bool holds) {
    if (!holds) std::abort();
}

struct play {
    client_machine machine;
    steady_time now{std::chrono::hours(1)};
    std::deque<std::string> waiting;
    std::string newest = "1", subscription = "0";
    std::map<call_id, int> calls;
    std::map<std::uint64_t, int> probes;
    std::deque<out::input> questions;
    call_id next = 1;

    explicit play(client_options o) : machine(std::move(o)) {}

    void on(client_event e) {
        const bool was_over = machine.is_over();
        std::vector<client_action> actions;
        machine.on(std::move(e), now, actions);
        for (auto& a : actions) {
            if (auto* s = std::get_if<out::send>(&a)) {
                must(!was_over);
                const auto sent = parse_json(s->text);
                must(sent.has_value() && decode(s->text).has_value());
                if (s->request_id.empty()) continue;
                newest = s->request_id;
                waiting.push_back(newest);
                if (waiting.size() > 64) waiting.pop_front();
                if (string_or(*sent, "method") == "subscriptions/listen") subscription = newest;
            } else if (auto* d = std::get_if<out::done>(&a)) {
                must(++calls[d->id] == 1);
            } else if (auto* p = std::get_if<out::probed>(&a)) {
                must(++probes[p->id] == 1);
            } else if (auto* i = std::get_if<out::input>(&a)) {
                must(calls[i->id] == 0);
                questions.push_back(*i);
            } else if (auto* w = std::get_if<out::input_withdrawn>(&a)) {
                std::erase_if(questions, [&](const out::input& q) { return q.id == w->id && q.key == w->key; });
            }
        }
        if (machine.is_over()) must(machine.pending_calls() == 0);
    }
    void pass(milliseconds span) {
        const auto until = now + span;
        for (int ticks = 0;; ++ticks) {
            must(ticks < max_ticks);
            const auto due = machine.next_deadline();
            if (!due || *due > until) break;
            now = std::max(now, *due);
            on(in::tick{});
            if (const auto after = machine.next_deadline()) must(*after > now);
        }
        now = until;
    }
    std::string filled(std::string_view text) const {
        std::string out;
        for (char c : text) {
            if (c == '$') out += newest;
            else if (c == '^') out += waiting.empty() ? newest : waiting.front();
            else if (c == '~') out += subscription;
            else if (c == '`') out += '\n';
            else out += c;
        }
        return out;
    }
    void begin(const char* method, json params) {
        calls.emplace(next, 0);
        in::call c;
        c.id = next;
        c.method = method;
        c.params = std::move(params);
        c.timeout = milliseconds(1'000);
        c.accepts_input = next % 3 != 0;
        c.wants_progress = next % 2 != 0;
        c.owner = next % 5 == 0 ? "b" : "a";
        if (next % 2 == 0) c.log_level = "debug";
        ++next;
        on(std::move(c));
    }
    void step(char what, std::string_view rest) {
        const error gone{errc::transport_lost, "gone"};
        switch (what) {
            case 'm': return on(in::message{filled(rest)});
            case 't': return pass(milliseconds(std::min(std::atoi(std::string(rest.substr(0, 7)).c_str()), 1'000'000)));
            case 'c': return begin("tools/call", {{"name", "echo"}, {"arguments", json::object()}});
            case 'r': return begin("resources/read", {{"uri", "a:1"}});
            case 'p': probes.emplace(next, 0); return on(in::probe{next++, milliseconds(500), nullptr});
            case 'a': {
                if (questions.empty()) return;
                const auto q = questions.front();
                questions.pop_front();
                auto answer = parse_json(rest);
                return on(in::answer{q.id, q.key, with_defaults(q.params, answer ? *answer : json{{"action", "accept"}})});
            }
            case 'x':
                for (auto& [id, ended] : calls)
                    if (!ended) return on(in::cancel{id, "no more"});
                return;
            case 'l': return on(in::request_failed{newest, gone, rest.empty() ? 0 : 404});
            case 'n': return on(in::send_failed{newest, gone});
            case 'w': return on(in::watch{{std::string(rest.substr(0, 20)), "a:1"}});
            case 'f': return on(in::refresh{});
            case 'q': return on(in::closed{gone});
            default: return;
        }
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    client_options o;
    o.http = data[0] & 1;
    o.known = data[0] & 2 ? era::legacy : era::unknown;
    o.limits.max_violations = 50;
    o.limits.max_cached_reads = 4;
    o.client_info = {{"name", "fuzz"}, {"version", "1"}};
    if (data[0] & 4) o.watched = {"a:1"}, o.log_level = "info";
    play p(std::move(o));
    p.on(in::opened{});
    std::string_view script(reinterpret_cast<const char*>(data) + 1, size - 1);
    for (std::size_t steps = 0; !script.empty() && steps < max_steps; ++steps) {
        const auto end = std::min(script.find('\n'), script.size());
        const auto line = script.substr(0, end);
        script.remove_prefix(std::min(end + 1, script.size()));
        if (!line.empty()) p.step(line[0], line.substr(1));
    }
    // Whatever was said: time alone ends every call.
    p.pass(milliseconds(3'600'000));
    for (const auto& [id, ended] : p.calls) must(ended == 1);
    for (const auto& [id, ended] : p.probes) must(ended == 1);
    must(p.machine.pending_calls() == 0);
    return 0;
}
