#include "ui-tui/chat_view.hpp"

#include <algorithm>

namespace holdfast::tui {
namespace {

constexpr const char* bold = "\x1b[1m";
constexpr const char* dim = "\x1b[2m";
constexpr const char* yellow = "\x1b[33m";
constexpr const char* red = "\x1b[31m";
constexpr const char* cyan = "\x1b[36m";

std::string text_of(const json& o, const char* key, std::string fallback = {}) {
    if (!o.is_object()) return fallback;
    const auto it = o.find(key);
    return it != o.end() && it->is_string() ? it->get<std::string>() : fallback;
}
std::uint64_t number_of(const json& o, const char* key) {
    const auto it = o.is_object() ? o.find(key) : o.end();
    return it != o.end() && it->is_number_integer() ? it->get<std::uint64_t>() : 0;
}
const json& part(const json& o, const char* key) {
    static const json none;
    const auto it = o.is_object() ? o.find(key) : o.end();
    return it != o.end() ? *it : none;
}
std::string compact(const json& v, std::size_t most = 400) {
    std::string s = v.dump(-1, ' ', false, json::error_handler_t::replace);
    if (s.size() > most) s = s.substr(0, most) + "…";
    return s;
}
std::string lower(std::string s) {
    s.erase(0, s.find_first_not_of(" \t"));
    s.erase(s.find_last_not_of(" \t\r") + 1);
    std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return s;
}

/// An address in which every character is one that can be seen, and none looks like another: the rest is percent-encoded.
std::string visible_address(const std::string& url) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : url) {
        const auto u = static_cast<unsigned char>(c);
        if (u > 0x20 && u < 0x7F) out += c;
        else (out += '%') += {digits[u >> 4], digits[u & 15]};
    }
    return out;
}

/// The part of an address that says whose it is: between the scheme and the path, without name and password.
std::string site_of(const std::string& url) {
    const auto begin = url.find("://");
    if (begin == std::string::npos) return {};
    std::string host = url.substr(begin + 3, url.find_first_of("/\\?#", begin + 3) - begin - 3);
    if (const auto at = host.rfind('@'); at != std::string::npos) host.erase(0, at + 1);
    return host;
}

/// A plain line as the content of a form: JSON as it is, else the one property there is.
json form_content(const json& schema, const std::string& line) {
    json parsed = json::parse(line, nullptr, false);
    if (parsed.is_object()) return parsed;
    const json& properties = part(schema, "properties");
    if (!properties.is_object() || properties.size() != 1) return nullptr;
    const std::string type = text_of(properties.begin().value(), "type", "string");
    if (type == "string") return {{properties.begin().key(), line}};
    if (parsed.is_discarded()) return nullptr;
    return {{properties.begin().key(), parsed}};
}

}  // namespace

bool request::plain() const { return is_input && (!url.empty() || !part(schema, "properties").is_object() || part(schema, "properties").empty()); }

answer escape_answer(const request& r) {
    if (r.is_input) return {true, "", {{"action", "cancel"}}};
    return {false, r.always ? "please answer y (once), a (always) or n (no)" : "please answer y (yes) or n (no)", {}};
}

answer read_answer(const request& r, const std::string& line) {
    const std::string word = lower(line);
    if (r.plain()) {
        if (word.empty() || word == "y" || word == "yes") {
            if (r.url.empty()) return {true, "", {{"action", "accept"}, {"content", json::object()}}};
            return {true, "", {{"action", "accept"}}};
        }
        if (word == "n" || word == "no" || word == "d" || word == "decline" || word == "/decline") return {true, "", {{"action", "decline"}}};
        if (word == "c" || word == "cancel" || word == "/cancel") return {true, "", {{"action", "cancel"}}};
        return {false, "please answer y (or Enter: yes), n (decline) or c (cancel)", {}};
    }
    if (r.is_input) {
        if (word == "/decline" || word == "/cancel") return {true, "", {{"action", word.substr(1)}}};
        const json content = form_content(r.schema, line);
        if (content.is_object()) return {true, "", {{"action", "accept"}, {"content", content}}};
        return {false, "type the values as a JSON object such as " + compact(part(r.schema, "properties"), 200) + ", or /decline", {}};
    }
    if (word == "y" || word == "yes") return {true, "", {{"decision", "allow_once"}}};
    if (r.always && (word == "a" || word == "always")) return {true, "", {{"decision", "allow_always"}}};
    if (word == "n" || word == "no") return {true, "", {{"decision", "deny"}}};
    return escape_answer(r);
}

void chat_view::add(std::vector<styled>& out, std::string text, const char* style) { out.push_back({std::move(text), style}); }

void chat_view::end_stream(std::vector<styled>& out) {
    if (std::exchange(streaming_, false)) add(out, "\n");
    stream_shown_ = 0;
    stream_id_.clear();
}

void chat_view::show_message(std::vector<styled>& out, const json& m) {
    const std::string role = text_of(m, "role");
    const std::string text = text_of(m, "text");
    if (role == "user") return add(out, "> " + text + "\n", bold);
    if (role == "assistant" && !text.empty()) add(out, text + (text_of(m, "status") == "interrupted" ? " [interrupted]" : "") + "\n");
    for (const json& call : part(m, "tool_calls")) add(out, "  [" + text_of(call, "server") + "/" + text_of(call, "tool") + ": " + text_of(call, "status") + "]\n", dim);
}

void chat_view::ask(std::vector<styled>& out, const json& e) {
    request r;
    r.id = text_of(e, "request_id");
    r.is_input = text_of(e, "kind") == "input";
    r.prompt = text_of(e, "prompt");
    r.url = visible_address(text_of(e, "url"));
    r.schema = part(e, "schema");
    if (const json& options = part(e, "options"); options.is_array()) r.always = std::find(options.begin(), options.end(), "allow_always") != options.end();
    if (std::any_of(requests_.begin(), requests_.end(), [&](const request& x) { return x.id == r.id; })) return;
    const std::string server = text_of(e, "server_name", text_of(e, "server"));  // in an event, in a snapshot
    add(out, (r.is_input ? "? " + (server.empty() ? "" : server + " asks: ") : "! ") + r.prompt + "\n", yellow);
    if (!r.url.empty()) {
        add(out, "  It wants you to open this address in a browser:\n  " + r.url + "\n");
        add(out, "  (site: " + site_of(r.url) + "; nothing is opened for you)\n", dim);
    }
    const json& arguments = part(e, "arguments");
    if (text_of(e, "kind") == "sampling") show_sampling(out, arguments);
    else if (!r.is_input && !arguments.is_null()) add(out, "  arguments: " + compact(arguments) + "\n", dim);
    requests_.push_back(std::move(r));
}

/// What a server wants to ask the model.
void chat_view::show_sampling(std::vector<styled>& out, const json& wanted) {
    std::string models;
    for (const json& hint : part(wanted, "model_hints"))
        if (hint.is_string()) models += (models.empty() ? "" : ", ") + hint.get<std::string>();
    if (!models.empty()) add(out, "  it would like: " + models + "\n", dim);
    if (const std::string system = text_of(wanted, "system_prompt"); !system.empty()) add(out, "  system: " + system + "\n", dim);
    if (const auto n = number_of(wanted, "earlier_messages")) add(out, "  (" + std::to_string(n) + " earlier messages)\n", dim);
    for (const json& m : part(wanted, "messages")) add(out, "  " + text_of(m, "role") + ": " + text_of(m, "text") + "\n", dim);
}

void chat_view::forget(const std::string& id) {
    std::erase_if(requests_, [&](const request& r) { return r.id == id; });
}

std::string chat_view::prompt() const {
    if (!requests_.empty()) {
        const request& r = requests_.front();
        if (r.plain()) return r.url.empty() ? "agree? [Y/n/c] " : "will you open it? [Y/n/c] ";
        return r.is_input ? "answer> " : r.always ? "allow? [y/a/n] " : "allow? [y/n] ";
    }
    if (state_ == "idle") return "> ";
    return state_ + "> ";
}

std::vector<styled> chat_view::attach(const json& snapshot, bool show_history) {
    std::vector<styled> out;
    end_stream(out);
    const bool resumed = epoch_ == number_of(snapshot, "epoch") && seq_ > 0;
    requests_.clear();
    state_ = text_of(snapshot, "state", "idle");
    if (!resumed) {
        epoch_ = number_of(snapshot, "epoch");
        seq_ = number_of(snapshot, "seq");
        if (show_history)
            for (const json& m : part(snapshot, "messages")) show_message(out, m);
        if (const json& stream = part(snapshot, "stream"); stream.is_object()) {
            stream_id_ = text_of(stream, "message_id");
            const std::string text = text_of(stream, "text");
            stream_shown_ = text.size();
            streaming_ = !text.empty();
            add(out, text);
        }
    } else if (const json& stream = part(snapshot, "stream"); stream.is_object()) {
        stream_id_ = text_of(stream, "message_id");  // its beginning is on the screen already
        stream_shown_ = text_of(stream, "text").size();
    }
    for (const json& p : part(snapshot, "pending")) ask(out, p);
    return out;
}

std::vector<styled> chat_view::on_event(const json& e) {
    std::vector<styled> out;
    const std::string type = text_of(e, "type");
    const std::uint64_t seq = number_of(e, "seq");
    if (type == "gap" || type == "epoch" || type == "closed") return out;  // the caller attaches anew
    if (seq <= seq_) return out;
    seq_ = seq;
    if (type == "MessageAdded") {
        const json& m = part(e, "message");
        if (text_of(m, "role") == "user") {
            end_stream(out);
            show_message(out, m);
        }
    } else if (type == "StreamChunkReceived") {
        if (stream_id_ != text_of(e, "message_id")) {
            end_stream(out);
            stream_id_ = text_of(e, "message_id");
        }
        const std::string chunk = text_of(e, "chunk");
        streaming_ = true;
        stream_shown_ += chunk.size();
        add(out, chunk);
    } else if (type == "StreamCompleted") {
        const std::string whole = text_of(e, "final_content");
        // What no chunk has shown (an answer that did not stream, or one taken over half way).
        if (stream_shown_ == 0 && !whole.empty()) {
            add(out, whole);
            streaming_ = true;
        }
        end_stream(out);
    } else if (type == "PermissionRequired") {
        end_stream(out);
        ask(out, e);
    } else if (type == "PermissionResolved") {
        const bool ours = std::any_of(requests_.begin(), requests_.end(), [&](const request& r) { return r.id == text_of(e, "request_id"); });
        forget(text_of(e, "request_id"));
        if (ours) add(out, "  " + text_of(e, "decision") + " by " + text_of(e, "resolved_by", "somebody") + "\n", dim);
    } else if (type == "MCPToolExecuted") {
        end_stream(out);
        add(out, "  [" + text_of(e, "server_name") + "/" + text_of(e, "tool_name") + ": " + text_of(e, "status", "result") + "]\n", cyan);
    } else if (type == "SamplingCompleted") {
        end_stream(out);
        const std::string what = text_of(e, "status") == "error" ? "no answer: " + text_of(e, "message") : "the model answered: " + text_of(e, "text");
        add(out, "  [" + text_of(e, "server_name") + "/" + text_of(e, "tool_name") + ": " + what + "]\n", dim);
    } else if (type == "SessionStateChanged") {
        state_ = text_of(e, "new_state", state_);
        if (state_ == "idle") idle_since_ = seq;
    } else if (type == "ErrorOccurred") {
        end_stream(out);
        add(out, text_of(e, "error_type") + ": " + text_of(e, "message") + "\n", red);
    } else if (type == "SessionEnded") {
        end_stream(out);
        add(out, "the session has ended: " + text_of(e, "reason") + "\n", red);
        state_ = "idle";
        requests_.clear();
    }
    return out;
}

}  // namespace holdfast::tui
