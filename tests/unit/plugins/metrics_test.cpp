#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernel/plugins/metrics.hpp"

namespace holdfast::plugins {
namespace {

TEST(metrics, text_is_what_prometheus_reads) {
    metrics_registry m;
    m.describe("calls_total", "Calls made\nso far");
    m.add("calls_total", {{"plugin", "a\"b\\"}}, 2);
    m.add("calls_total", {{"plugin", "a\"b\\"}});
    m.set("queue", {}, -1.5);
    m.observe("latency_seconds", {{"p", "x"}}, 0.004);
    m.observe("latency_seconds", {{"p", "x"}}, 1000);
    const auto text = m.prometheus();
    EXPECT_NE(text.find("# HELP calls_total Calls made\\nso far\n# TYPE calls_total counter\ncalls_total{plugin=\"a\\\"b\\\\\"} 3\n"), std::string::npos) << text;
    EXPECT_NE(text.find("# TYPE queue gauge\nqueue -1.5\n"), std::string::npos) << text;
    EXPECT_NE(text.find("latency_seconds_bucket{p=\"x\",le=\"0.0025\"} 0\n"), std::string::npos) << text;
    EXPECT_NE(text.find("latency_seconds_bucket{p=\"x\",le=\"0.005\"} 1\n"), std::string::npos) << text;
    EXPECT_NE(text.find("latency_seconds_bucket{p=\"x\",le=\"+Inf\"} 2\n"), std::string::npos) << text;
    EXPECT_NE(text.find("latency_seconds_count{p=\"x\"} 2\n"), std::string::npos) << text;
}
TEST(metrics, order_of_labels_does_not_matter) {
    metrics_registry m;
    m.add("c", {{"a", "1"}, {"b", "2"}});
    m.add("c", {{"b", "2"}, {"a", "1"}});
    EXPECT_NE(m.prometheus().find("c{a=\"1\",b=\"2\"} 2\n"), std::string::npos);
}
TEST(metrics, nonsense_is_dropped_and_counted) {
    metrics_registry m;
    m.add("c", {}, -1);
    m.add("c", {}, std::numeric_limits<double>::quiet_NaN());
    m.add("c", {}, 1);
    m.set("c", {}, 5);  // is a counter
    m.observe("h", {}, std::numeric_limits<double>::infinity());
    EXPECT_NE(m.prometheus().find("holdfast_metrics_dropped_total 4\n"), std::string::npos) << m.prometheus();
    m.add("bad name{}", {{"l\n", "x"}});
    EXPECT_NE(m.prometheus().find("bad_name__{l_=\"x\"} 1"), std::string::npos) << m.prometheus();
}
TEST(metrics, number_of_series_is_bounded) {
    metrics_registry m;
    for (std::size_t i = 0; i < max_metric_series + 10; ++i) m.add("c", {{"i", std::to_string(i)}});
    EXPECT_NE(m.prometheus().find("holdfast_metrics_dropped_total 10\n"), std::string::npos);
    m.remove("i", "0");
    m.add("c", {{"i", "new"}});
    EXPECT_NE(m.prometheus().find("c{i=\"new\"} 1"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::plugins
