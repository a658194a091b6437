// A model adapter that tries to get out of its sandbox. Method "probe", request {"host": pid, "file": path of somebody else's file}
// → {"files": {name: errno…}, "calls": {…}, "network": {…}}; 0 = it worked.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <nlohmann/json.hpp>

#include "holdfast/llm.hpp"

using namespace holdfast::sdk;
using nlohmann::json;

namespace {

int outcome(long rc) { return rc < 0 ? (errno ? errno : EIO) : 0; }
int closed(int fd) {
    const int e = outcome(fd);
    if (fd >= 0) close(fd);
    return e;
}

json probe_files(const std::string& file) {
    json out;
    out["create in /etc"] = closed(open("/etc/holdfast-escape", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    out["create in /tmp"] = closed(open("/tmp/holdfast-escape", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    out["write another's file"] = closed(open(file.c_str(), O_WRONLY | O_CLOEXEC));
    out["remove another's file"] = outcome(unlink(file.c_str()));
    out["link to another's file"] = outcome(symlink(file.c_str(), "/tmp/holdfast-escape-link"));
    out["make a directory"] = outcome(mkdir("/tmp/holdfast-escape-dir", 0700));
    return out;
}

json probe_calls(pid_t host) {
    json out;
    char* const argv[] = {const_cast<char*>("/bin/true"), nullptr};
    pid_t child = 0;
    const int spawned = posix_spawn(&child, "/bin/true", nullptr, nullptr, argv, nullptr);
    if (spawned == 0) waitpid(child, nullptr, 0);
    out["start a program"] = spawned;
    out["replace itself"] = outcome(execve("/nonexistent", argv, nullptr)) == ENOENT ? 0 : errno;
    int forks = 0;  // a fork bomb, politely small
    for (int i = 0; i < 3; ++i) {
        const pid_t p = static_cast<pid_t>(syscall(SYS_fork));
        if (p == 0) _exit(0);
        if (p > 0) ++forks, waitpid(p, nullptr, 0);
    }
    out["fork bomb"] = forks > 0 ? 0 : errno;
    out["trace the host"] = outcome(ptrace(PTRACE_SEIZE, host, nullptr, nullptr));
    char byte = 0;
    iovec mine{&byte, 1}, theirs{reinterpret_cast<void*>(0x400000), 1};
    out["read the host's memory"] = outcome(process_vm_readv(host, &mine, 1, &theirs, 1, 0)) == EFAULT ? 0 : errno;
    out["write the host's memory"] = outcome(process_vm_writev(host, &mine, 1, &theirs, 1, 0)) == EFAULT ? 0 : errno;
    out["signal the host"] = outcome(kill(host, SIGCONT));
    out["signal everybody"] = outcome(kill(-1, 0));
    out["signal the host's thread"] = outcome(syscall(SYS_tgkill, host, host, SIGCONT));
    out["queue a signal"] = outcome(syscall(SYS_rt_sigqueueinfo, host, SIGCONT, nullptr)) == EFAULT ? 0 : errno;
    out["mount"] = outcome(mount("none", "/mnt", "tmpfs", 0, nullptr));
    out["new namespace"] = outcome(unshare(CLONE_NEWUSER));
    out["change root"] = outcome(chroot("/"));
    out["bpf"] = outcome(syscall(SYS_bpf, -1, nullptr, 0)) == EINVAL ? 0 : errno;
    out["keyring"] = outcome(syscall(SYS_keyctl, 0, -3, 0));
    out["io_uring"] = outcome(syscall(SYS_io_uring_setup, 0, nullptr)) == EFAULT ? 0 : errno;
    out["user faults"] = closed(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | 1)));
    out["raw packets"] = closed(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    return out;
}

json probe_network() {
    json out;
    out["internet"] = closed(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    out["internet, version 6"] = closed(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    out["routing tables"] = closed(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
    return out;
}

class escapes final : public plugin {
  public:
    using plugin::plugin;
    const void* find_ext(std::string_view id) override {
        static constexpr hf_llm table{sizeof(hf_llm), 0, &submit, [](void*, std::uint64_t) {}};
        return id == HF_EXT_LLM ? &table : nullptr;
    }

  private:
    static std::int32_t submit(void*, const hf_call* call, hf_error*) {
        const auto* text = static_cast<const char*>(call->request.data);
        const json request = json::parse(text, text + call->request.length);
        const json out{{"files", probe_files(request.value("file", ""))}, {"calls", probe_calls(request.value("host", 1))}, {"network", probe_network()}};
        const std::string answer = out.dump();
        call->on_done(call->ctx, call->id, nullptr, bytes(answer));
        return HF_PENDING;
    }
};
}  // namespace
HOLDFAST_PLUGIN(escapes, R"({"id":"bad_escapes","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"]})")
