#include "policy/settings.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"

namespace policy {
namespace {

using nlohmann::json;

[[noreturn]] void wrong(std::string message) { throw holdfast::sdk::plugin_error(HF_E_INVALID, std::move(message)); }

/// How many letters have to be changed to make one of the other.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
            diagonal = above;
        }
    }
    return row[b.size()];
}

std::string plain(double v) { return json(v == std::floor(v) && std::fabs(v) < 1e15 ? json(static_cast<std::int64_t>(v)) : json(v)).dump(); }

}  // namespace

struct settings::impl {
    json object;
    std::vector<std::string> asked;
    const json* find(std::string_view key) {
        asked.emplace_back(key);
        const auto it = object.find(std::string(key));
        return it == object.end() || it->is_null() ? nullptr : &*it;
    }
};

settings::settings(std::string_view text) : impl_(std::make_unique<impl>()) {
    constexpr std::size_t longest = 64 * 1024;
    impl_->object = text.size() > longest ? json() : text.empty() ? json::object() : json::parse(text, nullptr, false);
    if (!impl_->object.is_object()) wrong("the settings of a policy have to be a JSON object");
    accept("use");
}
settings::~settings() = default;

std::optional<double> settings::maybe(std::string_view key, double least, double most) {
    const json* v = impl_->find(key);
    if (!v) return std::nullopt;
    const double d = v->is_number() ? v->get<double>() : std::nan("");
    if (!(d >= least && d <= most)) wrong(std::string(key) + " has to be a number from " + plain(least) + " to " + plain(most));
    return d;
}

double settings::number(std::string_view key, double otherwise, double least, double most) { return maybe(key, least, most).value_or(otherwise); }

std::uint32_t settings::count(std::string_view key, std::uint32_t otherwise, std::uint32_t least, std::uint32_t most) {
    const auto v = maybe(key, least, most);
    if (v && *v != std::floor(*v)) wrong(std::string(key) + " has to be a whole number");
    return v ? static_cast<std::uint32_t>(*v) : otherwise;
}

std::int64_t settings::seconds(std::string_view key, double otherwise, bool zero_allowed) {
    const double v = number(key, otherwise, 0, longest_s);
    if (v == 0 && !zero_allowed) wrong(std::string(key) + " has to be above 0");
    return std::max<std::int64_t>(static_cast<std::int64_t>(v * 1e9), zero_allowed ? 0 : 1);
}

std::string settings::choice(std::string_view key, std::string_view otherwise, std::initializer_list<std::string_view> choices) {
    const json* v = impl_->find(key);
    if (!v) return std::string(otherwise);
    std::string all;
    for (const auto c : choices) {
        if (v->is_string() && v->get_ref<const std::string&>() == c) return std::string(c);
        all.append(all.empty() ? "\"" : " or \"").append(c).append("\"");
    }
    wrong(std::string(key) + " has to be " + all);
}

void settings::accept(std::string_view key) { impl_->asked.emplace_back(key); }

void settings::finish() const {
    for (const auto& [key, value] : impl_->object.items()) {
        const auto& asked = impl_->asked;
        if (std::find(asked.begin(), asked.end(), key) != asked.end()) continue;
        const auto nearest = std::min_element(asked.begin(), asked.end(), [&key = key](const auto& a, const auto& b) { return distance(a, key) < distance(b, key); });
        wrong("there is no setting \"" + key.substr(0, 64) + "\" here; did you mean \"" + *nearest + "\"?");
    }
}

}  // namespace policy
