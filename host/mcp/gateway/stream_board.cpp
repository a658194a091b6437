#include "mcp/gateway/stream_board.hpp"

#include <algorithm>
#include <charconv>

namespace holdfast::mcp::gateway {

stream_board::number stream_board::open_post(stream_id on, std::size_t answers) {
    // Finished ones are kept for those who might come back; the present goes before the past.
    const auto finished = [](const auto& s) { return s.second.done && !s.second.on; };
    if (streams_.size() >= limits_.max_streams)
        if (const auto oldest = std::find_if(streams_.begin(), streams_.end(), finished); oldest != streams_.end()) drop(oldest);
    stream s;
    s.on = on;
    s.answers = answers;
    s.single = answers == 1;
    streams_.emplace(next_, std::move(s));
    return next_++;
}

void stream_board::open_events(number n, stream& s, actions& out) {
    if (s.events) return;
    s.events = true;
    if (!s.on) return;
    out.push_back(act::head{*s.on, 200, true});
    if (primed_ && resumable_) out.push_back(act::emit{*s.on, event_id(n, 0), {}});
}

void stream_board::ensure_open(number n, steady_time, actions& out) {
    if (auto it = streams_.find(n); it != streams_.end() && !it->second.done) open_events(n, it->second, out);
}

void stream_board::put(number n, stream& s, std::string text, actions& out) {
    const auto seq = s.next++;
    if (s.on) out.push_back(act::emit{*s.on, event_id(n, seq), text});
    if (s.on) s.told = seq;
    if (!resumable_) return;
    bytes_ += text.size();
    s.kept.push_back({seq, std::move(text)});
    trim();
}

void stream_board::send(number n, std::string text, steady_time, actions& out) {
    auto it = streams_.find(n);
    if (it == streams_.end() || it->second.done) {
        // Its stream is forgotten; what is not an answer may go on the standalone one.
        it = streams_.find(standalone);
        if (it == streams_.end()) return;
        n = standalone;
    }
    open_events(n, it->second, out);
    put(n, it->second, std::move(text), out);
}

void stream_board::answer(number n, std::string text, steady_time now, actions& out) {
    auto it = streams_.find(n);
    if (it == streams_.end()) return;
    stream& s = it->second;
    if (s.single && !s.events && s.on) {
        out.push_back(act::head{*s.on, 200, false});
        out.push_back(act::emit{*s.on, {}, std::move(text)});
        s.answers = 0;
        s.done = true;
        out.push_back(act::end{*s.on});
        streams_.erase(it);
        return;
    }
    open_events(n, s, out);
    put(n, s, std::move(text), out);
    if (--s.answers == 0) finish(n, now, out);
}

void stream_board::skip(number n, steady_time now, actions& out) {
    auto it = streams_.find(n);
    if (it == streams_.end()) return;
    open_events(n, it->second, out);
    if (--it->second.answers > 0) return;
    finish(n, now, out);
    // A client that finds its stream at an end without an answer comes back, again and again, for as long as it is there.
    if (it = streams_.find(n); it != streams_.end() && it->second.single) drop(it);
}

void stream_board::finish(number n, steady_time now, actions& out) {
    auto it = streams_.find(n);
    stream& s = it->second;
    s.done = true;
    s.left = now;
    if (s.on) out.push_back(act::end{*s.on});
    s.on.reset();
    if (s.kept.empty()) drop(it);
}

bool stream_board::attach(stream_id on, const std::string& last_event, steady_time now, actions& out) {
    number n = standalone;
    std::uint64_t seen = 0;
    if (const auto dash = last_event.find('-'); dash != std::string::npos) {
        const char* text = last_event.data();
        const bool fits = std::from_chars(text, text + dash, n).ptr == text + dash &&
                          std::from_chars(text + dash + 1, text + last_event.size(), seen).ptr == text + last_event.size();
        if (!fits) n = standalone, seen = 0;
        // In no case the standalone one instead: it has a reader, who would be cut off and hear everything again when it came back.
        if (n != standalone && !streams_.count(n)) return false;
    }
    const bool resumed = n != standalone || seen > 0;
    stream& s = streams_[n];
    if (!resumed) seen = s.told;  // who was there before has heard that
    // One reader each: the newer one is the one that is there. Whoever still waited has an empty stream, which it can resume.
    if (s.on && !s.events) out.push_back(act::head{*s.on, 200, true});
    if (s.on) out.push_back(act::end{*s.on});
    s.on = on;
    s.left.reset();
    s.events = true;
    out.push_back(act::head{on, 200, true});
    if (!resumed && primed_ && resumable_) out.push_back(act::emit{on, event_id(n, seen), {}});
    for (const event& e : s.kept)
        if (e.seq > seen) out.push_back(act::emit{on, event_id(n, e.seq), e.text});
    s.told = s.next - 1;
    if (!s.done) return true;
    out.push_back(act::end{on});
    s.on.reset();
    s.left = now;
    return true;
}

void stream_board::gone(stream_id on, steady_time now) {
    for (auto& [n, s] : streams_) {
        if (s.on != on) continue;
        s.on.reset();
        s.left = now;
        return;
    }
}

void stream_board::trim() {
    while (bytes_ > limits_.max_replay_bytes) {
        auto it = std::find_if(streams_.begin(), streams_.end(), [](const auto& s) { return !s.second.kept.empty(); });
        if (it == streams_.end()) return;
        bytes_ -= it->second.kept.front().text.size();
        it->second.kept.pop_front();
    }
}

void stream_board::drop(std::map<number, stream>::iterator it) {
    for (const event& e : it->second.kept) bytes_ -= e.text.size();
    streams_.erase(it);
}

void stream_board::tick(steady_time now, actions&) {
    for (auto it = streams_.begin(); it != streams_.end();) {
        const auto here = it++;
        const stream& s = here->second;
        if (s.done && !s.on && s.left && now - *s.left >= limits_.replay_keep) drop(here);
    }
}

void stream_board::close(actions& out) {
    for (auto& [n, s] : streams_) {
        if (!s.on) continue;
        if (!s.events) out.push_back(act::head{*s.on, 200, true});
        out.push_back(act::end{*s.on});
    }
    streams_.clear();
    bytes_ = 0;
}

bool stream_board::attached(number n) const {
    const auto it = streams_.find(n);
    return it != streams_.end() && it->second.on.has_value();
}

bool stream_board::any_attached() const {
    return std::any_of(streams_.begin(), streams_.end(), [](const auto& s) { return s.second.on.has_value(); });
}

}  // namespace holdfast::mcp::gateway
