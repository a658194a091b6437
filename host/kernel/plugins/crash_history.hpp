#pragma once
// What the host remembers of plugins that took it down: in <data_dir>/crashes, one report a crash and one file of verdicts.
//
// A plugin that crashed the host in its process is hosted in a process of its own from then on; after the third crash it is not
// started any more, until a person releases it.
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernel/plugins/crash_report.hpp"

namespace holdfast::plugins {

inline constexpr std::uint32_t crashes_until_quarantine = 3;
inline constexpr std::size_t kept_crash_reports = 50;

struct crash_record {
    std::uint32_t crashes = 0;
    std::string last;  ///< summary of the newest
    wall_time at{};
};

/// Pure: what follows from a record.
enum class crash_verdict : std::uint8_t { none, isolate, quarantine };
crash_verdict verdict_on(const crash_record& r) noexcept;

/// [any thread]
class crash_history {
  public:
    /// Errors: io_error (the directory cannot be made). Damaged verdicts are put aside and said in warnings().
    static result<std::shared_ptr<crash_history>> open(const std::string& data_dir);

    /// At the start of a host, before its own marks replace the old ones: makes a report of the crash that ended the one before, if
    /// one did, and counts it. `trace` is the file that install_crash_trace() wrote to; it is removed.
    /// `ended`: how it ended, if it left no trace and yet ended by itself (guardian_link::ended_before).
    std::optional<crash_report> learn(const std::string& trace, const std::string& marks, const std::string& ended, wall_time now);
    void write(const crash_report& report);  ///< a file of its own; the oldest ones go
    /// Counts against the report's plugin, if it names one. What follows from it.
    crash_verdict count(const crash_report& report);

    crash_verdict verdict(const std::string& plugin) const;
    crash_record record(const std::string& plugin) const;
    /// false: there was nothing to lift.
    bool release(const std::string& plugin);
    std::vector<std::string> warnings() const;

  private:
    explicit crash_history(std::string dir) : dir_(std::move(dir)) {}
    void save() const;  // [mutex_ held]
    const std::string dir_;
    mutable std::mutex mutex_;
    std::map<std::string, crash_record> records_;  // under mutex_
    std::vector<std::string> warnings_;            // under mutex_
};

}  // namespace holdfast::plugins
