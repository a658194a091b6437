#pragma once
// What the contract suites share.
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "expect.hpp"
#include "holdfast/testing/checks.hpp"
#include "holdfast/testing/loader.hpp"

namespace holdfast::testing::contract {

using nlohmann::json;

/// What one test body gets: the case with a fresh directory, and instances on demand.
class bench {
  public:
    bench(const plugin_case& c, const target& from);
    const plugin_case& at() const { return case_; }
    const plugin_file& file() const { return *file_; }
    /// A new instance, not yet created.
    std::unique_ptr<plugin_instance> make(std::string id = "contract");
    std::unique_ptr<plugin_instance> make(std::string id, fake_host_options options);
    /// One that is active. Fails the test otherwise (and returns null).
    std::unique_ptr<plugin_instance> up(std::string id = "contract");
    std::unique_ptr<plugin_instance> up(fake_host_options options);
    fake_host_options options(std::string id = "contract") const;

  private:
    struct directory {
        directory();
        ~directory();
        std::string path;
    };
    const directory dir_;
    plugin_case case_;  // placeholders replaced
    std::shared_ptr<plugin_file> file_;  // second owner: the registered tests
};

struct test {
    const char* name;
    void (*run)(bench&);
};

const std::vector<test>& lifecycle_tests();
const std::vector<test>& host_tests();  // what every plugin owes its host and its process
const std::vector<test>& llm_tests();
const std::vector<test>& store_tests();
const std::vector<test>& transport_tests();
const std::vector<test>& ui_tests();
const std::vector<test>& breaker_tests();
const std::vector<test>& health_tests();

// For every kind with submit and cancel (contract_calls.cpp).
void a_newer_caller_is_fine(bench& b);
void requests_are_not_kept(bench& b);
void deadlines_are_honoured(bench& b);
void cancels_race_with_completions(bench& b);
void unknown_cancels_are_ignored(bench& b);
void calls_after_stop_are_not_kept(bench& b);

/// No broken completion rules; `what` names the call in the failure.
void expect_faultless(const call_probe& p, const std::string& what);

/// A loopback HTTP server for the transports' and adapters' tests: POST /echo answers with its body,
/// POST /v1/chat/completions streams "Hello world", GET /v1/models lists one model. One per process, started on first use.
std::string peer_url();
std::string line_peer_url();       ///< TCP; sends every line back
std::string websocket_peer_url();  ///< sends every message back

}  // namespace holdfast::testing::contract
