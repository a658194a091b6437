#pragma once
// The configuration object of a policy, read strictly: a wrong type, a number out of range or an unknown key is refused
// with a sentence that says what would be right.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace policy {

constexpr std::int64_t second_ns = 1'000'000'000;
constexpr double longest_s = 10.0 * 365 * 24 * 3600;

/// Throws plugin_error(HF_E_INVALID, …) from every function. Call finish() when all keys were asked for.
class settings {
  public:
    explicit settings(std::string_view json);
    ~settings();
    settings(const settings&) = delete;
    settings& operator=(const settings&) = delete;

    double number(std::string_view key, double otherwise, double least, double most);
    std::optional<double> maybe(std::string_view key, double least, double most);
    std::uint32_t count(std::string_view key, std::uint32_t otherwise, std::uint32_t least, std::uint32_t most);
    /// Seconds above zero (or from zero), as nanoseconds.
    std::int64_t seconds(std::string_view key, double otherwise, bool zero_allowed = false);
    std::string choice(std::string_view key, std::string_view otherwise, std::initializer_list<std::string_view> choices);
    /// A key that somebody else reads.
    void accept(std::string_view key);
    /// Refuses what nobody asked for.
    void finish() const;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

/// SplitMix64: a seed gives the same sequence everywhere, which a standard distribution does not.
class chance {
  public:
    explicit chance(std::uint64_t seed) : state_(seed) {}
    double unit() {  ///< [0, 1)
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
    }
    double between(double low, double high) { return low + (high - low) * unit(); }

  private:
    std::uint64_t state_;
};

}  // namespace policy
