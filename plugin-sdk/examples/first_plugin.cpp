#include "holdfast/breaker.hpp"
using namespace holdfast::sdk;
struct always_allow : breaker_policy {
    void permit(std::int64_t, hf_permit& out) override { out.granted = 1; }
    void report(std::uint64_t, std::int32_t, std::int64_t, std::int64_t) override {}
    void state(std::int64_t, hf_breaker_state& out) override { out.state = HF_BREAKER_CLOSED; }
    void force(std::int32_t, std::int64_t) override {}
};
struct first_plugin : breaker {
    using breaker::breaker;
    auto make(std::string_view, std::uint64_t, std::int64_t) -> std::unique_ptr<breaker_policy> override {
        return std::make_unique<always_allow>();
    }
};
HOLDFAST_PLUGIN(first_plugin, R"({"id":"first","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"]})")
