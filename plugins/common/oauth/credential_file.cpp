#include "oauth/credential_file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"

namespace holdfast::oauth {
namespace {
using json = nlohmann::json;

constexpr int version = 1;
constexpr ::mode_t owner_only = 0600;

class descriptor {
  public:
    explicit descriptor(int fd) : fd_(fd) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

[[noreturn]] void io_error(const std::string& path, const char* what) {
    throw sdk::plugin_error(HF_E_IO, "cannot " + std::string(what) + " " + path + ": " + std::strerror(errno));
}
[[noreturn]] void corrupt() {
    throw sdk::plugin_error(HF_E_CORRUPT, "credentials.json of the HTTP transport cannot be read: remove it and log in again");
}

std::int64_t seconds_of(wall_time t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }
constexpr std::int64_t latest_time_s = std::int64_t{1} << 33;  // the year 2242: still fits nanoseconds
wall_time time_of(const json& o, const char* key) {
    const auto s = o.value(key, std::int64_t{0});
    if (s < 0 || s > latest_time_s) corrupt();
    return wall_time(std::chrono::seconds(s));
}

json identity_json(const identity& c) {
    json o = {{"client_id", c.client_id}, {"method", name_of(c.method)}};
    if (!c.client_secret.empty()) o["client_secret"] = c.client_secret;
    return o;
}
identity identity_of(const json& o) {
    const auto method = method_of(o.at("method").get<std::string>());
    if (!method) corrupt();
    return {o.at("client_id").get<std::string>(), o.value("client_secret", std::string()), *method};
}

}  // namespace

credentials read_credentials(std::string_view text) {
    credentials c;
    try {
        const json o = json::parse(text);
        if (o.at("version") != version) corrupt();
        for (const auto& [name, g] : o.at("grants").items()) {
            const int where = g.at("server_reach").get<int>();
            if (where < 0 || where > static_cast<int>(reach::nowhere)) corrupt();
            c.grants[name] = {g.at("server_url"),    g.at("issuer"),        g.at("resource"),        g.at("token_endpoint"),
                              identity_of(g.at("client")), g.at("access_token"), g.at("refresh_token"), time_of(g, "expires_at"),
                              time_of(g, "fresh_until"), g.at("scopes"),     static_cast<reach>(where)};
        }
        for (const auto& [issuer, r] : o.at("clients").items())
            c.clients[issuer] = {identity_of(r), r.at("redirect_uri"), time_of(r, "secret_expires_at")};
    } catch (const json::exception&) {
        corrupt();
    }
    return c;
}

std::string write_credentials(const credentials& c) {
    json grants = json::object(), clients = json::object();
    for (const auto& [name, g] : c.grants)
        grants[name] = {{"server_url", g.server_url},      {"issuer", g.issuer},
                        {"resource", g.resource},          {"token_endpoint", g.token_endpoint},
                        {"client", identity_json(g.client)}, {"access_token", g.access_token},
                        {"refresh_token", g.refresh_token}, {"expires_at", seconds_of(g.expires_at)},
                        {"fresh_until", seconds_of(g.fresh_until)}, {"scopes", g.scopes},
                        {"server_reach", static_cast<int>(g.server_reach)}};
    for (const auto& [issuer, r] : c.clients) {
        json o = identity_json(r.client);
        o["redirect_uri"] = r.redirect_uri;
        if (r.secret_expires_at != wall_time{}) o["secret_expires_at"] = seconds_of(r.secret_expires_at);
        clients[issuer] = std::move(o);
    }
    return json{{"version", version}, {"grants", std::move(grants)}, {"clients", std::move(clients)}}.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

credentials credential_file::load() const {
    const descriptor fd(::open(path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (fd.get() < 0) {
        if (errno == ENOENT) return {};
        io_error(path(), "open");
    }
    struct stat st {};
    if (::fstat(fd.get(), &st) != 0) io_error(path(), "look at");
    if (!S_ISREG(st.st_mode) || static_cast<std::size_t>(st.st_size) > max_credential_bytes) corrupt();
    // A copy or a restored backup may have lost its mode.
    if ((st.st_mode & 0777 & ~owner_only) != 0 && ::fchmod(fd.get(), owner_only) != 0) io_error(path(), "protect");
    std::string text(static_cast<std::size_t>(st.st_size), '\0');
    std::size_t have = 0;
    while (have < text.size()) {
        const ssize_t n = ::read(fd.get(), text.data() + have, text.size() - have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) io_error(path(), "read");
        have += static_cast<std::size_t>(n);
    }
    return read_credentials(text);
}

void credential_file::change(const std::function<void(credentials&)>& f) const {
    const std::string beside = directory_ + "/credentials.lock";
    const descriptor lock(::open(beside.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, owner_only));
    if (lock.get() < 0) io_error(beside, "open");
    while (::flock(lock.get(), LOCK_EX) != 0)  // held for a few milliseconds at a time
        if (errno != EINTR) io_error(beside, "lock");
    credentials c = load();
    f(c);
    save(write_credentials(c));
}

void credential_file::save(const std::string& text) const {
    const std::string fresh = path() + ".new";
    ::unlink(fresh.c_str());  // of a writer that died
    {
        const descriptor fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, owner_only));
        if (fd.get() < 0) io_error(fresh, "create");
        std::size_t done = 0;
        while (done < text.size()) {
            const ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) io_error(fresh, "write");
            done += static_cast<std::size_t>(n);
        }
        if (::fsync(fd.get()) != 0) io_error(fresh, "write");
    }
    if (::rename(fresh.c_str(), path().c_str()) != 0) io_error(path(), "replace");
    const descriptor dir(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (dir.get() < 0 || ::fsync(dir.get()) != 0) io_error(directory_, "write");
}

}  // namespace holdfast::oauth
