#pragma once
// Internal to event.hpp. Event bodies are allocated and freed in bulk by publishing threads, which general allocators do not
// like (64 at a time overflow their thread caches). So each thread keeps a bounded stock of freed blocks per size.
#include <cstddef>
#include <new>
#include <type_traits>

namespace holdfast::events {

void* take_block(std::size_t bytes);            ///< [any thread]
void give_block(void* p, std::size_t bytes) noexcept;  ///< [any thread, also another than took it]

template <class T>
struct recycling_allocator {
    using value_type = T;
    recycling_allocator() = default;
    template <class U>
    recycling_allocator(const recycling_allocator<U>&) noexcept {}
    T* allocate(std::size_t n) {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        return static_cast<T*>(take_block(n * sizeof(T)));
    }
    void deallocate(T* p, std::size_t n) noexcept { give_block(p, n * sizeof(T)); }
    template <class U>
    bool operator==(const recycling_allocator<U>&) const noexcept {
        return true;
    }
};

}  // namespace holdfast::events
