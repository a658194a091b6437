#include "kernel/events/recycle.hpp"

#include <array>
#include <cstdint>

namespace holdfast::events {
namespace {

constexpr std::size_t step = 32;             // block sizes are multiples of this
constexpr std::size_t largest = 512;         // larger ones go to the heap
constexpr std::uint32_t stock_limit = 128;   // blocks per size and thread: at most about half a megabyte per thread

struct node {
    node* next;
};

// Sanitizers should see every use after free.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool recycling = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool recycling = false;
#else
constexpr bool recycling = true;
#endif
#else
constexpr bool recycling = true;
#endif

// Trivial, so that it can be used until the very end of its thread; `guard` empties it.
struct stock {
    std::array<node*, largest / step + 1> head;
    std::array<std::uint32_t, largest / step + 1> count;
    bool closed;
};
thread_local constinit stock mine{};

struct guard {
    ~guard() {
        mine.closed = true;
        for (node*& n : mine.head)
            while (n) {
                node* const next = n->next;
                ::operator delete(n);
                n = next;
            }
    }
};

std::size_t size_class(std::size_t bytes) { return (bytes + step - 1) / step; }

}  // namespace

void* take_block(std::size_t bytes) {
    if (!recycling || bytes > largest) return ::operator new(bytes);
    const std::size_t c = size_class(bytes);
    if (node* const n = mine.head[c]) {
        mine.head[c] = n->next;
        --mine.count[c];
        return n;
    }
    return ::operator new(c * step);
}

void give_block(void* p, std::size_t bytes) noexcept {
    const std::size_t c = size_class(bytes);
    if (!recycling || bytes > largest || mine.closed || mine.count[c] >= stock_limit) {
        ::operator delete(p);
        return;
    }
    static thread_local guard emptied_at_thread_exit;
    (void)emptied_at_thread_exit;
    ++mine.count[c];
    mine.head[c] = new (p) node{mine.head[c]};
}

}  // namespace holdfast::events
