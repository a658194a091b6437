// ui-tui: chat in a terminal, line by line. One supervised worker reads the keyboard; events come from the host.
#include <unistd.h>

#include <deque>
#include <mutex>
#include <optional>

#include "holdfast/plugin.hpp"
#include "holdfast/ui.hpp"
#include "ui-tui/chat_view.hpp"
#include "ui-tui/line_editor.hpp"
#include "ui-tui/terminal.hpp"

namespace holdfast::tui {
namespace {

constexpr int poll_ms = 100;              // how soon a stop is noticed
constexpr std::chrono::seconds heartbeat{10};
constexpr std::chrono::seconds handover_time{2};  // a successor has to be there by then, or this interface goes on
constexpr const char* own_help =
    "  /new              a new session\n  /sessions         the newest sessions\n  /switch ID        go to another session\n"
    "  /quit             leave (Ctrl-D)\n  Ctrl-C            stop the answer under way\n";

std::string text_of(const json& o, const char* key) {
    const auto it = o.is_object() ? o.find(key) : o.end();
    return it != o.end() && it->is_string() ? it->get<std::string>() : std::string();
}

class tui_plugin final : public sdk::ui {
  public:
    tui_plugin(sdk::host& h, std::string_view settings) : ui(h, settings), terminal_(STDIN_FILENO, STDOUT_FILENO) {
        const json s = json::parse(settings_.empty() ? "{}" : settings_, nullptr, false);
        session_ = text_of(s, "session");
        approve_all_ = s.is_object() && s.value("approve_all", false);
        quit_at_end_ = s.is_object() && s.value("quit_at_end", false);
    }

    void start() override {
        terminal_.take();
        load_history();
        if (session_.empty()) new_session();
        else attach(!resumed_);
        host_.workers().start({.name = "keyboard", .restart = "transient", .heartbeat = heartbeat}, [this](sdk::worker_ctl& ctl) { read_keys(ctl); });
    }

    void stop() override {
        sdk::subscription last;
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
            last = std::move(subscription_);
        }
        last.close();
        terminal_.restore();
    }

    std::string describe() override { return R"({"terminal":true,"clients":1})"; }

    /// From here on nothing is shown, so that whoever goes on from this state neither repeats nor misses a word; if no one does, this
    /// interface itself goes on after a moment.
    std::string export_state() override {
        std::lock_guard lock(mutex_);
        held_until_ = std::chrono::steady_clock::now() + handover_time;
        return json{{"session", session_}, {"cursor", {{"epoch", view_.epoch()}, {"seq", view_.seq()}}}, {"draft", editor_.text()}}.dump(-1, ' ', false, json::error_handler_t::replace);
    }

    void import_state(std::string_view state) override {
        const json s = json::parse(state, nullptr, false);
        if (text_of(s, "session").empty()) return;
        std::lock_guard lock(mutex_);
        session_ = text_of(s, "session");
        const json& cursor = s.contains("cursor") ? s["cursor"] : json::object();
        if (cursor.is_object() && cursor.value("seq", 0) > 0) {
            view_.resume_after(cursor.value("epoch", std::uint64_t{0}), cursor.value("seq", std::uint64_t{0}));
            resumed_ = true;
        }
        editor_.set_text(text_of(s, "draft"));
    }

  private:
    // ---- the host -------------------------------------------------------------------------------------------------

    void call(const char* method, json params, std::function<void(const json& result)> done) {
        host_.api().call(method, params.dump(-1, ' ', false, json::error_handler_t::replace),
                         [this, done = std::move(done)](const sdk::status& s, std::string_view text) {
                             const json result = json::parse(text.empty() ? "{}" : text, nullptr, false);
                             if (s.ok()) return done ? done(result) : void();
                             std::string message = text_of(result, "message");
                             if (message.empty()) message = s.message;
                             say(message + "\n", "\x1b[31m");
                         });
    }

    void load_history() {
        call("history.list", {{"limit", 500}}, [this](const json& r) {
            std::vector<std::string> lines;
            if (r.is_object() && r.contains("lines"))
                for (const json& l : r["lines"])
                    if (l.is_string()) lines.push_back(l.get<std::string>());
            std::lock_guard lock(mutex_);
            editor_.set_history(std::move(lines));
        });
    }

    void new_session() {
        call("session.create", json::object(), [this](const json& r) {
            {
                std::lock_guard lock(mutex_);
                session_ = text_of(r, "session_id");
                view_ = {};
            }
            say("session " + text_of(r, "session_id") + " (type /help for commands)\n", "\x1b[2m");
            attach(false);
        });
    }

    /// Subscribe, then snapshot, then what came since: no gap, no duplicate.
    void attach(bool show_history) {
        std::string session;
        json options;
        {
            std::lock_guard lock(mutex_);
            session = session_;
            attached_ = false;
            early_.clear();
            options = {{"topic", "session:" + session}};
            if (resumed_) options.update({{"from", view_.seq() + 1}, {"epoch", view_.epoch()}});
        }
        auto fresh = host_.events().subscribe(options.dump(), [this, session](std::string_view e) { on_event(session, e); });
        sdk::subscription old;  // closed outside the lock: its handler takes it
        {
            std::lock_guard lock(mutex_);
            if (stopping_) return;
            old = std::exchange(subscription_, std::move(fresh));
        }
        old.close();
        call("session.get", {{"session_id", session}}, [this, session, show_history](const json& snapshot) {
            std::vector<styled> out;
            std::lock_guard in_order(screen_mutex_);
            {
                std::lock_guard lock(mutex_);
                if (session != session_) return;
                out = view_.attach(snapshot, show_history);
                resumed_ = false;
                attached_ = true;
                for (const json& e : early_)
                    for (styled& s : view_.on_event(e)) out.push_back(std::move(s));
                early_.clear();
            }
            show(out);
        });
    }

    void on_event(const std::string& session, std::string_view text) {
        const json e = json::parse(text, nullptr, false);
        const std::string type = text_of(e, "type");
        std::vector<styled> out;
        std::lock_guard in_order(screen_mutex_);
        {
            std::lock_guard lock(mutex_);
            if (session != session_ || stopping_) return;
            if (type == "gap" || type == "epoch" || (type == "closed" && text_of(e, "reason") != "unsubscribed")) {
                if (attached_) reattach_ = true;  // by the keyboard worker: a subscription cannot end itself here
                attached_ = false;
                return;
            }
            if (!attached_ || held_until_) {
                early_.push_back(e);
                return;
            }
            out = view_.on_event(e);
        }
        show(out);
        if (type == "PermissionRequired" && approve_all_ && text_of(e, "kind") != "input")
            call("session.resolve", {{"session_id", session}, {"request_id", text_of(e, "request_id")}, {"decision", "allow_once"}}, {});
    }

    // ---- the screen -----------------------------------------------------------------------------------------------

    void say(const std::string& text, const char* style = "") { show({{text, style}}); }

    void show(const std::vector<styled>& lines) {
        for (const styled& s : lines) terminal_.print(s.text, terminal_.interactive() ? s.style : "");
        std::lock_guard lock(mutex_);
        if (!stopping_) terminal_.show_input(editor_, view_.prompt());
    }

    // ---- the keyboard ---------------------------------------------------------------------------------------------

    void read_keys(sdk::worker_ctl& ctl) {
        std::string bytes;
        bool ended = false;
        while (!ctl.stop_requested()) {
            ctl.beat();
            {
                std::unique_lock lock(mutex_);
                if (std::exchange(reattach_, false)) {
                    lock.unlock();
                    attach(false);
                }
            }
            end_hold();
            take_queued();
            if (ended) {
                if (quit_when_idle()) return;
                if (ctl.wait(std::chrono::milliseconds(poll_ms / 5))) return;
                continue;
            }
            bytes.clear();
            const auto got = terminal_.read(bytes, poll_ms);
            if (got == terminal::wait::closed) ended = true;
            std::vector<typed> lines;
            {
                std::lock_guard lock(mutex_);
                lines = got == terminal::wait::nothing ? editor_.pause() : editor_.feed(bytes);
                if (!bytes.empty()) terminal_.show_input(editor_, view_.prompt());
            }
            // A person sees what they answer; a script's lines wait for the turn before them.
            if (terminal_.interactive())
                for (const typed& t : lines) handle(t);
            else
                queued_.insert(queued_.end(), lines.begin(), lines.end());
        }
    }

    /// The handover did not happen: what came meanwhile is shown now.
    void end_hold() {
        std::vector<styled> out;
        {
            std::lock_guard lock(mutex_);
            if (!held_until_ || std::chrono::steady_clock::now() < *held_until_) return;
            held_until_.reset();
            if (!attached_) return;  // attaching shows them
            for (const json& e : early_)
                for (styled& s : view_.on_event(e)) out.push_back(std::move(s));
            early_.clear();
        }
        show(out);
    }

    void take_queued() {
        while (!queued_.empty()) {
            {
                std::lock_guard lock(mutex_);
                if (!attached_ || !(turn_over() || question())) return;
            }
            const typed t = std::move(queued_.front());
            queued_.pop_front();
            handle(t);
        }
    }

    /// mutex_ held. What the next line answers. Tools that are approved anyway ask nobody.
    const request* question() const {
        for (const request& r : view_.requests())
            if (r.is_input || !approve_all_) return &r;
        return nullptr;
    }

    /// mutex_ held. The answer to everything sent is complete.
    bool turn_over() const { return sending_ == 0 && view_.idle() && !(awaited_seq_ > 0 && view_.idle_since() <= awaited_seq_); }

    /// After the end of the input: a piped conversation ends once its last answer is complete.
    bool quit_when_idle() {
        if (!quit_at_end_) return false;
        {
            std::lock_guard lock(mutex_);
            if (!attached_ || !queued_.empty() || !turn_over()) return false;
        }
        leave();
        return true;
    }

    /// The answer may come while this very plugin is being stopped: then there is nobody to tell.
    void leave() { host_.api().call("ui.stop", json{{"id", host_.id()}}.dump(), [](const sdk::status&, std::string_view) {}); }

    void handle(const typed& t) {
        if (t.what == typed::kind::end) return leave();
        std::string session;
        std::optional<request> asked;
        {
            std::lock_guard lock(mutex_);
            session = session_;
            if (const request* q = question()) asked = *q;
        }
        if (t.what == typed::kind::interrupt) {
            call("session.cancel", {{"session_id", session}}, {});
            return;
        }
        if (t.what == typed::kind::escape) {
            if (asked && asked->is_input) answer_request(session, *asked, escape_answer(*asked));
            return;
        }
        if (t.text.empty() && !(asked && asked->plain())) return;
        if (asked) return answer_request(session, *asked, read_answer(*asked, t.text));
        call("history.add", {{"line", t.text}}, {});
        if (t.text[0] == '/') return command(session, t.text);
        {
            std::lock_guard lock(mutex_);
            ++sending_;
        }
        host_.api().call("session.send", json{{"session_id", session}, {"content", t.text}}.dump(-1, ' ', false, json::error_handler_t::replace),
                         [this](const sdk::status& s, std::string_view text) {
                             const json r = json::parse(text.empty() ? "{}" : text, nullptr, false);
                             if (!s.ok()) say((text_of(r, "message").empty() ? s.message : text_of(r, "message")) + "\n", "\x1b[31m");
                             std::lock_guard lock(mutex_);
                             --sending_;
                             if (s.ok() && r.is_object()) awaited_seq_ = r.value("seq", std::uint64_t{0});
                         });
    }

    void answer_request(const std::string& session, const request& r, const answer& a) {
        if (!a.understood) return say(a.hint + "\n", "\x1b[33m");
        json params = a.params;
        params["session_id"] = session;
        params["request_id"] = r.id;
        call(r.is_input ? "session.input" : "session.resolve", std::move(params), {});
    }

    void command(const std::string& session, const std::string& line) {
        const std::string word = line.substr(0, line.find(' '));
        const std::string rest = line.size() > word.size() ? line.substr(word.size() + 1) : "";
        if (word == "/quit" || word == "/exit") return leave();
        if (word == "/new") return new_session();
        if (word == "/switch") {
            if (rest.empty()) return say("usage: /switch ID (see /sessions)\n");
            {
                std::lock_guard lock(mutex_);
                session_ = rest;
                view_ = {};
            }
            return attach(true);
        }
        if (word == "/sessions")
            return call("session.list", {{"limit", 20}}, [this](const json& r) {
                if (!r.contains("sessions")) return;
                for (const json& s : r["sessions"]) say("  " + text_of(s, "session_id") + "  " + text_of(s, "state") + "  " + text_of(s, "title") + "\n");
            });
        call("session.command", {{"session_id", session}, {"command", line}}, [this, help = word == "/help"](const json& r) {
            const std::string text = text_of(r, "text");
            say(text + (text.empty() || text.back() == '\n' ? "" : "\n") + (help ? own_help : ""));
        });
    }

    terminal terminal_;
    bool approve_all_ = false, quit_at_end_ = false;
    std::mutex screen_mutex_;  // taken before mutex_: what an event says reaches the screen in the order of the events
    std::mutex mutex_;         // guards what follows; never held across a call to the host
    std::string session_;
    chat_view view_;
    line_editor editor_;
    sdk::subscription subscription_;
    std::deque<json> early_;   // events that came before the snapshot
    std::optional<std::chrono::steady_clock::time_point> held_until_;
    bool attached_ = false, resumed_ = false, reattach_ = false, stopping_ = false;
    int sending_ = 0;
    std::uint64_t awaited_seq_ = 0;  // of the last message sent: its turn ends with an idle state of a larger number
    std::deque<typed> queued_;       // Owner: keyboard worker
};

}  // namespace
}  // namespace holdfast::tui

HOLDFAST_PLUGIN(holdfast::tui::tui_plugin, R"json({
  "id": "ui-tui", "kind": "ui", "version": "0.1.0", "abi": [1, 1], "interfaces": ["hf.ui/1"],"needs":["hf.worker/1","hf.api/1","hf.events/1"],
"check":{"starts":false},
  "description": "Chat in a terminal, line by line",
  "settings": {
    "type": "object", "additionalProperties": false,
    "properties": {
      "session": {"type": "string", "description": "Session to show; default: a new one"},
      "approve_all": {"type": "boolean", "default": false, "description": "Approve every tool call"},
      "quit_at_end": {"type": "boolean", "default": false, "description": "Stop this user interface when its input has ended and the answer is complete"}
    }
  }
})json")
