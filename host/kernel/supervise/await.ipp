// Included by supervisor.hpp only.
#pragma once
#include <condition_variable>
#include <mutex>
#include <optional>

namespace holdfast::supervise {

template <class T>
result<T> await(nanoseconds deadline, unique_function<void(unique_function<void(result<T>)>)> begin) {
    struct shared {
        std::mutex mutex;
        std::condition_variable arrived;
        std::optional<result<T>> value;
    };
    auto s = std::make_shared<shared>();  // second owner: the callback, which may come after the deadline
    begin([s](result<T> value) {
        std::lock_guard lock(s->mutex);
        s->value = std::move(value);
        s->arrived.notify_all();
    });
    std::unique_lock lock(s->mutex);
    if (!s->arrived.wait_for(lock, deadline, [&] { return s->value.has_value(); }))
        return fail(errc::timeout, "no answer before the deadline");
    return std::move(*s->value);
}

}  // namespace holdfast::supervise
