#pragma once
// Counters, gauges and histograms of the host and its plugins; text in the Prometheus exposition format.
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::plugins {

using metric_labels = std::vector<std::pair<std::string, std::string>>;
inline constexpr std::size_t max_metric_series = 10'000;  ///< beyond: dropped and counted in holdfast_metrics_dropped_total

/// [any thread] One mutex around leaf data: not for the hottest paths.
class metrics_registry {
  public:
    void add(std::string_view name, metric_labels labels, double delta = 1.0);  ///< counter; negative or NaN: dropped
    void set(std::string_view name, metric_labels labels, double value);        ///< gauge
    void set_all(std::string_view prefix, const metric_labels& labels, const json& figures);  ///< a gauge for each member that is a number
    void observe(std::string_view name, metric_labels labels, double value);    ///< histogram, fixed buckets 0.001 … 60 (names ending in _bytes: 1 KiB … 1 GiB)
    /// Sets # HELP for a name.
    void describe(std::string_view name, std::string_view help);

    std::string prometheus() const;
    json to_json() const;  ///< [{name, type, labels, value | count, sum}]
    /// Forgets every series that has this label value: an instance that was removed.
    void remove(std::string_view label, std::string_view value);

  private:
    enum class kind { counter, gauge, histogram };
    struct series {
        double value = 0;
        std::uint64_t count = 0;
        std::vector<std::uint64_t> buckets;
    };
    struct family {
        kind what;
        std::string help;
        std::map<metric_labels, series> all;
    };
    series* find(std::string_view name, metric_labels& labels, kind what);
    mutable std::mutex mutex_;
    std::map<std::string, family, std::less<>> families_;  // under mutex_
    std::size_t series_ = 0;
    std::uint64_t dropped_ = 0;
};

}  // namespace holdfast::plugins
