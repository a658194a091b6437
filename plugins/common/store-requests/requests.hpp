#pragma once
// The requests of hf.store/1 as checked structs, and the texts of its results. Pure: no clock, no file. The JSON of events
// and rows is kept as text; a store never looks into it.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace store_requests {

constexpr std::size_t max_name = 512;          ///< bytes of a stream, key, type, idem_key or time
constexpr std::size_t max_events = 10'000;     ///< of one append
constexpr std::size_t max_rows = 10'000;       ///< of one answer
constexpr std::size_t max_value = 64u << 20;   ///< bytes of one event's data or one row's value
constexpr int max_depth = 128;                 ///< of a request's JSON

struct event {
    std::string stream;
    std::int64_t seq = 0;  ///< from 1
    std::string type;
    std::optional<std::string> idem_key;
    std::string at;
    std::string data;  ///< JSON
};

struct append { std::vector<event> events; };
struct read { std::string stream; std::int64_t after = 0; std::int64_t limit = 0; };
struct tail { std::string stream; std::int64_t limit = 0; std::optional<std::int64_t> before; };
struct last { std::string stream; };
struct streams { std::string prefix, after; std::int64_t limit = 0; };
struct drop { std::string stream; };
struct trim { std::string stream; std::int64_t keep = 0; };
struct put { std::string table, key, value; };
struct get { std::string table, key; };
struct list { std::string table, prefix, after; std::int64_t limit = 0; };
struct erase { std::string table, key; };
struct status {};

using request = std::variant<append, read, tail, last, streams, drop, trim, put, get, list, erase, status>;

/// Throws plugin_error: HF_E_UNSUPPORTED for an unknown method, HF_E_INVALID naming what is wrong with the request.
request parse(std::string_view method, std::string_view text);
bool is_write(const request& r);

/// The first text after all that begin with `prefix`, in byte order; empty: there is none.
std::string after_prefix(std::string prefix);

/// {"name":[a,b,…]} under construction.
class rows {
  public:
    explicit rows(std::string_view name);
    void event(std::string_view stream, std::int64_t seq, std::string_view type, std::optional<std::string_view> idem_key, std::string_view at,
               std::string_view data);
    void stream(std::string_view name, std::int64_t last, std::int64_t events);
    void row(std::string_view key, std::string_view value);
    std::string finish() &&;
    std::string finish(std::int64_t last) &&;

  private:
    void next();
    std::string text_;
    bool first_ = true;
};

}  // namespace store_requests
