#pragma once
// A program of other people's that a test talks to: started, waited for, ended with the test.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::testing {

/// Where tests/peers/install.sh puts the packages.
std::string peers_dir();
/// True when the npm package is installed there and node can be run.
bool has_peer(std::string_view npm_package);
/// A TCP port that was free a moment ago.
int free_port();

class peer_process {
  public:
    /// `env`: NAME=value, beside what the test has. Output and errors come together.
    peer_process(std::vector<std::string> argv, std::vector<std::string> env = {});
    ~peer_process();
    peer_process(const peer_process&) = delete;
    peer_process& operator=(const peer_process&) = delete;
    /// The first line that holds `part`; empty when it ends or says nothing of the kind within 30 s.
    std::optional<std::string> wait_line(std::string_view part);
    const std::string& output() const { return output_; }

  private:
    int pid_ = -1, out_ = -1;
    std::string output_;
};

}  // namespace holdfast::testing
