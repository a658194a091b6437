#pragma once
// The event streams of one legacy session: what is attached, what was sent and can be replayed, within a budget of bytes.
// Pure. Spec: MCP 2025-11-25, basic/transports, "Resumability and Redelivery".
#include <deque>
#include <map>

#include "mcp/gateway/types.hpp"

namespace holdfast::mcp::gateway {

class stream_board {
  public:
    /// `resumable`: events get ids and are kept (HTTP); `primed`: a stream begins with an empty event (2025-11-25).
    stream_board(const limits& l, bool resumable, bool primed) : limits_(l), resumable_(resumable), primed_(primed) {}

    using number = std::uint64_t;  ///< of a stream within the session; first part of its event ids
    static constexpr number standalone = 0;  ///< what belongs to no request

    /// A POST with requests. How many there may be at once is the caller's affair; of finished ones max_streams are kept.
    number open_post(stream_id on, std::size_t answers);
    /// A GET: without a last event the standalone stream, else the one of that event, with what came after it. false, and nothing
    /// has happened: there is no such stream any more.
    [[nodiscard]] bool attach(stream_id on, const std::string& last_event, steady_time now, actions& out);
    void gone(stream_id on, steady_time now);
    /// A message that is not the last one: makes an event stream of it.
    void send(number n, std::string text, steady_time now, actions& out);
    /// The answer to one of its requests; the last one ends the stream.
    void answer(number n, std::string text, steady_time now, actions& out);
    /// A request that gets no answer (it was cancelled). Nobody will come back for its stream.
    void skip(number n, steady_time now, actions& out);
    /// Opens the event stream of a request that has none yet.
    void ensure_open(number n, steady_time now, actions& out);
    void tick(steady_time now, actions& out);
    void close(actions& out);
    bool attached(number n) const;
    bool any_attached() const;
    std::size_t bytes() const { return bytes_; }

  private:
    struct event {
        std::uint64_t seq;
        std::string text;
    };
    struct stream {
        std::optional<stream_id> on;
        bool events = false;      ///< its head said so
        bool single = false;      ///< one answer and nothing else: plain JSON unless something came before
        std::size_t answers = 0;  ///< still to come
        bool done = false;
        std::uint64_t next = 1;
        std::uint64_t told = 0;   ///< the last event somebody was there to hear
        std::deque<event> kept;
        steady_time opened{};
        std::optional<steady_time> left;  ///< done or abandoned since
    };

    std::string event_id(number n, std::uint64_t seq) const { return resumable_ ? std::to_string(n) + "-" + std::to_string(seq) : std::string(); }
    void open_events(number n, stream& s, actions& out);
    void put(number n, stream& s, std::string text, actions& out);
    void finish(number n, steady_time now, actions& out);
    void drop(std::map<number, stream>::iterator it);
    void trim();

    limits limits_;
    bool resumable_, primed_;
    std::map<number, stream> streams_;
    number next_ = 1;
    std::size_t bytes_ = 0;
};

}  // namespace holdfast::mcp::gateway
