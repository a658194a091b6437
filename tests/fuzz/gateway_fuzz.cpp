// The gateway's side of the protocol against clients that say anything, in simulated time, with one server of each era behind it. An input
// is a script, one step a line; '$' stands for the session opened last, '^' for the requestState heard last, '~' for the newest request a
// server has not answered:
//   p…  this message comes over HTTP   s…  and over stdio   h…  what HTTP said besides, a JSON object, from here on   b  within the session
//   f   without it   l…  the session's own stream, after this event id   x  the oldest open stream's client leaves   d  the session is deleted
//   u   the other user acts from here on   t…  so many milliseconds pass   o… n…  the old, the new server says this   w  servers answer calls
//   k   and no longer   q…  the new one asks this first   c…  the "gateway" section becomes this   r  the old server is killed
// What must hold: every stream begins with a status and ends exactly once, with nothing after its end; every message is JSON-RPC; a modern
// request has exactly one answer, every other at most one a stream; nobody uses another user's session; nothing is left in the end.
// An hour of it: tests/fuzz/run.sh gateway 3600
#include "api/mcp_gateway.hpp"
#include "unit/servers/fake_world.hpp"

using namespace holdfast;
using servers::test::personality;
using servers::test::world;

namespace {

constexpr std::size_t max_steps = 200, max_streams = 64;
constexpr milliseconds longest_pause{120'000};
constexpr milliseconds until_over{60'000};  // longer than any limit below
const json section{{"call_timeout_s", 5}, {"limits", {{"session_idle_s", 30}, {"input_wait_s", 20}, {"requests_per_user", 8}, {"sessions_per_user", 4}, {"subscriptions", 4}}}};

void must(bool holds, const char* what, std::string_view seen = "") {
    if (holds) return;
    std::fprintf(stderr, "broken: %s %.*s\n", what, static_cast<int>(seen.size()), seen.data());
    std::abort();
}

/// One mcp.post or mcp.listen, as its edge sees it.
struct stream {
    std::string user, session, about;
    bool modern = false, headed = false, ended = false, left = false, events = false;
    int status = 0, messages = 0, answers = 0;
    api::cancel_fn cancel;
};

std::string text_of(const json& v) { return v.dump(-1, ' ', false, json::error_handler_t::replace); }

/// The servers: made again when an input has broken them.
struct ground {
    world w;
    ground() {
        for (const char* name : {"old", "new"}) {
            personality& p = w.transport.servers[name];
            p.legacy = name == std::string("old");
            p.tools = 2;
            p.capabilities = {{"tools", {{"listChanged", true}}}, {"prompts", json::object()}, {"resources", {{"subscribe", true}}}, {"logging", json::object()}, {"completions", json::object()}};
            p.answers["resources/list"] = {{"resources", {{{"uri", std::string(name) + ":1"}, {"name", "one"}}}}};
            p.answers["resources/templates/list"] = {{"resourceTemplates", {{{"uriTemplate", std::string(name) + "://{x}"}, {"name", "any"}}}}};
            p.answers["prompts/list"] = {{"prompts", {{{"name", "ask"}}}}};
        }
        w.apply(w.config({"old", "new"}));
        w.advance(seconds(1));
        must(whole(), "the servers do not start");
    }
    bool whole() { return w.status_of("old") == "healthy" && w.status_of("new") == "healthy"; }
    void calm() {
        for (auto& [name, p] : w.transport.servers) {
            p.ask.clear();
            w.transport.wake(name);
            p.asked.clear(), p.calls.clear(), p.wishes.clear(), p.called_on.clear(), p.opened_at.clear();
        }
    }
};

struct play {
    ground& g;
    std::shared_ptr<api::mcp_gateway> gateway;
    std::vector<std::shared_ptr<stream>> streams;  // second owners: their callbacks
    std::map<std::string, std::string> owners;     ///< of sessions
    json headers = json::object();
    std::string session, state, user = "ada";
    bool within = false;
    api::role rights;

    play(ground& on, unsigned char options) : g(on), rights(options & 2 ? api::role::viewer : options & 4 ? api::role::op : api::role::admin) {
        api::mcp_gateway_options o;
        o.runtime = &g.w.rt;
        o.bus = &g.w.bus;
        o.servers = g.w.set;
        gateway = api::mcp_gateway::create(std::move(o));
        json s = section;
        if (options & 1) s["prefix"] = "none";
        if (options & 8) s["page_size"] = 1;
        gateway->configure(s);
        g.w.rt.run_until_idle();
    }
    ~play() {
        g.calm();
        for (const auto& s : streams) leave(*s);
        for (const auto& [id, who] : owners) gateway->close({who, rights}, {{"session", id}}, [](result<json>) {});
        g.w.advance(until_over);
        for (const auto& s : streams) must(s->ended, "a stream never ends", s->about);
        gateway->configure(section);
        const json left = gateway->status();
        must(left["sessions"] == 0 && left["requests"] == 0 && left["subscriptions"] == 0, "something is left", text_of(left));
        gateway->stop();
    }

    void heard(stream& s, std::string_view chunk) {
        must(!s.ended, "a piece after the end", chunk);
        if (!s.headed) {
            const auto head = parse_json(chunk);
            must(head && head->is_object() && int_or(*head, "status", 0) >= 200 && int_or(*head, "status", 0) < 600, "no status first", chunk);
            s.headed = true;
            s.status = static_cast<int>(int_or(*head, "status", 0));
            s.events = bool_or(*head, "stream", false);
            if (const auto id = string_or(*head, "session"); !id.empty() && owners.emplace(id, s.user).second) session = id;
            if (const auto owner = owners.find(s.session); owner != owners.end() && owner->second != s.user && !s.modern)
                must(s.status == 404 || s.status == 400 || s.status == 503, "somebody else's session", chunk);
            return;
        }
        const auto line = chunk.find('\n');
        must(line != chunk.npos, "a piece without its first line", chunk);
        const auto text = chunk.substr(line + 1);
        if (text.empty()) return;
        must(++s.messages == 1 || s.events, "two messages in one answer", text);
        auto message = parse_json(text);
        must(message.has_value(), "no JSON", text);
        if (const json& result = member(*message, "result"); result.contains("requestState")) state = string_or(result, "requestState");
        for (const json& one : message->is_array() ? *message : json::array({*message})) {
            must(string_or(one, "jsonrpc") == "2.0" && (one.contains("method") != (one.contains("result") || one.contains("error"))), "no JSON-RPC", text);
            must(one.contains("method") || one.contains("result") != one.contains("error"), "neither result nor error, or both", text);
            if (!one.contains("method") && text_of(one["id"]) == s.about) ++s.answers;
        }
        must(s.answers <= 1, "two answers to one request", text);
    }
    void ended(stream& s) {
        must(!s.ended, "a stream ends twice", s.about);
        s.ended = true;
        if (!s.left) must(s.headed, "an end without a status", s.about);
        if (s.modern && !s.left && s.status == 200 && !s.about.empty()) must(s.answers == 1, "a request ends without its answer", s.about);
    }
    std::shared_ptr<stream> begin() {
        auto s = std::make_shared<stream>();
        s->user = user;
        streams.push_back(s);
        return s;
    }
    api::chunk_fn chunks(const std::shared_ptr<stream>& s) {
        return [this, s](std::string_view chunk) { heard(*s, chunk); };
    }
    api::reply end(const std::shared_ptr<stream>& s) {
        return [this, s](result<json> r) {
            must(r.has_value(), "the gateway failed inside", r ? "" : r.error().message);
            ended(*s);
        };
    }
    void post(const std::string& text, bool http) {
        const auto s = begin();
        json params{{"via", http ? "http" : "stdio"}, {"headers", headers}};
        if (within) params["session"] = s->session = session;
        if (auto message = parse_json(text)) {
            const json& id = member(*message, "id");
            if (message->contains("method") && (id.is_string() || id.is_number_integer())) s->about = text_of(id);
            s->modern = member(member(member(*message, "params"), "_meta"), mcp::meta::protocol_version).is_string() && !within;
            params["message"] = std::move(*message);
        } else {
            params["parse_error"] = "no JSON";
        }
        s->cancel = gateway->post({user, rights}, std::move(params), chunks(s), end(s));
    }
    void leave(stream& s) {
        if (s.ended || s.left) return;
        s.left = true;
        if (auto cancel = std::exchange(s.cancel, nullptr)) cancel();
    }
    std::string filled(std::string_view text) const {
        std::string newest = "1";
        for (const auto& [name, p] : g.w.transport.servers)
            if (!p.unanswered.empty()) newest = text_of(p.unanswered.back()["id"]);
        std::string out;
        for (char c : text) {
            if (c == '$') out += session;
            else if (c == '^') out += state;
            else if (c == '~') out += newest;
            else out += c;
        }
        return out;
    }
    void says(const char* name, const std::string& text) {
        personality& p = g.w.transport.servers[name];
        auto message = parse_json(text);
        if (p.conn != 0 && message && message->is_object()) g.w.transport.say(p, std::move(*message));
    }
    void step(char what, std::string_view rest) {
        switch (what) {
            case 'p':
            case 's':
                if (streams.size() < max_streams) post(filled(rest), what == 'p');
                break;
            case 'h':
                if (auto h = parse_json(filled(rest))) headers = std::move(*h);
                break;
            case 'b': within = true; break;
            case 'f': within = false; break;
            case 'l':
                if (streams.size() < max_streams) {
                    const auto s = begin();
                    s->session = session;
                    s->cancel = gateway->listen({user, rights}, {{"session", session}, {"last_event_id", filled(rest)}}, chunks(s), end(s));
                }
                break;
            case 'x':
                for (const auto& s : streams)
                    if (!s->ended && !s->left) {
                        leave(*s);
                        break;
                    }
                break;
            case 'd': gateway->close({user, rights}, {{"session", session}}, [](result<json>) {}); break;
            case 'u': user = user == "ada" ? "bob" : "ada"; break;
            case 't': g.w.advance(std::min(milliseconds(std::atoi(std::string(rest.substr(0, 6)).c_str())), longest_pause)); break;
            case 'o': says("old", filled(rest)); break;
            case 'n': says("new", filled(rest)); break;
            case 'w': g.calm(); break;
            case 'k':
                for (auto& [name, p] : g.w.transport.servers) p.answers_calls = false;
                break;
            case 'q': g.w.transport.servers["new"].ask = std::string(rest.substr(0, 20)); break;
            case 'c':
                if (auto c = parse_json(rest); c && c->is_object()) {
                    json s = section;
                    for (const char* key : {"prefix", "pinning", "enabled", "instructions"})
                        if (c->contains(key)) s[key] = (*c)[key];
                    gateway->configure(s);
                }
                break;
            case 'r':
                if (g.w.transport.servers["old"].conn != 0) g.w.transport.kill("old");
                break;
            default: break;
        }
        g.w.rt.run_until_idle();
    }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    static std::unique_ptr<ground> on;
    if (!on) {
        ::testing::FLAGS_gtest_throw_on_failure = true;
        on = std::make_unique<ground>();
    }
    {
        play p(*on, data[0]);
        std::string_view script(reinterpret_cast<const char*>(data) + 1, size - 1);
        for (std::size_t steps = 0; !script.empty() && steps < max_steps; ++steps) {
            const auto end = std::min(script.find('\n'), script.size());
            const auto line = script.substr(0, end);
            script.remove_prefix(std::min(end + 1, script.size()));
            if (!line.empty()) p.step(line[0], line.substr(1));
        }
    }
    if (!on->whole()) on = std::make_unique<ground>();
    return 0;
}
