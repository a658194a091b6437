#include "file_root.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace holdfast::demo {
namespace {

struct descriptor {
    int fd;
    ~descriptor() {
        if (fd >= 0) ::close(fd);
    }
};

tl::unexpected<error> explain(const std::string& path, int number) {
    switch (number) {
        case EXDEV:
            return fail(errc::invalid_argument, "'" + path + "' leads outside the root directory");
        case ELOOP:
            return fail(errc::invalid_argument, "'" + path + "' goes through a symbolic link that is not followed");
        case ENOENT:
        case ENOTDIR:
            return fail(errc::not_found, "there is no '" + path + "' under the root directory");
        case EACCES:
        case EPERM:
            return fail(errc::forbidden, "'" + path + "' may not be read");
        case ENAMETOOLONG:
            return fail(errc::invalid_argument, "the path is too long");
        default:
            return fail(errc::io_error, "'" + path + "' cannot be read: " + std::strerror(number));
    }
}

/// For kernels and sandboxes without openat2: one component at a time, and no symbolic link at all.
int open_stepwise(int root, const std::string& path, int flags) {
    int at = ::fcntl(root, F_DUPFD_CLOEXEC, 0);
    std::size_t from = 0;
    while (at >= 0) {
        const auto slash = path.find('/', from);
        const std::string part = path.substr(from, slash == std::string::npos ? slash : slash - from);
        const bool last = slash == std::string::npos || path.find_first_not_of('/', slash) == std::string::npos;
        int next = -1;
        if (part == "..") {
            errno = EXDEV;
        } else {
            next = ::openat(at, part.empty() ? "." : part.c_str(),
                            (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC);
        }
        const int saved = errno;
        ::close(at);
        errno = saved;
        if (last || next < 0) return next;
        at = next;
        from = slash + 1;
    }
    return -1;
}

/// How many of the first bytes are whole, valid UTF-8 characters.
std::size_t valid_utf8(std::string_view s) {
    std::size_t i = 0;
    while (i < s.size()) {
        const auto lead = static_cast<unsigned char>(s[i]);
        const std::size_t length = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3
                                   : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
        if (length == 0) return i;
        for (std::size_t k = 1; k < length; ++k) {
            if (i + k >= s.size()) return i;
            const auto c = static_cast<unsigned char>(s[i + k]);
            const bool too_small = k == 1 && ((lead == 0xE0 && c < 0xA0) || (lead == 0xF0 && c < 0x90));
            const bool too_large = k == 1 && ((lead == 0xED && c > 0x9F) || (lead == 0xF4 && c > 0x8F));
            if ((c & 0xC0) != 0x80 || too_small || too_large) return i;
        }
        i += length;
    }
    return i;
}

}  // namespace

result<file_root> file_root::open(const std::string& directory) {
    const int fd = ::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(errc::io_error, "the root directory '" + directory + "' cannot be opened: " + std::strerror(errno));
    return file_root(fd);
}

file_root::~file_root() {
    if (fd_ >= 0) ::close(fd_);
}

result<int> file_root::resolve(const std::string& path, int flags) const {
    if (path.find('\0') != std::string::npos) return fail(errc::invalid_argument, "the path contains a zero byte");
    if (!path.empty() && path.front() == '/')
        return fail(errc::invalid_argument, "'" + path + "' is absolute; paths are relative to the root directory");
    const std::string relative = path.empty() ? "." : path;
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    int fd = -1;
    // EAGAIN: something on the way was renamed meanwhile and the kernel could not rule out an escape.
    for (int attempt = 0; attempt < 8; ++attempt) {
        fd = static_cast<int>(::syscall(SYS_openat2, fd_, relative.c_str(), &how, sizeof how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
    }
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) fd = open_stepwise(fd_, relative, flags);
    if (fd < 0) return explain(relative, errno);
    return fd;
}

result<file_root::listing> file_root::list(const std::string& path) const {
    auto fd = resolve(path, O_RDONLY | O_DIRECTORY);
    if (!fd) {
        if (fd.error().code == errc::not_found) fd.error().message += " that is a directory";
        return unexpected(fd.error());
    }
    DIR* directory = ::fdopendir(*fd);
    if (!directory) {
        const int saved = errno;
        ::close(*fd);
        return explain(path, saved);
    }
    listing found;
    while (const dirent* d = ::readdir(directory)) {
        const std::string name = d->d_name;
        if (name == "." || name == "..") continue;
        if (found.entries.size() == max_entries) {
            found.truncated = true;
            break;
        }
        struct stat s {};
        entry e{name};
        if (::fstatat(*fd, d->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0) {
            e.kind = S_ISREG(s.st_mode) ? 'f' : S_ISDIR(s.st_mode) ? 'd' : S_ISLNK(s.st_mode) ? 'l' : '?';
            if (e.kind == 'f') e.size = s.st_size;
        }
        found.entries.push_back(std::move(e));
    }
    ::closedir(directory);
    std::sort(found.entries.begin(), found.entries.end(), [](const entry& a, const entry& b) { return a.name < b.name; });
    return found;
}

result<file_root::piece> file_root::read(const std::string& path, std::int64_t offset, std::int64_t limit) const {
    // O_NONBLOCK: opening a named pipe must not wait for its writer; the check below then refuses it.
    auto fd = resolve(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd) return unexpected(fd.error());
    const descriptor file{*fd};
    struct stat s {};
    if (::fstat(file.fd, &s) != 0) return explain(path, errno);
    if (S_ISDIR(s.st_mode)) return fail(errc::invalid_argument, "'" + path + "' is a directory; use list_files");
    if (!S_ISREG(s.st_mode)) return fail(errc::invalid_argument, "'" + path + "' is not a regular file");
    piece out;
    out.size = s.st_size;
    out.offset = out.next = std::min<std::int64_t>(offset, out.size);
    // Four bytes at least, so that one character of any length fits and every call makes progress.
    std::string bytes(static_cast<std::size_t>(std::clamp<std::int64_t>(limit, 4, max_read)), '\0');
    std::size_t have = 0;
    while (have < bytes.size()) {
        const ssize_t n = ::pread(file.fd, bytes.data() + have, bytes.size() - have, out.offset + static_cast<off_t>(have));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return explain(path, errno);
        if (n == 0) break;
        have += static_cast<std::size_t>(n);
    }
    bytes.resize(have);
    out.size = std::max(out.size, out.offset + static_cast<std::int64_t>(have));
    // A character cut by the limit is left for the next piece; anywhere else an invalid byte means: not text.
    const bool at_end = out.offset + static_cast<std::int64_t>(have) >= out.size;
    const std::size_t good = valid_utf8(bytes);
    if (have - good > 3 || (at_end && good != have) || bytes.find('\0') != std::string::npos)
        return fail(errc::invalid_argument, "'" + path + "' is not UTF-8 text (at byte " +
                                                std::to_string(out.offset + static_cast<std::int64_t>(good)) + " of " +
                                                std::to_string(out.size) + ")");
    bytes.resize(good);
    out.text = std::move(bytes);
    out.next = out.offset + static_cast<std::int64_t>(good);
    return out;
}

}  // namespace holdfast::demo
