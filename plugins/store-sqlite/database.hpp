#pragma once
// The one connection to the file: opened, checked, migrated, written through, checkpointed. One thread at a time; which
// thread may change (init, then the writer, then stop).
//
// Why one connection: SQLite 3.7.0–3.51.2 can corrupt a WAL when two connections write or checkpoint at once. So this one
// does both, with automatic checkpoints off, and where it can it locks the file against every other process.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "holdfast/status.hpp"
#include "store-requests/requests.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace store_sqlite {

namespace sdk = holdfast::sdk;
namespace ask = store_requests;

constexpr int schema_version = 1;

struct open_options {
    std::string path;
    std::chrono::milliseconds busy_timeout{2000};
    std::chrono::milliseconds check_budget{1000};  ///< how long the check at opening may take
};

/// What SQLite's code means for the store.
enum class trouble {
    none,
    request,    ///< this request only: it is refused, the file is fine
    full,       ///< nothing was written; writes have to wait for room
    read_only,  ///< the file cannot be written
    io,         ///< it is not known what reached the disk: close, recover
    corrupt,
    busy,       ///< another process holds the file
};

/// Thrown by every function here; the status says what to answer.
class database_error : public sdk::plugin_error {
  public:
    database_error(trouble kind, std::int32_t code, std::string message) : plugin_error(code, std::move(message)), kind_(kind) {}
    trouble kind() const { return kind_; }

  private:
    trouble kind_;
};

class database {
  public:
    /// Opens, recovers and migrates. Errors: HF_E_CORRUPT, HF_E_IO, HF_E_INVALID (of a newer version, of another program),
    /// HF_E_UNAVAILABLE (in use by another process). A file that cannot be written is opened for reading; see writable().
    static std::unique_ptr<database> open(const open_options& options);
    ~database();
    database(const database&) = delete;
    database& operator=(const database&) = delete;

    bool writable() const { return writable_; }
    const std::string& path() const { return options_.path; }
    /// True when the check at opening ran out of time.
    bool partly_checked() const { return partly_checked_; }

    void begin();
    void commit();
    void rollback() noexcept;
    /// True when SQLite itself has ended the transaction, as it does after some errors.
    bool lost_transaction() const;

    /// Runs one request inside or outside a transaction; a failed write leaves nothing of itself behind.
    std::string run(const ask::request& r);

    /// Copies the log into the file; the log is then used anew. Never waits.
    void checkpoint();
    int log_pages() const { return log_pages_; }
    /// Writes and removes a few pages, to learn whether there is room again.
    void probe_room();

  private:
    explicit database(open_options options) : options_(std::move(options)) {}
    void connect(const std::string& uri, int flags);
    void configure(bool exclusive);
    void check_file();
    void migrate();
    void exec(const char* sql);
    std::int64_t pragma(const char* sql);
    [[noreturn]] void fail(int rc, std::string_view doing) const;
    friend class statement;
    sqlite3_stmt* prepared(int which, const char* sql);

    std::string run_one(const ask::append& r);
    std::string run_one(const ask::read& r);
    std::string run_one(const ask::tail& r);
    std::string run_one(const ask::last& r);
    std::string run_one(const ask::streams& r);
    std::string run_one(const ask::drop& r);
    std::string run_one(const ask::trim& r);
    std::string run_one(const ask::put& r);
    std::string run_one(const ask::get& r);
    std::string run_one(const ask::list& r);
    std::string run_one(const ask::erase& r);
    std::string run_one(const ask::status& r);
    std::int64_t last_of(std::string_view stream);
    bool has_event(std::string_view stream, std::int64_t seq);

    open_options options_;
    sqlite3* db_ = nullptr;
    std::vector<sqlite3_stmt*> statements_;
    bool writable_ = false, partly_checked_ = false;
    int log_pages_ = 0;
};

}  // namespace store_sqlite
