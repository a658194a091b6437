#pragma once
// How a fuzzer's input is read: a list of operations, each [code][length, two bytes][payload], and frames made from a payload.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/plugins/isolation/wire.hpp"

namespace holdfast::fuzz {

using plugins::isolation::kind;

/// Bytes to be used up; past the end there are zeros.
class bytes {
  public:
    explicit bytes(std::string_view all) : rest_(all) {}
    bool empty() const { return rest_.empty(); }
    std::string_view take(std::size_t n) {
        const auto out = rest_.substr(0, n);
        rest_.remove_prefix(out.size());
        return out;
    }
    std::string_view rest() const { return rest_; }
    template <class T>
    T raw() {
        T v{};
        const auto got = take(sizeof v);
        std::memcpy(&v, got.data(), got.size());
        return v;
    }
    std::uint8_t byte() { return raw<std::uint8_t>(); }

  private:
    std::string_view rest_;
};

struct operation {
    std::uint8_t code = 0;
    std::string payload;
};

inline std::vector<operation> operations(std::string_view input, std::size_t most) {
    std::vector<operation> out;
    for (bytes in(input); !in.empty() && out.size() < most;) {
        operation o;
        o.code = in.byte();
        o.payload = std::string(in.take(in.raw<std::uint16_t>()));
        out.push_back(std::move(o));
    }
    return out;
}

inline std::string written(const std::vector<operation>& all) {
    std::string out;
    for (const auto& o : all) {
        const auto n = static_cast<std::uint16_t>(o.payload.size());
        out.push_back(static_cast<char>(o.code));
        out.append(reinterpret_cast<const char*>(&n), sizeof n);
        out.append(o.payload, 0, n);
    }
    return out;
}

/// What a runner says of its own accord, and the fields of it: n number of something, t text, b u8, H u16, i/u 32 bit, q 64 bit,
/// d double, e error, F flag and error, W result and error.
struct shape {
    kind what;
    const char* fields;
};
inline constexpr shape tells[] = {
    {kind::call_chunk, "nt"},  {kind::call_done, "nFt"}, {kind::conn_opened, "nt"}, {kind::conn_message, "nt"}, {kind::conn_request_failed, "nte"},
    {kind::conn_log, "nt"},    {kind::conn_closed, "nF"}, {kind::log_line, "itt"},  {kind::metric, "bttd"},     {kind::worker_ended, "nuW"},
    {kind::worker_beat, "n"},  {kind::escaped, "t"},
};
inline constexpr shape requests[] = {
    {kind::worker_start, "nttuu"}, {kind::worker_stop, "t"},  {kind::worker_wake, "t"},  {kind::publish, "t"},       {kind::subscribe, "nt"},
    {kind::unsubscribe, "n"},      {kind::spawn, "nt"},       {kind::process_write, "nt"}, {kind::process_stop, "nu"}, {kind::process_stats, "n"},
    {kind::api_submit, "nqttb"},    {kind::api_cancel, "n"},   {kind::api_describe, ""},  {kind::api_authenticate, "t"}, {kind::listen, "tH"},
};

class frame_maker {
  public:
    explicit frame_maker(kind k) { put(static_cast<std::uint16_t>(k)); }
    template <class T>
    frame_maker& put(T v) {
        data_.append(reinterpret_cast<const char*>(&v), sizeof v);
        return *this;
    }
    frame_maker& fields(const char* f, bytes& in) {
        for (; *f; ++f) field(*f, in);
        return *this;
    }
    /// The result, and what goes with one that is none.
    std::int32_t result(bytes& in) {
        const auto how = in.byte();
        const auto rc = how < 160 ? 0 : how < 180 ? 1 : how < 220 ? -1 - how % 20 : in.raw<std::int32_t>();
        put(rc);
        if (rc < 0) field('e', in);
        return rc;
    }
    std::string data() && { return std::move(data_); }

  private:
    template <class T>
    void number(bytes& in) {
        constexpr std::int64_t odd[] = {0, 1, -1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1'000'000'000, 30'000, 2};
        const auto how = in.byte();
        put(how < 200 ? static_cast<T>(how % 16) : how < 240 ? static_cast<T>(odd[how % std::size(odd)]) : in.raw<T>());
    }
    void text(bytes& in) {
        static constexpr std::string_view words[] = {
            "", "{}", "{\"type\":\"x\"}", "{\"topic\":\"session:*\"}", "{\"command\":\"true\"}", "{\"params\":{}}", "permanent", "temporary", "worker", "127.0.0.1", "[[[[[[", "\xff\xfe",
            "X", "E"};
        const auto how = in.byte();
        std::string s;
        if (how < 160) s = in.take(how);
        else if (how < 200) s = words[how % std::size(words)];
        else if (how < 236) s.assign((how - 199u) * 257u, 'r');
        else if (how < 248) s.assign(plugins::isolation::inline_bytes - 20 + how % 40, 'i');  // around where a frame moves into a memfd
        else if (how < 250) s.assign(300u << 10, 'm');
        else {  // a length that is not so
            put(in.raw<std::uint32_t>());
            data_.append(in.take(in.byte()));
            return;
        }
        put(static_cast<std::uint32_t>(s.size()));
        data_ += s;
    }
    void field(char f, bytes& in) {
        switch (f) {
            case 'n': {
                const auto how = in.byte();
                put(how < 240 ? std::uint64_t(how % 8) : in.raw<std::uint64_t>());
                break;
            }
            case 't': text(in); break;
            case 'b': put(in.byte()); break;
            case 'H': put(in.raw<std::uint16_t>()); break;
            case 'i':
            case 'u': number<std::uint32_t>(in); break;
            case 'q': number<std::int64_t>(in); break;
            case 'd': put(in.raw<double>()); break;
            case 'e': fields("iiiqt", in); break;
            case 'F': {
                const auto set = std::uint8_t(in.byte() & 1);
                put(set);
                if (set) field('e', in);
                break;
            }
            case 'W': result(in); break;
            default: __builtin_trap();
        }
    }
    std::string data_;
};

}  // namespace holdfast::fuzz
