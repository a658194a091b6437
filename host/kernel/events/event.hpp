#pragma once
// One published event: immutable, shared by everyone who watches, serialised at most once.
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernel/core/json.hpp"
#include "kernel/events/recycle.hpp"

namespace holdfast::events {

/// How a payload type becomes JSON fields and what it costs to keep. Specialise it, or give the type the two members
/// used here. append_fields writes `"a":1,"b":"x"`: no braces, no trailing comma, nothing at all for no fields; it
/// must not write the envelope's names (topic, seq, epoch, type, timestamp).
template <class Payload>
struct payload_traits {
    static void append_fields(std::string& out, const Payload& p) { p.append_fields(out); }
    static std::size_t bytes(const Payload& p) { return p.bytes(); }  ///< heap bytes beyond sizeof(Payload)
};

/// A JSON object; members that clash with the envelope are left out. Anything but an object is put under "value".
template <>
struct payload_traits<json> {
    static void append_fields(std::string& out, const json& p);
    static std::size_t bytes(const json& p);
};

/// Text of a JSON object serialised earlier ("{…}", no envelope names in it), for instance by the journal.
using object_text = std::shared_ptr<const std::string>;
template <>
struct payload_traits<object_text> {
    static void append_fields(std::string& out, const object_text& p);
    static std::size_t bytes(const object_text& p);
};

/// [any thread] All of it is immutable once published.
class event_body {
  public:
    event_body(const event_body&) = delete;
    event_body& operator=(const event_body&) = delete;
    virtual ~event_body() = default;

    const std::string& topic() const noexcept { return *topic_; }
    std::uint64_t seq() const noexcept { return seq_; }      ///< from 1, per topic and epoch, no holes
    std::uint64_t epoch() const noexcept { return epoch_; }  ///< another epoch = another history: fetch a snapshot
    std::int64_t timestamp_ms() const noexcept { return timestamp_ms_; }  ///< wall clock, since 1970
    const std::string& type() const noexcept { return type_; }

    /// {"topic","seq","epoch","type","timestamp",…payload}. Built by whoever asks first, once. Lives as long as the event.
    const std::string& text() const;

    /// The payload when it was published as a Payload, else null. The way for readers in this process.
    template <class Payload>
    const Payload* payload_as() const noexcept {
        return tag_ == tag_of<Payload>() ? static_cast<const Payload*>(payload_) : nullptr;
    }

    std::size_t cost_bytes() const noexcept { return cost_; }  ///< what the topic's byte limit counts for it

  protected:
    event_body(std::string_view type, const void* tag) : tag_(tag), type_(type) {}
    template <class Payload>
    static const void* tag_of() noexcept {
        static constexpr char tag = 0;
        return &tag;
    }
    virtual void append_fields(std::string& out) const = 0;

    const void* payload_ = nullptr;
    std::uint32_t cost_ = 0;

  private:
    friend class topic_log;  // numbers it, before anyone else can see it
    const void* tag_;
    std::shared_ptr<const std::string> topic_;  // shared with the topic, which may be dropped while the event is kept
    std::uint64_t seq_ = 0;
    std::uint64_t epoch_ = 0;
    std::int64_t timestamp_ms_ = 0;
    std::string type_;
    mutable std::once_flag once_;
    mutable std::unique_ptr<const std::string> text_;
};

/// Second owners: every consumer that keeps the event beyond its batch.
using event = std::shared_ptr<const event_body>;

/// The text as a buffer that keeps its event alive: for queues of outgoing frames.
inline std::shared_ptr<const std::string> shared_text(const event& e) { return {e, &e->text()}; }

template <class Payload>
class typed_body final : public event_body {
  public:
    template <class P>
    typed_body(std::string_view type, P&& p) : event_body(type, tag_of<Payload>()), value_(std::forward<P>(p)) {
        payload_ = &value_;
        // Twice: the payload, and the text that the first watcher makes of it.
        const std::size_t cost = sizeof(*this) + 2 * (payload_traits<Payload>::bytes(value_) + type.size());
        cost_ = static_cast<std::uint32_t>(cost < 0xffffffffu ? cost : 0xffffffffu);
    }

  private:
    void append_fields(std::string& out) const override { payload_traits<Payload>::append_fields(out, value_); }
    const Payload value_;
};

template <class P>
std::shared_ptr<event_body> make_body(std::string_view type, P&& payload) {
    using body = typed_body<std::decay_t<P>>;
    return std::allocate_shared<body>(recycling_allocator<body>{}, type, std::forward<P>(payload));
}

}  // namespace holdfast::events
