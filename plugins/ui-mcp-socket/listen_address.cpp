#include "listen_address.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "holdfast/json.hpp"
#include "holdfast/status.hpp"

namespace holdfast::ui_mcp_socket {
namespace {
[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }
constexpr int backlog = 128;
}  // namespace

settings read_settings(std::string_view text) {
    settings s;
    sdk::json_each(sdk::json_member(text, "listen"), [&s](std::string_view item) {
        const auto url = sdk::json_unquote(item);
        const bool any_port = url && url->starts_with("tcp://") && url->ends_with(":0");
        auto a = url ? net::parse_stream_address(any_port ? *url + "1" : *url, false) : std::nullopt;
        if (a && any_port) a->port = 0;
        if (!a || a->secure) refuse("\"listen\" has to hold addresses such as \"unix:/run/user/1000/mcp.sock\" and \"tcp://127.0.0.1:7778\"");
        // A bare socket has no token and no encryption.
        if (a->unix_path.empty() && a->host != "::1" && a->host.rfind("127.", 0) != 0) refuse("\"listen\": a TCP address has to be one of this machine's own (127.0.0.1, ::1), because anybody who reaches it may use it");
        s.listen.push_back(*a);
    });
    s.role = sdk::json_text(text, "role", s.role);
    if (s.role != "viewer" && s.role != "operator" && s.role != "admin") refuse("\"role\" has to be viewer, operator or admin");
    s.max_connections = sdk::json_number<std::size_t>(text, "max_connections", s.max_connections);
    s.max_message_bytes = sdk::json_number<std::size_t>(text, "max_message_bytes", s.max_message_bytes);
    return s;
}

int listen_unix(const std::string& path) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    if (path.size() >= sizeof a.sun_path) refuse("the path of the socket is too long: " + path);
    std::memcpy(a.sun_path, path.c_str(), path.size() + 1);
    const auto* const at = reinterpret_cast<const sockaddr*>(&a);
    const auto fail = [&](int fd, const char* what) {
        const std::string why = std::strerror(errno);
        if (fd >= 0) ::close(fd);
        throw sdk::plugin_error(HF_E_UNAVAILABLE, std::string(what) + " " + path + ": " + why);
    };
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail(fd, "cannot make a socket for");
    if (::bind(fd, at, sizeof a) != 0) {
        struct stat st {};
        if (errno != EADDRINUSE || ::lstat(path.c_str(), &st) != 0 || !S_ISSOCK(st.st_mode)) fail(fd, "cannot listen at");
        const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const bool alive = ::connect(probe, at, sizeof a) == 0 || errno != ECONNREFUSED;
        ::close(probe);
        if (alive) {
            errno = EADDRINUSE;
            fail(fd, "somebody listens at");
        }
        ::unlink(path.c_str());
        if (::bind(fd, at, sizeof a) != 0) fail(fd, "cannot listen at");
    }
    // Nobody can connect before listen(), so nobody gets in before the mode is set.
    if (::chmod(path.c_str(), 0600) != 0 || ::listen(fd, backlog) != 0) fail(fd, "cannot listen at");
    return fd;
}

}  // namespace holdfast::ui_mcp_socket
