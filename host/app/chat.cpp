// `holdfast chat`: one question and its answer (-m), or a conversation in this terminal through the terminal UI plugin.
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <iostream>

#include "app/command_line.hpp"
#include "app/commands.hpp"
#include "app/print.hpp"
#include "kernel/core/ids.hpp"

namespace holdfast::app {
namespace {

/// Events from the reader thread, taken on the main thread.
class event_queue {
  public:
    void push(json e) {
        std::lock_guard lock(mutex_);
        events_.push_back(std::move(e));
        changed_.notify_all();
    }
    void lost() {
        std::lock_guard lock(mutex_);
        lost_ = true;
        changed_.notify_all();
    }
    /// Null on loss or deadline.
    std::optional<json> next(steady_time deadline) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_until(lock, deadline, [&] { return lost_ || !events_.empty(); }) || events_.empty()) return std::nullopt;
        json e = std::move(events_.front());
        events_.pop_front();
        return e;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<json> events_;
    bool lost_ = false;
};

bool ask_person(const json& event) {
    std::cerr << printable(string_or(event, "prompt"), true) << "\n  arguments: " << printable(dump(member(event, "arguments"))) << "\nallow once? [y/N] " << std::flush;
    std::string line;
    return std::getline(std::cin, line) && (line == "y" || line == "Y" || line == "yes");
}

/// Prints one turn as it comes. The turn is over when the session is idle after our message.
class one_answer {
  public:
    one_answer(control_client& host, const common_options& o, const chat_options& c, std::string session)
        : host_(host), common_(o), chat_(c), session_(std::move(session)) {}

    int run() {
        host_.on_lost([this] { queue_.lost(); });
        auto sub = host_.subscribe({{"topic", "session:" + session_}}, [this](const json& e) { queue_.push(e); });
        if (!sub) return explain(sub.error());
        auto sent = host_.call("session.send", {{"session_id", session_}, {"content", chat_.message}, {"idem_key", random_id("cli-")}});
        if (!sent) return explain(sent.error());
        const std::uint64_t mine = (*sent)["seq"].get<std::uint64_t>();
        const auto deadline = std::chrono::steady_clock::now() + seconds(chat_.timeout_s);
        for (;;) {
            auto e = queue_.next(deadline);
            if (!e) {
                std::cerr << (host_.connected() ? "holdfast: no answer within " + std::to_string(chat_.timeout_s) + " s\n" : "holdfast: the host has gone away\n");
                return exit_failed;
            }
            if (int_or(*e, "seq", 0) <= static_cast<std::int64_t>(mine) && string_or(*e, "type") != "closed") continue;
            if (handle(*e)) break;
        }
        return finish();
    }

  private:
    /// true when the turn is over.
    bool handle(const json& e) {
        const std::string type = string_or(e, "type");
        if (type == "StreamChunkReceived") {
            if (!common_.as_json) {
                std::cout << printable(string_or(e, "chunk"), true) << std::flush;
                open_line_ = true;
            }
        } else if (type == "StreamCompleted") {
            answer_ = string_or(e, "final_content");
            end_line();
        } else if (type == "PermissionRequired") {
            answer_request(e);
        } else if (type == "MCPToolExecuted") {
            calls_.push_back({{"server", e["server_name"]}, {"tool", e["tool_name"]}, {"status", string_or(e, "status", "result")}, {"result", member(e, "result")}});
            if (!common_.as_json) std::cerr << "[" << printable(string_or(e, "server_name")) << "/" << printable(string_or(e, "tool_name")) << ": " << printable(string_or(e, "status", "result")) << "]\n";
        } else if (type == "ErrorOccurred") {
            failed_ = true;
            end_line();
            std::cerr << "holdfast: " << printable(string_or(e, "message"), true) << "\n";
        } else if (type == "SessionStateChanged") {
            return string_or(e, "new_state") == "idle";
        } else if (type == "closed" || type == "SessionEnded") {
            failed_ = true;
            return true;
        }
        return false;
    }

    void answer_request(const json& e) {
        end_line();
        const std::string request = string_or(e, "request_id");
        if (string_or(e, "kind", "permission") == "input") {  // nobody is here to fill in a form
            auto r = host_.call("session.input", {{"session_id", session_}, {"request_id", request}, {"action", "decline"}});
            if (!r) explain(r.error());
            return;
        }
        const bool allow = chat_.yes || (::isatty(STDIN_FILENO) && ask_person(e));
        if (!allow) denied_ = true;
        auto r = host_.call("session.resolve", {{"session_id", session_}, {"request_id", request}, {"decision", allow ? "allow_once" : "deny"}});
        if (!r) explain(r.error());
        const char* what = string_or(e, "kind") == "sampling" ? "a tool's question to the model" : "a tool call";
        if (!allow && !::isatty(STDIN_FILENO)) std::cerr << "holdfast: denied " << what << ": there is no terminal to ask in; --yes approves\n";
    }

    void end_line() {
        if (std::exchange(open_line_, false)) std::cout << std::endl;
    }

    int finish() {
        end_line();
        if (common_.as_json) std::cout << dump({{"session_id", session_}, {"answer", answer_}, {"tool_calls", calls_}}) << "\n";
        return failed_ ? exit_failed : denied_ ? exit_denied : exit_ok;
    }

    control_client& host_;
    const common_options& common_;
    const chat_options& chat_;
    const std::string session_;
    event_queue queue_;
    std::string answer_;
    json calls_ = json::array();
    bool open_line_ = false, failed_ = false, denied_ = false;
};

}  // namespace

int chat_command(const common_options& o, const chat_options& c) {
    const std::string dir = data_dir_of(o);
    if (dir.empty()) return exit_config;
    std::unique_ptr<borrowed_host> own;  // stopped when the chat ends
    auto client = control_client::connect(dir);
    if (!client && client.error().code == errc::unavailable) {
        auto started = borrowed_host::start(o, dir);
        if (!started) return explain(started.error());
        own = std::move(*started);
        client = control_client::connect(dir);
    }
    if (!client) return explain(client.error());
    control_client& host = **client;
    if (auto ready = host.call("host.wait_ready", json::object(), seconds(60)); !ready) return explain(ready.error());

    std::string session = c.session;
    if (session.empty()) {
        auto created = host.call("session.create", json::object());
        if (!created) return explain(created.error());
        session = (*created)["session_id"];
    } else if (auto known = host.call("session.get", {{"session_id", session}}); !known) {
        return explain(known.error());
    }
    if (c.has_message) return one_answer(host, o, c, session).run();
    return interactive_chat(host, o, session, c.yes);
}

}  // namespace holdfast::app
