#pragma once
// What a session looks like in a terminal: events in, lines out. Pure; no terminal, no host.
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace holdfast::tui {

using json = nlohmann::json;

struct styled {
    std::string text;
    const char* style;  ///< SGR sequence of ours or ""
};

/// Something a person has to answer.
struct request {
    std::string id;
    bool is_input = false;   ///< a form or an address rather than a permission
    bool always = true;      ///< "always" is one of the answers
    std::string prompt;
    std::string url;         ///< to be opened by the person, never by us; "": a form
    json schema;
    /// The answer is yes or no, and Enter means yes: an address, or a form without fields.
    bool plain() const;
};

/// What an answer typed at a request means.
struct answer {
    bool understood = false;
    std::string hint;        ///< what to type, when not understood
    json params;             ///< decision, or action and content
};
answer read_answer(const request& r, const std::string& line);
answer escape_answer(const request& r);  ///< the key Esc

class chat_view {
  public:
    /// The snapshot: prints what came before (or only what is newer than the cursor taken over from another UI).
    std::vector<styled> attach(const json& snapshot, bool show_history);
    /// One event; those up to the snapshot's number are passed over.
    std::vector<styled> on_event(const json& event);

    /// Go on where another UI stopped: what it had shown is not shown again.
    void resume_after(std::uint64_t epoch, std::uint64_t seq) { epoch_ = epoch, seq_ = seq; }
    std::uint64_t seq() const { return seq_; }
    std::uint64_t epoch() const { return epoch_; }
    const std::string& state() const { return state_; }
    const std::deque<request>& requests() const { return requests_; }
    bool idle() const { return state_ == "idle" && requests_.empty(); }
    std::uint64_t idle_since() const { return idle_since_; }  ///< number of the last event that said so
    std::string prompt() const;  ///< of the input row

  private:
    void add(std::vector<styled>& out, std::string text, const char* style = "");
    void end_stream(std::vector<styled>& out);
    void show_message(std::vector<styled>& out, const json& m);
    void ask(std::vector<styled>& out, const json& e);
    void show_sampling(std::vector<styled>& out, const json& wanted);
    void forget(const std::string& id);

    std::uint64_t epoch_ = 0, seq_ = 0, idle_since_ = 0;
    std::string state_ = "idle";
    std::deque<request> requests_;
    bool streaming_ = false;        // a line of the answer is open
    std::string stream_id_;
    std::size_t stream_shown_ = 0;  // bytes of it printed
};

}  // namespace holdfast::tui
