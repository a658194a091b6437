#include "kernel/plugins/pin.hpp"

#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/isolation/crash_trace.hpp"

namespace holdfast::plugins {

constinit thread_local mark_slot* claimed_slot = nullptr;
std::atomic<bool> pins_fence_themselves{true};

namespace {

constexpr char magic[8] = {'H', 'F', 'M', 'A', 'R', 'K', '0', '1'};

struct name_entry {
    std::atomic<std::uint64_t> key;  ///< 0 = free; written last
    char name[56];
};
struct mark_file {
    char magic[8];
    std::uint32_t names, slots;
    std::uint32_t pid;
    char reserved[108];
    name_entry name[mark_names];
    mark_slot slot[mark_threads];
};
static_assert(offsetof(mark_file, name) == 128 && offsetof(mark_file, slot) % 128 == 0);

/// Slots of threads that came before the file existed, or when all its slots were taken. Never freed: threads may end late.
struct memory_slot {
    mark_slot slot;
    memory_slot* next;
};

// Never unmapped: threads keep the slots they claimed. Normally one; tests open several in turn, marks then go to the newest for
// threads that are new, and pins are looked for in all of them.
struct mapped_file {
    mark_file* file;
    mapped_file* next;
};
std::atomic<mapped_file*> mapped_files{nullptr};
mark_file* newest_file() {
    const auto* m = mapped_files.load(std::memory_order_acquire);
    return m ? m->file : nullptr;
}
std::atomic<memory_slot*> memory_slots{nullptr};
std::mutex names_mutex;  // guards the name table and open()
std::weak_ptr<crash_marks> opened;

void prepare_fences() {
    static std::once_flag once;
    std::call_once(once, [] {
        // Registered before the first pin of the process; where seccomp forbids it, every pin pays for a fence.
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0) pins_fence_themselves.store(false);
    });
}

void heavy_fence() {
    prepare_fences();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!pins_fence_themselves.load()) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

bool take(mark_slot& s, std::uint32_t tid) {
    std::uint32_t expected = 0;
    return s.tid.load(std::memory_order_relaxed) == 0 && s.tid.compare_exchange_strong(expected, tid);
}

/// Gives the slot back when its thread ends.
struct slot_return {
    mark_slot* slot = nullptr;
    ~slot_return() {
        claimed_slot = nullptr;
        if (slot == nullptr) return;
        // exit() in the middle of a call: who called it must still be readable when the process is gone.
        if (slot->depth.load(std::memory_order_relaxed) != 0) return;
        for (auto& a : slot->active) a.store(0, std::memory_order_release);
        slot->depth.store(0, std::memory_order_relaxed);
        slot->tid.store(0, std::memory_order_release);
    }
};

bool names_key(const mark_slot& s, std::uint64_t key) {
    for (const auto& a : s.active)
        if (a.load(std::memory_order_acquire) == key) return true;
    return false;
}

bool scan(std::uint64_t key) {
    for (const auto* f = mapped_files.load(std::memory_order_acquire); f != nullptr; f = f->next)
        for (const auto& s : f->file->slot)
            if (names_key(s, key)) return true;
    for (auto* m = memory_slots.load(std::memory_order_acquire); m != nullptr; m = m->next)
        if (names_key(m->slot, key)) return true;
    return false;
}

}  // namespace

mark_slot* claim_mark_slot() {
    prepare_fences();
    static thread_local slot_return mine;
    static thread_local isolation::alternate_stack stack;  // a plugin that overflows this thread's is told, too
    const auto tid = static_cast<std::uint32_t>(syscall(SYS_gettid));
    mark_slot* got = nullptr;
    if (auto* f = newest_file()) {
        for (std::size_t i = 0; i < mark_threads && got == nullptr; ++i)
            if (take(f->slot[i], tid)) got = &f->slot[i];
    }
    for (auto* m = memory_slots.load(std::memory_order_acquire); m != nullptr && got == nullptr; m = m->next)
        if (take(m->slot, tid)) got = &m->slot;
    if (got == nullptr) {
        auto* m = new memory_slot{};
        m->slot.tid.store(tid);
        m->next = memory_slots.load();
        while (!memory_slots.compare_exchange_weak(m->next, m)) {
        }
        got = &m->slot;
    }
    mine.slot = got;
    return got;
}

bool is_pinned(std::uint64_t key) {
    heavy_fence();
    return scan(key);
}

bool wait_unpinned(std::uint64_t key, nanoseconds deadline) {
    heavy_fence();
    const auto until = std::chrono::steady_clock::now() + deadline;
    auto nap = std::chrono::microseconds(1);
    while (scan(key)) {
        if (std::chrono::steady_clock::now() >= until) return false;
        std::this_thread::sleep_for(nap);  // pinned calls take nanoseconds: mostly the first look is enough
        nap = std::min(nap * 2, std::chrono::microseconds(1000));
    }
    return true;
}

result<std::shared_ptr<crash_marks>> crash_marks::open(const std::string& runtime_dir) {
    std::lock_guard lock(names_mutex);
    if (auto have = opened.lock()) return have;
    auto out = std::shared_ptr<crash_marks>(new crash_marks);
    out->path_ = runtime_dir + "/marks";
    unlink(out->path_.c_str());
    const int fd = ::open(out->path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return fail(errc::io_error, "crash marks " + out->path_ + ": " + std::strerror(errno));
    void* p = MAP_FAILED;
    // Allocated, not only sized: a store into a hole of a full disk would be a SIGBUS.
    if (posix_fallocate(fd, 0, sizeof(mark_file)) == 0) p = mmap(nullptr, sizeof(mark_file), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) {
        unlink(out->path_.c_str());
        return fail(errc::io_error, "crash marks " + out->path_ + " cannot be mapped: is the disk full?");
    }
    auto* f = static_cast<mark_file*>(p);
    f->names = mark_names;
    f->slots = mark_threads;
    f->pid = static_cast<std::uint32_t>(getpid());
    std::memcpy(f->magic, magic, sizeof magic);
    mapped_files.store(new mapped_file{f, mapped_files.load()}, std::memory_order_release);
    opened = out;
    return out;
}

crash_marks::~crash_marks() = default;

void crash_marks::name(std::uint64_t key, std::string_view plugin) noexcept {
    auto* f = newest_file();
    std::lock_guard lock(names_mutex);
    for (auto& e : f->name) {
        if (e.key.load(std::memory_order_relaxed) != 0) continue;
        const std::size_t n = std::min(plugin.size(), sizeof e.name - 1);
        std::memcpy(e.name, plugin.data(), n);
        e.name[n] = 0;
        e.key.store(key, std::memory_order_release);
        return;
    }
}

void crash_marks::forget(std::uint64_t key) noexcept {
    auto* f = newest_file();
    std::lock_guard lock(names_mutex);
    for (auto& e : f->name)
        if (e.key.load(std::memory_order_relaxed) == key) e.key.store(0, std::memory_order_release);
}

result<std::vector<crash_marks::mark>> crash_marks::read(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return fail(errno == ENOENT ? errc::not_found : errc::io_error, path + ": " + std::strerror(errno));
    auto f = std::make_unique<mark_file>();
    std::size_t have = 0;
    while (have < sizeof(mark_file)) {
        const ssize_t n = pread(fd, reinterpret_cast<char*>(f.get()) + have, sizeof(mark_file) - have, static_cast<off_t>(have));
        if (n <= 0) break;
        have += static_cast<std::size_t>(n);
    }
    close(fd);
    if (have != sizeof(mark_file) || std::memcmp(f->magic, magic, sizeof magic) != 0 || f->names != mark_names || f->slots != mark_threads)
        return fail(errc::corrupt, path + " is not a file of crash marks of this version");
    std::vector<mark> out;
    for (const auto& s : f->slot) {
        mark m{s.tid.load(), {}};
        if (m.tid == 0) continue;
        for (const auto& a : s.active) {
            const auto key = a.load();
            if (key == 0) continue;
            for (const auto& e : f->name)
                if (e.key.load() == key) m.plugins.emplace_back(e.name, strnlen(e.name, sizeof e.name));
        }
        if (!m.plugins.empty()) out.push_back(std::move(m));
    }
    return out;
}

}  // namespace holdfast::plugins
