#pragma once
// Pins and crash marks: one store before a call into a plugin serves two ends.
//
// Each thread has a slot of a few words in a file mapped under the runtime directory. Before a call it stores there which table
// it is about to use. (1) After a crash the guardian reads from the file which plugin was active. (2) Whoever wants to destroy
// a table first withdraws it and then waits until no slot names it (a hazard pointer; the store-load fence that this needs is
// moved to the rare side with membarrier(2)).
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::plugins {

inline constexpr std::size_t mark_depth = 13;        ///< calls nested through plugins on one thread; deeper ones are refused
inline constexpr std::size_t mark_threads = 2048;    ///< threads with a slot in the file; later ones are pinned but not marked
inline constexpr std::size_t mark_names = 1024;      ///< tables and instances that have a name in the file

/// One thread's slot. Written by that thread only. Two cache lines.
struct alignas(128) mark_slot {
    std::atomic<std::uint32_t> tid{0};   ///< 0 = free
    std::atomic<std::uint32_t> depth{0};
    std::atomic<std::uint64_t> active[mark_depth];  ///< outermost first; 0 = none
    std::uint64_t reserved;
};
static_assert(sizeof(mark_slot) == 128);

/// This thread's slot; claimed at the first use, given back when the thread ends.
mark_slot* claim_mark_slot();
extern constinit thread_local mark_slot* claimed_slot;
inline mark_slot& this_thread_slot() {
    if (claimed_slot == nullptr) [[unlikely]] claimed_slot = claim_mark_slot();
    return *claimed_slot;
}
/// false: membarrier(2) is not available here and pins fence themselves.
extern std::atomic<bool> pins_fence_themselves;

/// Marks a call into the plugin behind `key` for as long as it lives. Not a pin: whoever uses it already owns a lease.
class call_mark {
  public:
    explicit call_mark(std::uint64_t key) noexcept : slot_(this_thread_slot()) {
        const auto d = slot_.depth.load(std::memory_order_relaxed);
        if (d < mark_depth) slot_.active[d].store(key, std::memory_order_relaxed);
        slot_.depth.store(d + 1, std::memory_order_relaxed);
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    ~call_mark() {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        const auto d = slot_.depth.load(std::memory_order_relaxed) - 1;
        if (d < mark_depth) slot_.active[d].store(0, std::memory_order_release);
        slot_.depth.store(d, std::memory_order_relaxed);
    }
    call_mark(const call_mark&) = delete;
    call_mark& operator=(const call_mark&) = delete;

  private:
    mark_slot& slot_;
};

/// A table of one incarnation, ready to be called: missing slots filled. Its address is the hazard and the key of its mark.
struct binding {
    const void* table;
    void* self;
};

/// Where an interface of an instance is found, whatever incarnation serves. Lives as long as somebody holds it.
struct call_gate {
    std::atomic<const binding*> current{nullptr};  ///< null = not active
};

/// A table in use on this thread, for the duration of one short call. Holds up the destruction of the incarnation: never keep it.
template <class Table>
class [[nodiscard]] pinned {
  public:
    explicit pinned(const call_gate& gate) noexcept : slot_(&this_thread_slot()) {
        const auto d = slot_->depth.load(std::memory_order_relaxed);
        const binding* b = gate.current.load(std::memory_order_relaxed);
        if (b == nullptr || d >= mark_depth) [[unlikely]] {
            slot_ = nullptr;
            return;
        }
        slot_->active[d].store(reinterpret_cast<std::uint64_t>(b), std::memory_order_relaxed);
        slot_->depth.store(d + 1, std::memory_order_relaxed);
        // The retiring side runs membarrier between withdrawing `current` and reading the slots: no instruction needed here.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (pins_fence_themselves.load(std::memory_order_relaxed)) [[unlikely]] std::atomic_thread_fence(std::memory_order_seq_cst);
        if (gate.current.load(std::memory_order_acquire) != b) [[unlikely]] {
            drop();
            return;
        }
        binding_ = b;
    }
    ~pinned() {
        if (slot_ != nullptr) drop();
    }
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;

    explicit operator bool() const noexcept { return binding_ != nullptr; }  ///< false: not active now, or nested too deep
    const Table* operator->() const noexcept { return static_cast<const Table*>(binding_->table); }
    void* self() const noexcept { return binding_->self; }

  private:
    void drop() noexcept {
        const auto d = slot_->depth.load(std::memory_order_relaxed) - 1;
        slot_->active[d].store(0, std::memory_order_release);
        slot_->depth.store(d, std::memory_order_relaxed);
        slot_ = nullptr;
    }
    mark_slot* slot_;
    const binding* binding_ = nullptr;
};

/// Copyable, any thread. `if (auto p = port.pin()) p->permit(p.self(), breaker, now, &out);`
template <class Table>
class fast_port {
  public:
    fast_port() = default;
    explicit fast_port(std::shared_ptr<call_gate> gate) : gate_(std::move(gate)) {}
    pinned<Table> pin() const noexcept { return pinned<Table>(*gate_); }
    explicit operator bool() const noexcept { return gate_ != nullptr; }

  private:
    std::shared_ptr<call_gate> gate_;  // second owner: the plugin set
};

/// Waits until no thread's slot names `key`, which nobody can newly pin any more. false: still named at the deadline.
bool wait_unpinned(std::uint64_t key, nanoseconds deadline);
bool is_pinned(std::uint64_t key);

/// A resolved interface without its type.
struct raw_bound {
    const void* table = nullptr;
    void* self = nullptr;
    std::shared_ptr<const void> lease;  ///< second owner: the user of the interface
};

/// The file of marks of this process. Created once per process: threads that run before have slots in plain memory.
class crash_marks {
  public:
    /// Makes <runtime_dir>/marks (0600), replacing an old one. A second call returns the first one's file.
    static result<std::shared_ptr<crash_marks>> open(const std::string& runtime_dir);
    ~crash_marks();
    void name(std::uint64_t key, std::string_view plugin) noexcept;  ///< full: the mark stays nameless
    void forget(std::uint64_t key) noexcept;
    const std::string& path() const noexcept { return path_; }

    struct mark {
        std::uint32_t tid = 0;
        std::vector<std::string> plugins;  ///< outermost first: the last one is the one whose code ran
    };
    /// For the guardian, after the host died. Reads nothing it cannot bound. Errors: not_found, corrupt.
    static result<std::vector<mark>> read(const std::string& path);

  private:
    crash_marks() = default;
    std::string path_;
};

}  // namespace holdfast::plugins
