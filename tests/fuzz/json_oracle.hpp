#pragma once
// Whether text is one JSON value, by other means than the code under test: the library's reader, with the rules that it does not know.
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::fuzz {

enum class reading : std::uint8_t { good, bad, huge_number };  ///< huge_number: valid, and this reader cannot say it as a double

class strict_reader final : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit strict_reader(std::size_t depth) : depth_(depth) {}
    reading result = reading::good;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return deeper(); }
    bool key(string_t& k) override { return keys_.back().insert(k).second || fail(); }
    bool end_object() override { return keys_.pop_back(), true; }
    bool start_array(std::size_t) override { return deeper(); }
    bool end_array() override { return keys_.pop_back(), true; }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
        constexpr int number_overflow = 406;
        result = e.id == number_overflow ? reading::huge_number : reading::bad;
        return false;
    }

  private:
    bool fail() { return result = reading::bad, false; }
    bool deeper() { return keys_.emplace_back(), keys_.size() <= depth_ || fail(); }
    const std::size_t depth_;
    std::vector<std::set<std::string>> keys_;  // of the objects and arrays around
};

/// One value, no object with the same key twice, at most `depth` objects and arrays in one another.
inline reading read_strictly(std::string_view text, std::size_t depth) {
    strict_reader r(depth);
    if (!nlohmann::json::sax_parse(text, &r) && r.result == reading::good) r.result = reading::bad;
    return r.result;
}

}  // namespace holdfast::fuzz
