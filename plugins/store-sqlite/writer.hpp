#pragma once
// The store's one thread: takes calls in order, puts the writes of a moment into one transaction and answers after its
// commit. Reads are answered in their place in the order, so that everybody reads what he wrote.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "holdfast/call.hpp"
#include "holdfast/worker.hpp"
#include "store-sqlite/database.hpp"

namespace store_sqlite {

constexpr std::size_t max_queued = 10'000;            ///< calls waiting
constexpr std::size_t max_queued_bytes = 256u << 20;  ///< of their requests; one call is always let in
constexpr int checkpoint_at = 1000;                   ///< pages in the log, 4 MiB
constexpr std::chrono::seconds probe_every{1};        ///< while writing is not possible

struct writer_options {
    open_options file;
    std::chrono::microseconds group_commit{2000};  ///< how long a commit may wait for others
    std::size_t max_batch = 64;                    ///< calls in one transaction
};

struct writer_hooks {
    std::function<void()> wake;                                        ///< [any] ends the worker's wait
    std::function<void(std::int32_t level, const std::string&)> log;   ///< [writer]
    std::function<void(const char* name, double value)> count;         ///< [writer]
};

class writer {
  public:
    writer(writer_options options, writer_hooks hooks) : options_(std::move(options)), hooks_(std::move(hooks)) {}

    /// [control] Opens the file; throws what is wrong with it.
    void open();
    /// [worker] Until it is asked to stop and nothing is left.
    void run(sdk::worker_ctl& ctl);
    /// [any] Throws HF_E_OVERLOADED or HF_E_UNAVAILABLE; the call is then not touched.
    void submit(sdk::call c, ask::request r);
    std::string status_json() const;
    /// [control] No more calls.
    void refuse();
    /// [control] True when nothing was left at the deadline.
    bool wait_until_empty(sdk::time_point deadline);
    /// [control, after the worker has returned] Fails what is left and closes the file.
    void close();

  private:
    struct item {
        sdk::call c;
        ask::request r;
        std::size_t bytes = 0;
        bool write = false;
        std::string result;
        sdk::status failure;
    };
    using batch = std::deque<item>;
    struct condition {
        bool writable = false;
        std::int32_t code = HF_E_READ_ONLY;  ///< what a write is answered with
        std::string reason, last_error;
    };

    bool take(batch& into);
    void gather(batch& into, sdk::worker_ctl& ctl);
    void perform(batch& b);
    void write_all(batch& b);
    void read_one(item& i);
    void answer(batch& b);
    void reopen();
    void probe();
    void suffer(const database_error& e);
    void set(bool writable, std::int32_t code, const std::string& reason);
    void tidy();
    condition now() const;

    const writer_options options_;
    const writer_hooks hooks_;
    std::mutex turn_;  // held while a run is inside: a stuck thread keeps its successor out of the file

    // Owner: the thread inside run; init before and stop after it.
    std::unique_ptr<database> db_;
    std::size_t last_writes_ = 0;
    sdk::time_point next_probe_{};

    mutable std::mutex mutex_;  // guards what follows; never held while a call is answered
    std::condition_variable empty_;
    std::deque<item> queue_;
    std::size_t queued_bytes_ = 0, under_way_ = 0;
    bool sleeping_ = false, refusing_ = false;
    condition condition_;
};

}  // namespace store_sqlite
