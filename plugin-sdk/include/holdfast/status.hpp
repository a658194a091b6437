#pragma once
// Error codes, the exception that carries them, and the conversions between C++ and the C structs of the ABI.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/abi/base.h"

namespace holdfast::sdk {

/// CLOCK_MONOTONIC, the clock of every `*_ns` time that crosses the ABI.
using time_point = std::chrono::steady_clock::time_point;

inline time_point to_time(std::int64_t ns) { return time_point(std::chrono::nanoseconds(ns)); }
inline std::int64_t to_ns(time_point t) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
}

inline std::string_view view(hf_str s) { return s.length ? std::string_view(s.data, s.length) : std::string_view(); }
inline std::string_view view(hf_bytes b) {
    return b.length ? std::string_view(static_cast<const char*>(b.data), b.length) : std::string_view();
}
inline hf_str str(std::string_view s) { return {s.data(), s.size()}; }
inline hf_bytes bytes(std::string_view s) { return {s.data(), s.size()}; }

/// Outcome of a call: HF_OK or an HF_E_ code with one sentence for people.
struct status {
    std::int32_t code = HF_OK;
    std::string message;
    bool retryable = false;
    std::int32_t peer_status = 0;                ///< the peer's own number (HTTP status, errno), 0 = none
    std::chrono::milliseconds retry_after{0};    ///< 0 = not known

    bool ok() const { return code >= 0; }
    static status internal(std::string message) { return {HF_E_INTERNAL, std::move(message)}; }
};

/// Thrown by plugin code to answer with a code other than HF_E_INTERNAL; thrown by this SDK when the host refuses.
class plugin_error : public std::exception {
  public:
    plugin_error(std::int32_t code, std::string message) : status_{code, std::move(message)} {}
    explicit plugin_error(sdk::status s) : status_(std::move(s)) {}
    const char* what() const noexcept override { return status_.message.c_str(); }
    const sdk::status& status() const noexcept { return status_; }

  private:
    sdk::status status_;
};

/// An hf_error ready to be lent to the other side.
inline hf_error empty_error() {
    hf_error e{};
    e.size = sizeof(hf_error);
    return e;
}

/// Copies `text` with a final NUL into a fixed array, cut at a UTF-8 boundary.
inline void copy_text(char* to, std::size_t capacity, std::string_view text) noexcept {
    std::size_t n = std::min(text.size(), capacity - 1);
    if (n < text.size())
        while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
    if (n) std::memcpy(to, text.data(), n);
    to[n] = '\0';
}

/// Writes code and message into `err` (may be null); returns the code, so that `return fill(err, …)` ends a C function.
inline std::int32_t fill(hf_error* err, std::int32_t code, std::string_view message) noexcept {
    if (err && err->size >= sizeof(hf_error)) {
        const std::uint32_t size = err->size;
        *err = hf_error{};
        err->size = size;
        err->code = code;
        copy_text(err->message, sizeof err->message, message);
    }
    return code;
}
inline std::int32_t fill(hf_error* err, const status& s) noexcept {
    fill(err, s.code, s.message);
    if (err && err->size >= sizeof(hf_error)) {
        err->retryable = s.retryable;
        err->peer_status = s.peer_status;
        err->retry_after_ms = s.retry_after.count();
    }
    return s.code;
}

/// The status a returned code and its filled error describe. `err` may be null.
inline status from_error(std::int32_t code, const hf_error* err) {
    status s;
    s.code = code;
    if (err && err->size >= sizeof(hf_error)) {
        s.message.assign(err->message, ::strnlen(err->message, sizeof err->message));
        s.retryable = err->retryable != 0;
        s.peer_status = err->peer_status;
        s.retry_after = std::chrono::milliseconds(err->retry_after_ms);
    }
    return s;
}
inline status from_error(const hf_error* err) { return err ? from_error(err->code, err) : status{}; }

/// The exception in flight as a status. Call inside a catch block only.
inline status current_exception_status() noexcept {
    try {
        try {
            throw;
        } catch (const plugin_error& e) {
            status s = e.status();
            if (s.code >= 0) s.code = HF_E_INTERNAL;  // an exception is never a success
            return s;
        } catch (const std::exception& e) {
            return status::internal(e.what());
        } catch (...) {
            return status::internal("an exception that is not a std::exception");
        }
    } catch (...) {
        return status{HF_E_INTERNAL, {}};  // out of memory while describing it
    }
}

/// Runs `f` and turns whatever it throws into a code and `err`: the body of every function behind the ABI.
template <class F>
std::int32_t guard(hf_error* err, F&& f) noexcept {
    try {
        f();
        return HF_OK;
    } catch (...) {
        return fill(err, current_exception_status());
    }
}

/// Throws what a failed host call said.
inline void check(std::int32_t code, const hf_error& err) {
    if (code < 0) throw plugin_error(from_error(code, &err));
}

/// Fills `out` (caller's buffer) with an owned copy of `text`.
inline void give(hf_buf* out, std::string_view text) {
    char* copy = new char[text.size() + 1];
    if (!text.empty()) std::memcpy(copy, text.data(), text.size());
    copy[text.size()] = '\0';
    out->data = copy;
    out->length = text.size();
    out->owner = copy;
    out->release = [](hf_buf* b) {
        delete[] static_cast<char*>(b->owner);
        b->data = nullptr, b->owner = nullptr, b->length = 0, b->release = nullptr;
    };
}

/// Receives an owned buffer and releases it once.
class buffer {
  public:
    buffer() { buf_.size = sizeof(hf_buf); }
    ~buffer() {
        if (buf_.release) buf_.release(&buf_);
    }
    buffer(const buffer&) = delete;
    buffer& operator=(const buffer&) = delete;
    hf_buf* out() { return &buf_; }
    std::string_view text() const { return view(hf_bytes{buf_.data, buf_.length}); }

  private:
    hf_buf buf_{};
};

/// Reads a struct that begins with its size from a caller who may know fewer or more fields: the missing ones are zero.
template <class T>
T read_struct(const T* from) {
    T out{};
    std::memcpy(&out, from, std::min<std::size_t>(from->size, sizeof(T)));
    out.size = sizeof(T);
    return out;
}
/// Writes no more of a struct than the caller has room for; the caller's `size` stays.
template <class T>
void write_struct(T* to, const T& value) {
    const std::uint32_t size = to->size;
    std::memcpy(to, &value, std::min<std::size_t>(size, sizeof(T)));
    to->size = size;
}

/// True when `table` is recent enough to have `field`, and the slot is filled.
#define HOLDFAST_HAS(table, field)                                                                             \
    ((table) && (table)->size >= offsetof(std::remove_cvref_t<decltype(*(table))>, field) + sizeof((table)->field) && \
     (table)->field)

}  // namespace holdfast::sdk
