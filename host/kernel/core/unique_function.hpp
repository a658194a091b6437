#pragma once
// A move-only std::function (std::move_only_function is C++23). Closures up to 48 bytes are stored inline.
#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace holdfast {

template <class Signature>
class unique_function;

template <class R, class... Args>
class unique_function<R(Args...)> {
    static constexpr std::size_t inline_size = 48;
    struct table {
        R (*call)(void*, Args&&...);
        void (*move)(void* from, void* to) noexcept;
        void (*destroy)(void*) noexcept;
    };
    template <class F>
    static constexpr bool fits = sizeof(F) <= inline_size && alignof(F) <= alignof(std::max_align_t) &&
                                 std::is_nothrow_move_constructible_v<F>;
    template <class F>
    static constexpr table inline_table{
        [](void* f, Args&&... a) -> R { return (*static_cast<F*>(f))(std::forward<Args>(a)...); },
        [](void* from, void* to) noexcept {
            new (to) F(std::move(*static_cast<F*>(from)));
            static_cast<F*>(from)->~F();
        },
        [](void* f) noexcept { static_cast<F*>(f)->~F(); }};
    template <class F>
    static constexpr table heap_table{
        [](void* f, Args&&... a) -> R { return (**static_cast<F**>(f))(std::forward<Args>(a)...); },
        [](void* from, void* to) noexcept { *static_cast<F**>(to) = *static_cast<F**>(from); },
        [](void* f) noexcept { delete *static_cast<F**>(f); }};

  public:
    unique_function() = default;
    unique_function(std::nullptr_t) {}
    template <class F, class D = std::decay_t<F>,
              class = std::enable_if_t<!std::is_same_v<D, unique_function> && std::is_invocable_r_v<R, D&, Args...>>>
    unique_function(F&& f) {
        if constexpr (fits<D>) {
            new (storage_) D(std::forward<F>(f));
            table_ = &inline_table<D>;
        } else {
            *reinterpret_cast<D**>(storage_) = new D(std::forward<F>(f));
            table_ = &heap_table<D>;
        }
    }
    unique_function(unique_function&& o) noexcept { take(o); }
    unique_function& operator=(unique_function&& o) noexcept {
        if (this != &o) {
            reset();
            take(o);
        }
        return *this;
    }
    ~unique_function() { reset(); }

    explicit operator bool() const noexcept { return table_ != nullptr; }
    R operator()(Args... args) { return table_->call(storage_, std::forward<Args>(args)...); }
    void reset() noexcept {
        if (table_) std::exchange(table_, nullptr)->destroy(storage_);
    }

  private:
    void take(unique_function& o) noexcept {
        if (o.table_) {
            o.table_->move(o.storage_, storage_);
            table_ = std::exchange(o.table_, nullptr);
        }
    }
    alignas(std::max_align_t) std::byte storage_[inline_size];
    const table* table_ = nullptr;
};

}  // namespace holdfast
