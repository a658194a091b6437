#include "unit/stores/faulty_vfs.hpp"

#include <sqlite3.h>

#include <condition_variable>
#include <fstream>
#include <set>

namespace faulty_vfs {
namespace {

struct operation {
    std::int64_t offset;  // of a write, or the new size
    bool truncates;
    std::string bytes;
};
struct image {
    std::string durable;
    std::vector<operation> since;
};

struct faults {
    std::mutex mutex;
    std::condition_variable changed;
    bool full = false, hold = false;
    int sync_failures = 0, write_failures = 0, syncs = 0, held = 0;
    std::string recorded;
    std::map<std::string, image> images;  // by path
    std::set<std::string> names;          // of files that are perhaps still open
} g;

void apply(std::string& to, const operation& o) {
    const auto offset = static_cast<std::size_t>(o.offset);
    if (o.truncates) return to.resize(std::min(to.size(), offset));
    if (to.size() < offset + o.bytes.size()) to.resize(offset + o.bytes.size());
    to.replace(offset, o.bytes.size(), o.bytes);
}

struct file {
    sqlite3_file base;
    const char* path;  // null: of no interest; one of g.names
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
file& at(sqlite3_file* f) { return *reinterpret_cast<file*>(f); }
sqlite3_file* real(sqlite3_file* f) { return at(f).real(); }
sqlite3_vfs* under = nullptr;

void note(sqlite3_file* f, operation o) {
    if (!at(f).path) return;
    const auto it = g.images.find(at(f).path);
    if (it != g.images.end()) it->second.since.push_back(std::move(o));
}

int x_close(sqlite3_file* f) { return real(f)->pMethods ? real(f)->pMethods->xClose(real(f)) : SQLITE_OK; }
int x_read(sqlite3_file* f, void* p, int n, sqlite3_int64 at) { return real(f)->pMethods->xRead(real(f), p, n, at); }
int x_write(sqlite3_file* f, const void* p, int n, sqlite3_int64 offset) {
    std::lock_guard lock(g.mutex);
    if (g.full) return SQLITE_FULL;
    if (g.write_failures > 0) return --g.write_failures, SQLITE_IOERR_WRITE;
    const int rc = real(f)->pMethods->xWrite(real(f), p, n, offset);
    if (rc == SQLITE_OK) note(f, {offset, false, std::string(static_cast<const char*>(p), static_cast<std::size_t>(n))});
    return rc;
}
int x_truncate(sqlite3_file* f, sqlite3_int64 size) {
    std::lock_guard lock(g.mutex);
    const int rc = real(f)->pMethods->xTruncate(real(f), size);
    if (rc == SQLITE_OK) note(f, {size, true, {}});
    return rc;
}
int x_sync(sqlite3_file* f, int flags) {
    std::unique_lock lock(g.mutex);
    ++g.syncs;
    if (g.hold) {
        ++g.held;
        g.changed.notify_all();
        g.changed.wait(lock, [] { return !g.hold; });
        --g.held;
    }
    if (g.sync_failures > 0) return --g.sync_failures, SQLITE_IOERR_FSYNC;
    const int rc = real(f)->pMethods->xSync(real(f), flags);
    if (rc == SQLITE_OK && at(f).path) {
        if (const auto it = g.images.find(at(f).path); it != g.images.end()) {
            for (const operation& o : it->second.since) apply(it->second.durable, o);
            it->second.since.clear();
        }
    }
    return rc;
}
int x_size(sqlite3_file* f, sqlite3_int64* n) { return real(f)->pMethods->xFileSize(real(f), n); }
int x_lock(sqlite3_file* f, int l) { return real(f)->pMethods->xLock(real(f), l); }
int x_unlock(sqlite3_file* f, int l) { return real(f)->pMethods->xUnlock(real(f), l); }
int x_reserved(sqlite3_file* f, int* out) { return real(f)->pMethods->xCheckReservedLock(real(f), out); }
int x_control(sqlite3_file* f, int op, void* arg) { return real(f)->pMethods->xFileControl(real(f), op, arg); }
int x_sector(sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); }
int x_traits(sqlite3_file*) { return 0; }  // no promise about atomic writes
int x_map(sqlite3_file* f, int a, int b, int c, void volatile** d) { return real(f)->pMethods->xShmMap(real(f), a, b, c, d); }
int x_shm_lock(sqlite3_file* f, int a, int b, int c) { return real(f)->pMethods->xShmLock(real(f), a, b, c); }
void x_barrier(sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); }
int x_unmap(sqlite3_file* f, int d) { return real(f)->pMethods->xShmUnmap(real(f), d); }

const sqlite3_io_methods methods{2, x_close, x_read, x_write, x_truncate, x_sync, x_size, x_lock, x_unlock, x_reserved, x_control, x_sector, x_traits,
                                 x_map, x_shm_lock, x_barrier, x_unmap, nullptr, nullptr};

int x_open(sqlite3_vfs*, sqlite3_filename name, sqlite3_file* f, int flags, int* out) {
    file& mine = at(f);
    mine = {};
    const int rc = under->xOpen(under, name, mine.real(), flags, out);
    mine.base.pMethods = mine.real()->pMethods ? &methods : nullptr;
    std::lock_guard lock(g.mutex);
    if (rc != SQLITE_OK || !name || g.recorded.empty() || std::string_view(name).substr(0, g.recorded.size()) != g.recorded) return rc;
    const auto [it, fresh] = g.images.try_emplace(name);
    if (fresh) {
        std::ifstream in(name, std::ios::binary);
        it->second.durable.assign(std::istreambuf_iterator<char>(in), {});
    }
    mine.path = g.names.insert(it->first).first->c_str();
    return rc;
}

int x_delete(sqlite3_vfs*, const char* name, int sync_directory) {
    std::lock_guard lock(g.mutex);
    const int rc = under->xDelete(under, name, sync_directory);
    if (rc == SQLITE_OK) g.images.erase(name);
    return rc;
}

}  // namespace

void install() {
    static sqlite3_vfs mine;
    if (under) return;
    under = sqlite3_vfs_find(nullptr);
    mine = *under;
    mine.zName = "faulty";
    mine.szOsFile = static_cast<int>(sizeof(file)) + under->szOsFile;
    mine.xOpen = &x_open;
    mine.xDelete = &x_delete;
    sqlite3_vfs_register(&mine, 1);
}

void disk_full(bool on) {
    std::lock_guard lock(g.mutex);
    g.full = on;
}
void fail_syncs(int n) {
    std::lock_guard lock(g.mutex);
    g.sync_failures = n;
}
void fail_writes(int n) {
    std::lock_guard lock(g.mutex);
    g.write_failures = n;
}
int syncs() {
    std::lock_guard lock(g.mutex);
    return g.syncs;
}
void hold_syncs(bool on) {
    std::lock_guard lock(g.mutex);
    g.hold = on;
    g.changed.notify_all();
}
bool wait_for_held_sync() {
    std::unique_lock lock(g.mutex);
    return g.changed.wait_for(lock, std::chrono::seconds(20), [] { return g.held > 0; });
}

void record(const std::string& directory) {
    std::lock_guard lock(g.mutex);
    g.recorded = directory;
    g.images.clear();
}

void power_cut(const std::string& to, std::mt19937_64& random) {
    std::map<std::string, image> now;
    {
        std::lock_guard lock(g.mutex);
        now = g.images;
    }
    for (auto& [path, i] : now) {
        const auto chance = random() % 5;  // of four: from nothing to everything of what was not synced
        for (const operation& o : i.since)
            if (random() % 4 < chance) apply(i.durable, o);
        std::ofstream(to + path.substr(path.rfind('/')), std::ios::binary) << i.durable;
    }
}

}  // namespace faulty_vfs
