#pragma once
// Google Benchmark's console output, and for each run one line that run.sh joins with the peers':
//   RESULT call case=<name> ns=<nanoseconds of wall time for each completed call, over all threads>
#include <benchmark/benchmark.h>

#include <cstdio>

namespace holdfast::bench {

class result_reporter final : public benchmark::ConsoleReporter {
  public:
    result_reporter() : ConsoleReporter(OO_None) {}  // a colour code would precede RESULT
    /// Whether any benchmark called SkipWithError.
    bool failed() const { return failed_; }
    void ReportRuns(const std::vector<Run>& runs) override {
        ConsoleReporter::ReportRuns(runs);
        for (const Run& r : runs) {
            failed_ |= r.error_occurred;
            if (r.run_type == Run::RT_Iteration && !r.error_occurred)
                std::printf("RESULT call case=%s ns=%.2f\n", r.benchmark_name().c_str(), r.GetAdjustedRealTime());
        }
        std::fflush(stdout);
    }

  private:
    bool failed_ = false;
};

/// The body of main(): runs what the arguments select. Unlike Google Benchmark's own main, a failed benchmark is a failed program.
inline int run_and_report(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    result_reporter out;
    benchmark::RunSpecifiedBenchmarks(&out);
    return out.failed() ? 1 : 0;
}

}  // namespace holdfast::bench
