// Real children: one thread per child polls its pipes and its pidfd, so callbacks of one process never overlap.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>

#include "parts.hpp"

namespace holdfast::testing {

namespace {
using clock = std::chrono::steady_clock;
constexpr std::size_t high_water_bytes = 4u << 20;
constexpr milliseconds drain_limit{500};  // a grandchild may hold a pipe open

struct fd {
    int value = -1;
    fd() = default;
    explicit fd(int v) : value(v) {}
    fd(fd&& o) noexcept : value(std::exchange(o.value, -1)) {}
    fd& operator=(fd&& o) noexcept {
        if (this != &o) close(), value = std::exchange(o.value, -1);
        return *this;
    }
    ~fd() { close(); }
    void close() {
        if (value >= 0) ::close(std::exchange(value, -1));
    }
};
struct pipe_pair {
    fd read, write;
    pipe_pair() {
        int p[2];
        if (::pipe2(p, O_CLOEXEC) == 0) read = fd(p[0]), write = fd(p[1]);
    }
};
}  // namespace

struct fake_processes::child {
    hf_process_sink sink{};
    pid_t pid = -1;
    fd pidfd, in, out, err, event;
    bool lines = true;
    std::size_t max_line = 4u << 20;
    clock::time_point started = clock::now();
    std::thread thread;

    std::mutex mutex;  // what other threads ask for
    std::string to_write;
    std::optional<milliseconds> stop_grace;
    bool exited = false;

    void poke() const {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto n = ::write(event.value, &one, sizeof one);
    }

    struct stream {
        std::string partial;
        std::uint64_t dropped = 0;
    };
    // Cuts lines; a line above the limit is dropped whole and reported when it ends.
    template <class Line>
    void feed(stream& s, std::string_view data, Line&& line) {
        while (!data.empty()) {
            const auto nl = data.find('\n');
            const auto part = data.substr(0, nl);
            if (s.dropped || s.partial.size() + part.size() > max_line) {
                s.dropped += s.partial.size() + part.size();
                s.partial.clear();
            } else {
                s.partial += part;
            }
            if (nl == std::string_view::npos) return;
            end_line(s, line);
            data.remove_prefix(nl + 1);
        }
    }
    template <class Line>
    void end_line(stream& s, Line&& line) {
        if (s.dropped)
            sink.on_overflow(sink.ctx, std::exchange(s.dropped, 0));
        else
            line(s.partial);
        s.partial.clear();
    }

    void run() {
        stream so, se;
        const auto on_out = [this](const std::string& l) { sink.on_stdout(sink.ctx, sdk::bytes(l)); };
        const auto on_err = [this](const std::string& l) { sink.on_stderr(sink.ctx, sdk::str(l)); };
        int stage = 0;  // of stopping: 0 no, 1 stdin closed, 2 SIGTERM sent, 3 SIGKILL sent
        clock::time_point next_stage = clock::time_point::max();
        milliseconds grace{0};
        bool dead = false;
        clock::time_point drain_until = clock::time_point::max();
        siginfo_t status{};
        for (;;) {
            std::string chunk;
            {
                std::lock_guard lock(mutex);
                if (stop_grace && stage == 0) grace = *stop_grace, stage = 1, next_stage = clock::now() + grace;
                if (stage > 0 && to_write.empty()) in.close();  // what was queued before is still written
                chunk = to_write;
            }
            if (dead && ((out.value < 0 && err.value < 0) || clock::now() >= drain_until)) break;
            pollfd p[5] = {{event.value, POLLIN, 0},
                           {dead ? -1 : pidfd.value, POLLIN, 0},
                           {out.value, POLLIN, 0},
                           {err.value, POLLIN, 0},
                           {chunk.empty() ? -1 : in.value, POLLOUT, 0}};
            const auto until = std::min(next_stage, drain_until);
            const int wait = until == clock::time_point::max()
                                 ? -1
                                 : static_cast<int>(std::max<std::int64_t>(0, std::chrono::ceil<milliseconds>(until - clock::now()).count()));
            ::poll(p, 5, wait);
            if (p[0].revents) {
                std::uint64_t n;
                [[maybe_unused]] const auto r = ::read(event.value, &n, sizeof n);
            }
            if (p[2].revents) take(out, [&](std::string_view d) {
                if (lines) return feed(so, d, on_out);
                sink.on_stdout(sink.ctx, sdk::bytes(d));
            });
            if (p[3].revents) take(err, [&](std::string_view d) { feed(se, d, on_err); });
            if (p[4].revents) {
                const auto n = ::write(in.value, chunk.data(), chunk.size());
                std::lock_guard lock(mutex);
                if (n > 0)
                    to_write.erase(0, static_cast<std::size_t>(n));
                else if (errno != EAGAIN)
                    in.close(), to_write.clear();
            }
            if (p[1].revents) {
                ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd.value), &status, WEXITED);
                dead = true;
                next_stage = clock::time_point::max();
                drain_until = clock::now() + drain_limit;
            }
            if (!dead && clock::now() >= next_stage) {
                ++stage;
                ::kill(-pid, stage == 2 ? SIGTERM : SIGKILL);
                next_stage = stage == 2 ? clock::now() + grace : clock::time_point::max();
            }
        }
        ::kill(-pid, SIGKILL);  // what is left of its group
        if (!so.partial.empty() && lines) end_line(so, on_out);
        if (!se.partial.empty()) end_line(se, on_err);
        nlohmann::json s{{"uptime_ms", std::chrono::duration_cast<milliseconds>(clock::now() - started).count()}};
        if (status.si_code == CLD_EXITED) {
            s["kind"] = "exited", s["code"] = status.si_status;
        } else {
            s["kind"] = stage ? "killed" : "signaled";
            s["signal"] = std::string("SIG") + (sigabbrev_np(status.si_status) ? sigabbrev_np(status.si_status) : "?");
        }
        {
            std::lock_guard lock(mutex);
            exited = true;
        }
        const std::string text = s.dump();
        sink.on_exit(sink.ctx, sdk::bytes(text));
    }
    template <class F>
    static void take(fd& from, F&& f) {
        char data[65536];
        const auto n = ::read(from.value, data, sizeof data);
        if (n > 0) return f(std::string_view(data, static_cast<std::size_t>(n)));
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) from.close();
    }
};

fake_processes::~fake_processes() { kill_all(); }

std::int32_t fake_processes::spawn(std::string_view text, const hf_process_sink* sink, std::uint64_t* id, std::int64_t* pid, hf_error* err) {
    const auto spec = nlohmann::json::parse(text, nullptr, false);
    if (!spec.is_object() || !spec.contains("command")) return sdk::fill(err, HF_E_INVALID, "spawn needs {\"command\":…}");
    const std::string command = spec["command"];
    std::vector<std::string> args{command}, env;
    for (const auto& a : spec.value("args", nlohmann::json::array())) args.push_back(a);
    const auto extra = spec.value("env", nlohmann::json::object());
    for (const char* name : {"PATH", "HOME", "LANG", "TMPDIR", "USER"})
        if (const char* v = ::getenv(name); v && !extra.contains(name)) env.push_back(std::string(name) + "=" + v);
    for (const auto& [k, v] : extra.items()) env.push_back(k + "=" + v.get<std::string>());
    const auto pointers = [](std::vector<std::string>& from) {
        std::vector<char*> to;
        for (auto& s : from) to.push_back(s.data());
        to.push_back(nullptr);
        return to;
    };
    pipe_pair in, out, er;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in.read.value, 0);
    posix_spawn_file_actions_adddup2(&actions, out.write.value, 1);
    posix_spawn_file_actions_adddup2(&actions, er.write.value, 2);
    const std::string cwd = spec.value("cwd", "");
    if (!cwd.empty()) posix_spawn_file_actions_addchdir_np(&actions, cwd.c_str());
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none, all;
    sigemptyset(&none), sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    auto c = std::make_shared<child>();
    const int failed = ::posix_spawnp(&c->pid, command.c_str(), &actions, &attributes, pointers(args).data(), pointers(env).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed)
        return sdk::fill(err, failed == ENOENT ? HF_E_COMMAND_NOT_FOUND : HF_E_IO, "cannot start " + command + ": " + ::strerror(failed));
    c->sink = sdk::read_struct(sink);
    c->pidfd = fd(static_cast<int>(::syscall(SYS_pidfd_open, c->pid, 0)));
    c->in = std::move(in.write), c->out = std::move(out.read), c->err = std::move(er.read);
    ::fcntl(c->in.value, F_SETFL, O_NONBLOCK);
    c->event = fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    c->lines = spec.value("lines", true);
    c->max_line = spec.value("max_line_bytes", std::size_t{4u << 20});
    *pid = c->pid;
    std::lock_guard lock(mutex_);
    *id = ++last_id_;
    children_.emplace(*id, c);
    c->thread = std::thread([c] { c->run(); });
    return HF_OK;
}

std::shared_ptr<fake_processes::child> fake_processes::find(std::uint64_t id) const {
    std::lock_guard lock(mutex_);
    const auto it = children_.find(id);
    return it == children_.end() ? nullptr : it->second;
}

std::int32_t fake_processes::write(std::uint64_t id, std::string_view data, hf_error* err) {
    const auto c = find(id);
    if (!c) return sdk::fill(err, HF_E_NOT_FOUND, "no such process");
    {
        std::lock_guard lock(c->mutex);
        if (c->exited) return sdk::fill(err, HF_E_NOT_FOUND, "the process has ended");
        if (c->to_write.size() + data.size() > high_water_bytes) return sdk::fill(err, HF_E_OVERLOADED, "stdin: 4 MiB are waiting");
        c->to_write += data;
    }
    c->poke();
    return HF_OK;
}

void fake_processes::stop(std::uint64_t id, std::uint32_t grace_ms) {
    const auto c = find(id);
    if (!c) return;
    {
        std::lock_guard lock(c->mutex);
        if (!c->stop_grace) c->stop_grace = milliseconds(grace_ms);
    }
    c->poke();
}

std::int32_t fake_processes::stats(std::uint64_t id, hf_buf* out, hf_error* err) {
    const auto c = find(id);
    if (!c) return sdk::fill(err, HF_E_NOT_FOUND, "no such process");
    return sdk::guard(err, [&] {
        const nlohmann::json s{{"pid", c->pid}, {"memory_bytes", 0}, {"cpu_percent", 0.0}, {"fds", 0},
                               {"uptime_ms", std::chrono::duration_cast<milliseconds>(clock::now() - c->started).count()}};
        sdk::give(out, s.dump());
    });
}

std::size_t fake_processes::threads() const {
    std::lock_guard lock(mutex_);
    return children_.size();
}
std::size_t fake_processes::running() const {
    std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (const auto& [id, c] : children_) {
        std::lock_guard inner(c->mutex);
        n += !c->exited;
    }
    return n;
}

std::size_t fake_processes::kill_all() {
    std::map<std::uint64_t, std::shared_ptr<child>> all;
    std::size_t n = running();
    {
        std::lock_guard lock(mutex_);
        all.swap(children_);
    }
    for (const auto& [id, c] : all) {
        {
            std::lock_guard lock(c->mutex);
            c->stop_grace = milliseconds(0);
        }
        c->poke();
    }
    for (const auto& [id, c] : all) c->thread.join();
    return n;
}

const hf_process* fake_processes::table() {
    static constexpr hf_process t{
        sizeof(hf_process), 0,
        [](void* c, hf_bytes spec, const hf_process_sink* sink, std::uint64_t* id, std::int64_t* pid, hf_error* e) -> std::int32_t {
            std::int32_t code = HF_OK;
            const std::int32_t threw =
                sdk::guard(e, [&] { code = fake_host::impl::of(c).processes.spawn(sdk::view(spec), sink, id, pid, e); });
            return threw < 0 ? threw : code;
        },
        [](void* c, std::uint64_t id, hf_bytes data, hf_error* e) -> std::int32_t {
            return fake_host::impl::of(c).processes.write(id, sdk::view(data), e);
        },
        [](void* c, std::uint64_t id, std::uint32_t grace) { fake_host::impl::of(c).processes.stop(id, grace); },
        [](void* c, std::uint64_t id, hf_buf* out, hf_error* e) -> std::int32_t {
            return fake_host::impl::of(c).processes.stats(id, out, e);
        }};
    return &t;
}

}  // namespace holdfast::testing
