#include "api/identity.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernel/core/ids.hpp"

namespace holdfast::api {
namespace {

result<std::string> read_token(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return fail(errno == ENOENT ? errc::not_found : errc::io_error, path + ": " + std::strerror(errno));
    struct stat st {};
    ::fstat(fd, &st);
    char buffer[256];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    ::close(fd);
    if ((st.st_mode & 077) != 0)
        return fail(errc::config_invalid, path + " can be read by others: run chmod 600 on it, or remove it to get a new token");
    std::string token(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
    while (!token.empty() && (token.back() == '\n' || token.back() == ' ')) token.pop_back();
    if (token.size() < 32) return fail(errc::config_invalid, path + " holds no usable token: remove it to get a new one");
    return token;
}

result<std::string> create_token(const std::string& path) {
    const std::string token = random_hex(32);
    const std::string fresh = path + ".new." + std::to_string(::getpid());
    const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail(errc::io_error, "the token cannot be stored in " + path + ": " + std::strerror(errno));
    const std::string text = token + "\n";
    const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
    ::close(fd);
    if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) {
        const std::string why = std::strerror(errno);
        ::unlink(fresh.c_str());
        return fail(errc::io_error, "the token cannot be stored in " + path + ": " + why);
    }
    return token;
}

}  // namespace

result<token_authority> token_authority::open(const std::string& data_dir, mode m) {
    token_authority out;
    out.mode_ = m;
    const std::string path = data_dir + "/token";
    auto token = read_token(path);
    if (!token && token.error().code == errc::not_found) token = create_token(path);
    if (!token) return tl::unexpected<error>(token.error());
    out.token_ = std::move(*token);
    return out;
}

result<identity> token_authority::authenticate(std::string_view presented) const {
    if (mode_ == mode::none) return identity{"local", role::admin, ""};
    unsigned difference = presented.size() == token_.size() ? 0 : 1;
    for (std::size_t i = 0; i < token_.size(); ++i)
        difference |= static_cast<unsigned char>(token_[i]) ^ static_cast<unsigned char>(i < presented.size() ? presented[i] : 0);
    if (difference != 0)
        return fail(errc::unauthorized, "a valid token is needed: it is in the file 'token' of the data directory, and in the link that 'holdfast run' prints");
    return identity{"local", role::admin, ""};
}

result<identity> identity_from(const json& stated, const identity& limit) {
    identity who = limit;
    if (!stated.is_object()) return who;
    who.user = string_or(stated, "user", limit.user);
    who.via = string_or(stated, "ui", limit.via);
    if (const std::string name = string_or(stated, "role"); !name.empty()) {
        auto r = role_from(name);
        if (!r) return tl::unexpected<error>(r.error());
        who.rights = std::min(*r, limit.rights);
    }
    return who;
}

}  // namespace holdfast::api
