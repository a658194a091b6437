#include "kernel/config/watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace holdfast::config {

struct file_watch::impl : std::enable_shared_from_this<impl> {
    supervise::runtime& rt;
    std::string name;
    std::function<void()> on_change;
    int fd = -1;
    std::mutex mutex;  // guards what follows; never held while on_change runs
    supervise::fd_watch watch;
    supervise::timer_handle settle;
    bool closed = false;

    impl(supervise::runtime& r, std::function<void()> f) : rt(r), on_change(std::move(f)) {}
    ~impl() {
        if (fd >= 0) ::close(fd);
    }

    /// true when one of the events names our file.
    bool drain() const {
        alignas(inotify_event) char buffer[4096];
        bool ours = false;
        for (;;) {
            const ssize_t n = ::read(fd, buffer, sizeof buffer);
            if (n <= 0) return ours;
            for (ssize_t at = 0; at < n;) {
                const auto* e = reinterpret_cast<const inotify_event*>(buffer + at);
                if (name.empty() || (e->len > 0 && name == e->name) || (e->mask & IN_Q_OVERFLOW)) ours = true;
                at += static_cast<ssize_t>(sizeof(inotify_event) + e->len);
            }
        }
    }

    void ready() {
        const bool ours = drain();
        std::lock_guard lock(mutex);
        if (closed) return;
        if (ours)
            settle = rt.after(watch_settle, [weak = weak_from_this()] {
                if (auto self = weak.lock()) self->fire();
            });
        watch.rearm(supervise::fd_readable);
    }

    void fire() {
        {
            std::lock_guard lock(mutex);
            if (closed) return;
        }
        on_change();
    }
};

result<std::unique_ptr<file_watch>> file_watch::create(supervise::runtime& rt, const std::string& path, std::function<void()> on_change) {
    auto state = std::make_shared<impl>(rt, std::move(on_change));
    const std::filesystem::path absolute = std::filesystem::absolute(path);
    state->name = absolute.filename().string();
    state->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (state->fd < 0) return fail(errc::io_error, std::string("inotify: ") + std::strerror(errno));
    if (inotify_add_watch(state->fd, absolute.parent_path().c_str(), IN_CLOSE_WRITE | IN_MOVED_TO | (state->name.empty() ? IN_DELETE | IN_MOVED_FROM : 0)) < 0)
        return fail(errc::io_error, absolute.parent_path().string() + ": " + std::strerror(errno));
    std::lock_guard lock(state->mutex);
    auto watch = rt.watch_fd(state->fd, supervise::fd_readable, [weak = std::weak_ptr(state)](std::uint32_t) {
        if (auto self = weak.lock()) self->ready();
    }, supervise::dispatch::pool);
    if (!watch) return tl::unexpected<error>(watch.error());
    state->watch = std::move(*watch);
    return std::unique_ptr<file_watch>(new file_watch(std::move(state)));
}

file_watch::~file_watch() {
    std::lock_guard lock(impl_->mutex);
    impl_->closed = true;
    impl_->watch.cancel();
    impl_->settle.cancel();
}

}  // namespace holdfast::config
