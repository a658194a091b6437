#include "app/control_client.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernel/supervise/supervisor.hpp"

namespace holdfast::app {

result<std::unique_ptr<control_client>> control_client::connect(const std::string& data_dir, std::string via) {
    const std::string path = data_dir + "/control.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(errc::io_error, "the control socket's path is too long: " + path);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(errc::io_error, std::string("socket: ") + std::strerror(errno));
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int why = errno;
        ::close(fd);
        if (why == EACCES) return fail(errc::forbidden, path + " belongs to another user");
        return fail(errc::unavailable, "no host is running on " + data_dir + ": start one with 'holdfast run', or name its configuration with --config");
    }
    return std::unique_ptr<control_client>(new control_client(fd, std::move(via)));
}

control_client::control_client(int fd, std::string via) : fd_(fd), via_(std::move(via)), reader_([this] { read_loop(); }) {}

control_client::~control_client() {
    {
        std::lock_guard lock(mutex_);
        lost_ = nullptr;
    }
    ::shutdown(fd_, SHUT_RDWR);
    reader_.join();
    ::close(fd_);
}

bool control_client::connected() const {
    std::lock_guard lock(mutex_);
    return connected_;
}

void control_client::on_lost(std::function<void()> f) {
    std::lock_guard lock(mutex_);
    lost_ = std::move(f);
}

void control_client::send(json request, reply done) {
    {
        std::lock_guard lock(mutex_);
        if (connected_) {
            const std::uint64_t id = next_id_++;
            request["id"] = id;
            waiting_[id] = std::move(done);
        }
    }
    if (!request.contains("id")) return done(fail(errc::transport_lost, "the host has gone away"));
    write(dump(request) + "\n");
}

void control_client::write(const std::string& line) {
    std::lock_guard lock(write_mutex_);
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t n = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return static_cast<void>(::shutdown(fd_, SHUT_RDWR));  // the reader fails what waits
        sent += static_cast<std::size_t>(n);
    }
}

void control_client::call(const std::string& method, json params, reply done) {
    send({{"method", method}, {"params", std::move(params)}, {"via", via_}}, std::move(done));
}

std::uint64_t control_client::stream(const std::string& method, std::string_view params, std::function<void(std::string)> chunk, reply done) {
    std::uint64_t id = 0;
    {
        std::lock_guard lock(mutex_);
        if (connected_) {
            id = next_id_++;
            waiting_[id] = std::move(done);
            chunks_[id] = std::make_shared<std::function<void(std::string)>>(std::move(chunk));
        }
    }
    if (id == 0) return done(fail(errc::transport_lost, "the host has gone away")), 0;
    std::string line = "{\"id\":" + std::to_string(id) + ",\"via\":" + dump(via_) + ",\"method\":" + dump(method) + ",\"params\":";
    write(line.append(params).append("}\n"));
    return id;
}

void control_client::cancel(std::uint64_t call) { write("{\"id\":" + std::to_string(call) + ",\"cancel\":true}\n"); }

result<json> control_client::call(const std::string& method, json params, milliseconds timeout) {
    return supervise::await<json>(timeout, [&](reply done) { call(method, std::move(params), std::move(done)); });
}

result<json> control_client::subscribe(json options, on_event f) {
    {
        std::lock_guard lock(mutex_);
        subscribing_ = f;
    }
    return supervise::await<json>(seconds(10), [&](reply done) {
        send({{"subscribe", std::move(options)}}, [this, f, done = std::move(done)](result<json> r) mutable {
            if (r) {
                std::lock_guard lock(mutex_);
                subscriptions_[(*r)["subscription"].get<std::uint64_t>()] = f;
            }
            done(std::move(r));
        });
    });
}

void control_client::read_loop() {
    std::string input;
    char buffer[64 * 1024];
    for (;;) {
        const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_all();
        input.append(buffer, static_cast<std::size_t>(n));
        std::size_t begin = 0;
        for (std::size_t end; (end = input.find('\n', begin)) != std::string::npos; begin = end + 1)
            handle(std::string_view(input).substr(begin, end - begin));
        input.erase(0, begin);
    }
}

void control_client::handle(std::string_view line) {
    auto message = parse_json(line, 256);
    if (!message) return;
    if (message->contains("subscription") && message->contains("event")) {
        on_event f;
        {
            std::lock_guard lock(mutex_);
            auto it = subscriptions_.find((*message)["subscription"].get<std::uint64_t>());
            f = it == subscriptions_.end() ? subscribing_ : it->second;
        }
        if (f) f((*message)["event"]);
        return;
    }
    const auto id = static_cast<std::uint64_t>(int_or(*message, "id", 0));
    if (auto chunk = message->find("chunk"); chunk != message->end() && chunk->is_string()) {
        std::shared_ptr<std::function<void(std::string)>> f;
        {
            std::lock_guard lock(mutex_);
            if (auto it = chunks_.find(id); it != chunks_.end()) f = it->second;
        }
        if (f) (*f)(std::move(chunk->get_ref<std::string&>()));
        return;
    }
    reply done;
    {
        std::lock_guard lock(mutex_);
        chunks_.erase(id);
        auto it = waiting_.find(id);
        if (it == waiting_.end()) return;
        done = std::move(it->second);
        waiting_.erase(it);
    }
    if (message->contains("result")) return done(std::move((*message)["result"]));
    const json& e = member(*message, "error");
    error err{errc::internal, string_or(e, "message", "the host answered with an error"), milliseconds(int_or(e, "retry_after_ms", 0))};
    for (int c = 0; c <= static_cast<int>(errc::stale); ++c)
        if (to_string(static_cast<errc>(c)) == string_or(e, "code")) err.code = static_cast<errc>(c);
    done(tl::unexpected<error>(std::move(err)));
}

void control_client::fail_all() {
    std::map<std::uint64_t, reply> waiting;
    std::function<void()> lost;
    {
        std::lock_guard lock(mutex_);
        connected_ = false;
        waiting.swap(waiting_);
        chunks_.clear();
        lost = std::move(lost_);
    }
    for (auto& [id, done] : waiting) done(fail(errc::transport_lost, "the host has gone away"));
    if (lost) lost();
}

}  // namespace holdfast::app
