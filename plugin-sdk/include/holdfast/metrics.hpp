#pragma once
// Counters, gauges and histograms (hf.metrics/1). [any] Without a metrics service in the host the calls do nothing.
#include <string_view>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

class metrics {
  public:
    metrics(const hf_host* host, const hf_metrics* table) : host_(host), table_(table) {}
    void add(std::string_view name, double delta = 1, std::string_view labels_json = {}) const noexcept {
        if (table_) table_->add(host_->ctx, str(name), bytes(labels_json), delta);
    }
    void set(std::string_view name, double value, std::string_view labels_json = {}) const noexcept {
        if (table_) table_->set(host_->ctx, str(name), bytes(labels_json), value);
    }
    void observe(std::string_view name, double value, std::string_view labels_json = {}) const noexcept {
        if (table_) table_->observe(host_->ctx, str(name), bytes(labels_json), value);
    }

  private:
    const hf_host* host_;
    const hf_metrics* table_;
};

}  // namespace holdfast::sdk
