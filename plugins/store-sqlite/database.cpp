#include "store-sqlite/database.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace store_sqlite {
namespace {

constexpr int application = 0x48464442;  // "HFDB", so that the file of another program is not mistaken for ours
constexpr int check_step = 5000;         // virtual machine steps between two looks at the clock
constexpr const char* aside = "move it aside (with the files -wal and -shm next to it) to begin a new one, or restore a copy";

const char* const schema_1 = R"(
create table streams(stream text primary key, last integer not null, events integer not null) strict, without rowid;
create table events(stream text not null, seq integer not null, type text not null, idem_key text, at text not null, payload text not null,
                    primary key(stream, seq)) strict, without rowid;
create unique index events_once on events(stream, idem_key) where idem_key is not null;
create table docs(tbl text not null, key text not null, value text not null, primary key(tbl, key)) strict, without rowid;
create table probe(id integer primary key, filler blob not null) strict;
)";

std::string in_quotes(const std::string& path) { return "'" + path + "'"; }

/// A path as the part of a file: URI after "file:".
std::string uri_path(const std::string& path) {
    static constexpr char hex[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : path) {
        const auto u = static_cast<unsigned char>(c);
        if (std::isalnum(u) || c == '/' || c == '.' || c == '-' || c == '_' || u >= 0x80) out += c;
        else out.append(1, '%').append(1, hex[u >> 4]).append(1, hex[u & 15]);
    }
    return out;
}

trouble kind_of(int rc) {
    switch (rc & 0xFF) {
        case SQLITE_FULL: return trouble::full;
        case SQLITE_READONLY:
        case SQLITE_PERM: return trouble::read_only;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return trouble::corrupt;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return trouble::busy;
        case SQLITE_TOOBIG:
        case SQLITE_CONSTRAINT:
        case SQLITE_MISMATCH: return trouble::request;
        default: return trouble::io;
    }
}

std::int32_t code_of(trouble kind) {
    switch (kind) {
        case trouble::full:
        case trouble::read_only: return HF_E_READ_ONLY;
        case trouble::corrupt: return HF_E_CORRUPT;
        case trouble::busy: return HF_E_UNAVAILABLE;
        case trouble::request: return HF_E_INVALID;
        default: return HF_E_IO;
    }
}

struct budget {
    std::chrono::steady_clock::time_point end;
    static int over(void* self) { return std::chrono::steady_clock::now() >= static_cast<budget*>(self)->end; }
};

}  // namespace

void database::fail(int rc, std::string_view doing) const {
    const trouble kind = kind_of(rc);
    std::string message = "the store " + in_quotes(options_.path);
    switch (kind) {
        case trouble::full: message += " cannot grow: the disk is full; make room, writing resumes by itself"; break;
        case trouble::read_only: message += " cannot be written: its file or directory is read-only"; break;
        case trouble::corrupt: message += std::string(" is damaged; ") + aside; break;
        case trouble::busy: message += " is in use by another process; end that one, or give settings.path another name"; break;
        default: message += " failed"; break;
    }
    message.append(" (").append(doing).append(": ").append(db_ ? sqlite3_errmsg(db_) : sqlite3_errstr(rc));
    if (db_ && kind == trouble::io)
        if (const int e = sqlite3_system_errno(db_)) message.append(", ").append(std::generic_category().message(e));
    throw database_error(kind, code_of(kind), message + ", code " + std::to_string(rc) + ")");
}

void database::exec(const char* sql) {
    const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
    if (rc != SQLITE_OK) fail(sqlite3_extended_errcode(db_), std::string_view(sql).substr(0, 24));
}

std::int64_t database::pragma(const char* sql) {
    sqlite3_stmt* s = nullptr;
    int rc = sqlite3_prepare_v2(db_, sql, -1, &s, nullptr);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    const std::int64_t out = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_finalize(s);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) fail(sqlite3_extended_errcode(db_), sql);
    return out;
}

void database::connect(const std::string& uri, int flags) {
    const int rc = sqlite3_open_v2(uri.c_str(), &db_, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI, nullptr);
    if (rc != SQLITE_OK) fail(rc, "open");
    sqlite3_busy_timeout(db_, static_cast<int>(options_.busy_timeout.count()));
}

void database::configure(bool exclusive) {
    // Before the first look into the file: a log without shared memory, and no other process beside us.
    if (exclusive) exec("pragma locking_mode=exclusive");
    exec("pragma trusted_schema=off; pragma foreign_keys=on; pragma cell_size_check=on");
    if (!writable_) return;
    exec("pragma journal_mode=wal");
    // The pages in memory are a bound on what the host grows by; what is read again comes from the kernel's cache.
    exec("pragma synchronous=full; pragma wal_autocheckpoint=0; pragma temp_store=memory; pragma cache_size=-2048");
    sqlite3_wal_hook(
        db_,
        [](void* self, sqlite3*, const char*, int pages) {
            static_cast<database*>(self)->log_pages_ = pages;
            return SQLITE_OK;
        },
        this);
}

/// Looks for damage as far as the time allows. Damage beyond is found when it is read.
void database::check_file() {
    budget time{std::chrono::steady_clock::now() + options_.check_budget};
    sqlite3_progress_handler(db_, check_step, &budget::over, &time);
    sqlite3_stmt* s = nullptr;
    int rc = sqlite3_prepare_v2(db_, "pragma quick_check(1)", -1, &s, nullptr);
    if (rc == SQLITE_OK) rc = sqlite3_step(s);
    const std::string found = rc == SQLITE_ROW ? reinterpret_cast<const char*>(sqlite3_column_text(s, 0)) : "";
    sqlite3_finalize(s);
    sqlite3_progress_handler(db_, 0, nullptr, nullptr);
    partly_checked_ = rc == SQLITE_INTERRUPT;
    if (partly_checked_) return;
    if (rc != SQLITE_ROW) fail(sqlite3_extended_errcode(db_), "check");
    if (found != "ok") throw database_error(trouble::corrupt, HF_E_CORRUPT, "the store " + in_quotes(options_.path) + " is damaged; " + aside + " (" + found + ")");
}

void database::migrate() {
    const auto version = pragma("pragma user_version");
    const auto owner = pragma("pragma application_id");
    const bool empty = version == 0 && pragma("select count(*) from sqlite_master") == 0;
    if (version > schema_version && owner == application)
        throw database_error(trouble::request, HF_E_INVALID, "the store " + in_quotes(options_.path) + " was written by a newer Holdfast (its version is " + std::to_string(version) +
                                                                 ", this one knows " + std::to_string(schema_version) + "): use that one, or give settings.path another name");
    if (!empty && owner != application)
        throw database_error(trouble::request, HF_E_INVALID, "the file " + in_quotes(options_.path) + " is a database of another program: give settings.path another name");
    if (version == schema_version) return;
    if (!writable_) throw database_error(trouble::read_only, HF_E_READ_ONLY, "the store " + in_quotes(options_.path) + " is read-only and cannot be brought to this version");
    exec("begin immediate");
    try {
        exec(schema_1);
        exec(("pragma application_id=" + std::to_string(application)).c_str());
        exec(("pragma user_version=" + std::to_string(schema_version)).c_str());
        exec("commit");
    } catch (...) {
        rollback();
        throw;
    }
}

std::unique_ptr<database> database::open(const open_options& options) {
    std::unique_ptr<database> d(new database(options));
    const std::string& path = options.path;
    const auto parent = std::filesystem::path(path).parent_path();
    std::error_code ec;
    if (!parent.empty() && !std::filesystem::is_directory(parent, ec))
        throw database_error(trouble::request, HF_E_INVALID, "the directory " + in_quotes(parent.string()) + " of the store does not exist: create it, or change settings.path");
    // Made here, because SQLite would make it readable for everybody; the log inherits the mode.
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const int why = errno;
    if (fd >= 0) ::close(fd);
    const bool exists = ::access(path.c_str(), F_OK) == 0;
    if (fd < 0 && (!exists || ::access(path.c_str(), R_OK) != 0))
        throw database_error(trouble::io, HF_E_IO, "the store " + in_quotes(path) + " cannot be opened: " + std::generic_category().message(why));
    const bool log_beside = ::access((path + "-wal").c_str(), F_OK) == 0;
    const bool directory = ::access(parent.empty() ? "." : parent.c_str(), W_OK) == 0;
    d->writable_ = fd >= 0 && directory;
    if (d->writable_) {
        d->connect("file:" + uri_path(path), SQLITE_OPEN_READWRITE);
        d->configure(true);
    } else {
        // Without a log beside it nothing can be missing from the file, and nobody can write it under us unnoticed.
        d->connect("file:" + uri_path(path) + (log_beside ? "?mode=ro" : "?immutable=1"), SQLITE_OPEN_READONLY);
        d->configure(false);
    }
    d->check_file();
    d->migrate();
    if (d->writable_ && log_beside) d->checkpoint();  // what a crash left in the log reaches the file first
    return d;
}

database::~database() {
    for (sqlite3_stmt* s : statements_) sqlite3_finalize(s);
    if (db_) sqlite3_close_v2(db_);
}

void database::begin() { exec("begin immediate"); }
void database::commit() { exec("commit"); }
void database::rollback() noexcept {
    if (!sqlite3_get_autocommit(db_)) sqlite3_exec(db_, "rollback", nullptr, nullptr, nullptr);
}
bool database::lost_transaction() const { return sqlite3_get_autocommit(db_) != 0; }

void database::checkpoint() {
    int pages = 0, done = 0;
    const int rc = sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, &pages, &done);
    if (rc != SQLITE_OK) fail(rc, "checkpoint");
    if (done >= pages) log_pages_ = 0;
}

void database::probe_room() {
    checkpoint();
    begin();
    try {
        exec("insert into probe(filler) values(zeroblob(65536))");
        commit();
    } catch (...) {
        rollback();
        throw;
    }
    exec("delete from probe");
}

}  // namespace store_sqlite
