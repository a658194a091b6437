// holdfast-scripted-web [PORT]: the web UI over a scripted host with one session kept in memory: it asks before its only tool,
// streams word by word, and a server goes down and comes back. For the browser test and for working on the pages.
#include <csignal>
#include <cstdio>
#include <set>

#include "unit/ui_http/scripted_host.hpp"

using namespace holdfast::test;
namespace sdk = holdfast::sdk;

namespace {
/// One actor: everything that happens later happens on its thread, in order.
class later {
  public:
    later() : thread_([this] { run(); }) {}
    ~later() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }
    void in(std::chrono::milliseconds delay, std::function<void()> f) {
        const std::lock_guard lock(mutex_);
        tasks_.emplace(std::chrono::steady_clock::now() + delay, std::move(f));
        changed_.notify_all();
    }

  private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!ended_) {
            if (tasks_.empty()) changed_.wait(lock);
            else if (tasks_.begin()->first > std::chrono::steady_clock::now()) changed_.wait_until(lock, tasks_.begin()->first);
            else {
                auto task = std::move(tasks_.begin()->second);
                tasks_.erase(tasks_.begin());
                lock.unlock();
                task();
                lock.lock();
            }
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> tasks_;
    bool ended_ = false;
    std::thread thread_;
};

struct session {
    std::string id, title, state = "idle";
    json messages = json::array(), pending = json::array();
    int next = 1;
};

class world {
    using guard = std::lock_guard<std::recursive_mutex>;  // calls come from the threads of the web server

  public:
    explicit world(scripted_host& h) : host_(h) { script(); }
    void fail_all(bool down) {
        const guard lock(mutex_);
        for (auto& s : servers_) {
            const std::string before = s["status"];
            if (before == "disabled") continue;
            s["status"] = down ? "disconnected" : "healthy";
            s["reason"] = down ? "the process exited with status 1" : "";
            s["recovery_eta"] = down ? json("2s") : json();
            s["consecutive_failures"] = down ? 3 : 0;
            host_.publish("session:admin_dashboard", {{"type", "mcp_status_change"}, {"mcp_name", s["name"]}, {"old_status", before}, {"new_status", s["status"]}, {"reason", s["reason"]}, {"recovery_eta", s["recovery_eta"]}});
        }
        if (down) host_.publish("session:admin_dashboard", {{"type", "critical_alert"}, {"reason", "several MCP servers failed at once"}, {"mcp_names", {"demo", "files"}}});
    }

  private:
    std::string topic(const session& s) { return "session:" + s.id; }
    void emit(session& s, json e) {
        e["session_id"] = s.id;
        host_.publish(topic(s), std::move(e));
    }
    void to_state(session& s, const std::string& state) {
        emit(s, {{"type", "SessionStateChanged"}, {"old_state", s.state}, {"new_state", state}});
        s.state = state;
    }
    json snapshot(session& s) {
        return {{"session_id", s.id}, {"title", s.title}, {"state", s.state}, {"epoch", 1}, {"seq", host_.last_seq(topic(s))}, {"llm", "demo"}, {"servers", json::array()},
                {"messages", s.messages}, {"has_more", false}, {"stream", nullptr}, {"pending", s.pending}, {"stats", json::object()}};
    }
    std::string add(session& s, const std::string& role, const std::string& text, const std::string& status) {
        json m{{"id", "m" + std::to_string(s.next++)}, {"role", role}, {"text", text}, {"status", status}, {"at", "2026-11-21T12:00:00Z"}};
        s.messages.push_back(m);
        emit(s, {{"type", "MessageAdded"}, {"message_id", m["id"]}, {"message", m}});
        return m["id"];
    }
    json& message(session& s, const std::string& id) {
        for (auto& m : s.messages)
            if (m["id"] == id) return m;
        throw std::logic_error("no message " + id);
    }
    void stream(const std::string& sid, const std::string& mid, std::vector<std::string> words, std::size_t at, json calls) {
        later_.in(std::chrono::milliseconds(25), [=, this] {
            const guard lock(mutex_);
            session& s = sessions_.at(sid);
            if (at < words.size()) {
                message(s, mid)["text"] = message(s, mid)["text"].get<std::string>() + words[at];
                emit(s, {{"type", "StreamChunkReceived"}, {"message_id", mid}, {"chunk", words[at]}, {"index", at}});
                return stream(sid, mid, words, at + 1, calls);
            }
            auto& m = message(s, mid);
            m["status"] = "complete";
            m["tool_calls"] = calls;
            emit(s, {{"type", "StreamCompleted"}, {"message_id", mid}, {"final_content", m["text"]}, {"tool_calls", calls}, {"stats", json::object()}});
            if (calls.empty()) return to_state(s, "idle");
            json p{{"request_id", "r-" + mid}, {"kind", "permission"}, {"prompt", "Allow demo/current_time to run?"}, {"options", {"allow_once", "allow_always", "deny"}}, {"server", "demo"}, {"tool", "current_time"},
                   {"arguments", calls[0]["arguments"]}, {"call_id", calls[0]["id"]}, {"expires_at", "2099-01-01T00:00:00Z"}};
            s.pending.push_back(p);
            m["tool_calls"][0]["status"] = "asked";
            json e = p;
            e["type"] = "PermissionRequired";
            e["server_name"] = "demo";
            e["tool_name"] = "current_time";
            emit(s, e);
            to_state(s, "awaiting_permission");
        });
    }
    static std::vector<std::string> words_of(const std::string& text) {
        std::vector<std::string> out{""};
        for (char c : text) {
            out.back() += c;
            if (c == ' ' || c == '\n') out.emplace_back();
        }
        return out;
    }
    void answer(session& s, const std::string& text, json calls = json::array()) {
        to_state(s, "thinking");
        const auto mid = add(s, "assistant", "", "streaming");
        stream(s.id, mid, words_of(text), 0, std::move(calls));
    }
    void script() {
        const auto on = [this](const std::string& name, std::function<json(const json&)> f) {
            host_.on(name, [this, f](auto c) {
                json r;
                std::string why;
                {
                    const guard lock(mutex_);
                    try {
                        r = f(c.params);
                    } catch (const std::exception& e) {
                        why = e.what();
                    }
                }
                if (why.empty()) c.done(std::move(r));
                else c.fail(HF_E_NOT_FOUND, {{"code", "session_not_found"}, {"message", "this session does not exist"}});
            });
        };
        on("session.create", [this](const json&) {
            session s;
            s.id = "s" + std::to_string(sessions_.size() + 1);
            sessions_[s.id] = s;
            host_.publish("session:system", {{"type", "SessionStarted"}, {"session_id", s.id}, {"user_id", "local"}});
            return json{{"session_id", s.id}};
        });
        on("session.list", [this](const json&) {
            json rows = json::array();
            for (auto& [id, s] : sessions_)
                rows.push_back({{"session_id", id}, {"title", s.title}, {"state", s.state}, {"live", true}, {"messages", s.messages.size()}, {"updated_at", "2026-11-21T12:00:0" + id.substr(1) + "Z"}});
            return json{{"sessions", rows}};
        });
        on("session.get", [this](const json& p) { return snapshot(sessions_.at(p["session_id"])); });
        on("session.destroy", [this](const json& p) {
            sessions_.erase(p["session_id"].get<std::string>());
            return json::object();
        });
        on("session.send", [this](const json& p) {
            session& s = sessions_.at(p["session_id"]);
            const std::string text = p["content"];
            if (s.title.empty()) {
                s.title = text.substr(0, 40);
                emit(s, {{"type", "SessionConfigured"}, {"title", s.title}});
            }
            const auto id = add(s, "user", text, "complete");
            if (text.find("time") != text.npos)
                answer(s, "Let me look at the clock.", json::array({{{"id", "c" + std::to_string(s.next)}, {"server", "demo"}, {"tool", "current_time"}, {"arguments", {{"timezone", "UTC"}}}, {"status", "proposed"}}}));
            else if (text.find("address") != text.npos) {
                json e{{"request_id", "u" + std::to_string(s.next)}, {"kind", "input"}, {"prompt", "Sign in to go on"}, {"options", {"accept", "decline", "cancel"}}, {"server", "demo"}, {"tool", "ask"},
                       {"expires_at", "2099-01-01T00:00:00Z"}, {"url", "https://accounts.example.org@site.example/sign-in?x=%3Cb%3E"}};
                s.pending.push_back(e);
                e["type"] = "PermissionRequired";
                e["server_name"] = "demo";
                emit(s, e);
                to_state(s, "awaiting_permission");
            } else if (text.find("form") != text.npos) {
                json p2{{"request_id", "f" + std::to_string(s.next)}, {"kind", "input"}, {"prompt", "Which colour do you want?"}, {"options", {"accept", "decline", "cancel"}}, {"server", "demo"}, {"tool", "ask"}, {"expires_at", "2099-01-01T00:00:00Z"},
                        {"schema", json::parse(R"({"type":"object","required":["colour"],"properties":{"colour":{"type":"string","title":"Colour","enum":["red","green"]},"count":{"type":"integer","title":"How many","minimum":1,"default":2},"note":{"type":"string","title":"Note","description":"anything else"},"gift":{"type":"boolean","title":"As a gift"}}})")}};
                s.pending.push_back(p2);
                json e = p2;
                e["type"] = "PermissionRequired";
                e["server_name"] = "demo";
                e["tool_name"] = "ask";
                emit(s, e);
                to_state(s, "awaiting_permission");
            } else
                answer(s, "I am a **demonstration model**. Here is what I can show:\n\n- lists, with `code`\n- [links](https://example.org) and <script>alert(1)</script> as text\n\n```cpp\nint main() { return 0; }\n```\n\n| tool | server |\n|---|---|\n| current_time | demo |\n");
            return json{{"message_id", id}, {"seq", host_.last_seq(topic(s))}};
        });
        on("session.resolve", [this](const json& p) {
            session& s = sessions_.at(p["session_id"]);
            const json asked = s.pending.empty() ? json::object() : s.pending[0];
            s.pending = json::array();
            const std::string decision = p["decision"], call = asked.value("call_id", "");
            emit(s, {{"type", "PermissionResolved"}, {"request_id", p["request_id"]}, {"decision", decision}, {"resolved_by", "local (web)"}, {"call_id", call}});
            json* found = nullptr;
            for (auto& m : s.messages)
                if (m.contains("tool_calls"))
                    for (auto& c : m["tool_calls"])
                        if (c["id"] == call) found = &c;
            if (decision == "deny" || !found) {
                if (found) (*found)["status"] = "denied";
                answer(s, "Then I cannot tell the time.");
            } else {
                to_state(s, "running_tool");
                emit(s, {{"type", "ToolCallIntent"}, {"call_id", call}, {"server_name", "demo"}, {"tool_name", "current_time"}});
                const json result = {{"content", {{{"type", "text"}, {"text", "2026-11-21T12:00:00Z"}}}}};
                (*found)["status"] = "result";
                (*found)["result"] = result;
                emit(s, {{"type", "MCPToolExecuted"}, {"call_id", call}, {"server_name", "demo"}, {"tool_name", "current_time"}, {"status", "result"}, {"result", result}, {"duration", 12}});
                answer(s, "It is **2026-11-21T12:00:00Z** (UTC).");
            }
            return json{{"request_id", p["request_id"]}, {"decision", decision}, {"resolved_by", "local (web)"}, {"first", true}};
        });
        on("session.input", [this](const json& p) {
            session& s = sessions_.at(p["session_id"]);
            s.pending = json::array();
            emit(s, {{"type", "PermissionResolved"}, {"request_id", p["request_id"]}, {"decision", p["action"]}, {"resolved_by", "local (web)"}, {"kind", "input"}});
            answer(s, "You said: `" + p.value("content", json()).dump() + "`");
            return json{{"first", true}};
        });
        on("session.command", [](const json& p) { return json{{"text", "/help  this list\n/model [name|auto]  which model answers\nyou typed " + p["command"].get<std::string>()}}; });
        on("session.cancel", [this](const json& p) {
            to_state(sessions_.at(p["session_id"]), "idle");
            return json{{"cancelled", true}};
        });
        on("session.history", [](const json&) { return json{{"messages", json::array()}, {"has_more", false}}; });
        on("events.read", [](const json&) { return json{{"events", json::array()}, {"seq", 0}, {"epoch", 1}, {"first", 1}}; });
        on("host.info", [](const json&) { return json{{"name", "holdfast"}, {"version", "scripted"}}; });
        on("host.health", [this](const json&) {
            int good = 0, bad = 0, off = 0;
            for (const auto& s : servers_) ++(s["status"] == "healthy" ? good : s["status"] == "disabled" ? off : bad);
            return json{{"status", bad ? "degraded" : "ok"}, {"servers", {{"healthy", good}, {"disconnected", bad}, {"circuit_open", 0}, {"disabled", off}}}, {"plugins", {{"active", 3}, {"failed", 0}}}, {"store", {{"writable", true}}}, {"uptime_ms", 83'000}};
        });
        on("host.tree", [](const json&) {
            return json::parse(R"({"id":"root","kind":"supervisor","state":"running","restarts":0,"uptime_ms":83000,"children":[{"id":"plugins","kind":"supervisor","state":"running","children":[{"id":"web","kind":"instance","state":"running","restarts":0,"uptime_ms":80000,
              "children":[{"id":"http-0","kind":"worker","state":"running"},{"id":"http-1","kind":"worker","state":"running","restarts":2,"last_exit":"error: boom","uptime_ms":9000}]}]},{"id":"servers","kind":"supervisor","state":"running","children":[{"id":"demo","kind":"actor","state":"running","pid":4242}]}]})");
        });
        on("plugin.list", [](const json&) {
            return json::parse(R"({"plugins":[{"id":"web","use":"ui-http","kind":"ui","version":"0.1.0","state":"active","restarts":0,"reason":""},{"id":"demo","use":"llm-demo","kind":"llm","version":"0.1.0","state":"active","restarts":1},{"id":"tui","use":"ui-tui","kind":"ui","version":"0.1.0","state":"on_demand","restarts":0,"reason":"starts when it is asked for"}]})");
        });
        on("llm.list", [](const json&) { return json{{"default", "auto"}, {"chosen", "demo"}, {"reason", "no key is set and no local server answers"}, {"adapters", json::array()}}; });
        on("server.list", [this](const json&) { return json{{"servers", servers_}}; });
        on("server.log", [asked = 0](const json& p) mutable {  // one line more each time, and one that would be dangerous as HTML
            json lines{"<img src=x onerror=alert(1)> of " + p["name"].get<std::string>()};
            for (int i = 0; i <= asked; ++i) lines.push_back("line " + std::to_string(i));
            ++asked;
            return json{{"lines", std::move(lines)}};
        });
        on("tool.list", [](const json&) { return json::parse(R"({"version":1,"tools":[{"server":"demo","name":"current_time"}]})"); });
        for (const std::string action : {"start", "stop", "restart", "enable", "disable"})
            on("server." + action, [this, action](const json& p) {
                for (auto& s : servers_)
                    if (s["name"] == p["name"]) {
                        const json before = s["status"];
                        s["status"] = action == "disable" || action == "stop" ? "disabled" : "healthy";
                        s["enabled"] = action != "disable";
                        s["reason"] = action == "disable" ? "disabled by a person" : action == "stop" ? "stopped by a person" : "";
                        host_.publish("session:admin_dashboard", {{"type", "mcp_status_change"}, {"mcp_name", s["name"]}, {"old_status", before}, {"new_status", s["status"]}, {"reason", s["reason"]}});
                        return s;
                    }
                throw std::out_of_range("no such server");
            });
    }

    scripted_host& host_;
    std::recursive_mutex mutex_;
    std::map<std::string, session> sessions_;
    std::vector<json> servers_{json::parse(R"({"name":"demo","status":"healthy","transport":"stdio","protocol_version":"2026-07-28","tools":9,"circuit_state":"closed","consecutive_failures":0,"total_downtime_seconds":0,"last_check":"2026-11-21T12:00:00Z","enabled":true})"),
                               json::parse(R"({"name":"files","status":"healthy","transport":"stdio","protocol_version":"2025-11-25","tools":14,"circuit_state":"closed","consecutive_failures":0,"total_downtime_seconds":75,"enabled":true})"),
                               json::parse(R"({"name":"remote","status":"circuit_open","transport":"http","tools":0,"circuit_state":"open","consecutive_failures":5,"total_downtime_seconds":612,"recovery_eta":"60s","reason":"connection refused","enabled":true})")};
    later later_;  // last: its thread ends first
};
}  // namespace

int main(int argc, char** argv) {
    sigset_t set;
    sigemptyset(&set);
    for (int s : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) sigaddset(&set, s);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);  // before any thread: all inherit it
    scripted_host host;
    world w(host);
    try {
        host.start({{"listen", "127.0.0.1:" + std::string(argc > 1 ? argv[1] : "0")}});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    std::printf("%s#token=%s\n", host.describe()["url"].get<std::string>().c_str(), host.token.c_str());
    std::fflush(stdout);
    for (int s = 0; sigwait(&set, &s) == 0;) {
        if (s == SIGUSR1) w.fail_all(true);   // every server at once
        else if (s == SIGUSR2) w.fail_all(false);
        else break;
    }
    host.stop();
}
