#pragma once
// A breaker that grants everything: the least a plugin can be, so that a test plugin is valid but for its one fault.
#include "holdfast/breaker.hpp"

namespace holdfast::bad {

struct allow_all_policy : sdk::breaker_policy {
    void permit(std::int64_t, hf_permit& out) override { out.granted = 1; }
    void report(std::uint64_t, std::int32_t, std::int64_t, std::int64_t) override {}
    void state(std::int64_t, hf_breaker_state& out) override { out.state = HF_BREAKER_CLOSED; }
    void force(std::int32_t, std::int64_t) override {}
};

class allow_all : public sdk::breaker {
  public:
    using breaker::breaker;
    std::unique_ptr<sdk::breaker_policy> make(std::string_view, std::uint64_t, std::int64_t) override {
        return std::make_unique<allow_all_policy>();
    }
};

}  // namespace holdfast::bad
