#include "kernel/plugins/isolation/sandbox.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernel/plugins/isolation/channel.hpp"

namespace holdfast::plugins::isolation {
namespace {

constexpr std::uint64_t read_rights = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t write_rights = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                       LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
                                       LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
constexpr std::uint64_t rights_of_a_file = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;

/// What no plugin needs, because its host does it for it or nobody may.
constexpr int denied[] = {
    SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork),                                       // processes come from hf.process
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp),  // others' memory
    SCMP_SYS(pidfd_send_signal), SCMP_SYS(tkill),                                                                // others' lives; tgkill is checked below
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(fsopen), SCMP_SYS(fsmount),
    SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(mount_setattr), SCMP_SYS(open_by_handle_at),
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup), SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),
    SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(adjtimex),
    SCMP_SYS(clock_adjtime), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(syslog), SCMP_SYS(vhangup), SCMP_SYS(iopl), SCMP_SYS(ioperm)};

/// Whatever root could do: gone. Ports below 1024, too, come from hf.listen. Errors: io_error.
result<void> give_up_capabilities() {
    __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2]{};
    if (syscall(SYS_capset, &head, none) != 0) return fail(errc::io_error, std::string("capset: ") + std::strerror(errno));
    return {};
}

result<void> filter_calls(bool network) {
    struct context {
        scmp_filter_ctx at = seccomp_init(SCMP_ACT_ALLOW);
        ~context() {
            if (at) seccomp_release(at);
        }
    } c;
    if (!c.at) return fail(errc::io_error, "no memory for a system call filter");
    const std::uint32_t no = SCMP_ACT_ERRNO(EPERM);
    int bad = 0;
    auto add = [&](std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> args = {}) {
        const int rc = seccomp_rule_add_array(c.at, action, call, static_cast<unsigned>(args.size()), args.size() ? args.begin() : nullptr);
        if (rc != 0 && rc != -EDOM) bad = rc;  // a call that this architecture has not
    };
    for (const int call : denied) add(no, call);
    const auto me = static_cast<scmp_datum_t>(getpid());
    for (const int call : {SCMP_SYS(kill), SCMP_SYS(tgkill), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo)}) add(no, call, {SCMP_A0(SCMP_CMP_NE, me)});
    // Threads, but no processes. clone3 hides its flags in memory: glibc falls back to clone when there is none.
    add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
    add(no, SCMP_SYS(clone), {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0)});
    // Not its own priority over the host's, and no ownership or limits of other processes.
    add(no, SCMP_SYS(prlimit64), {SCMP_A0(SCMP_CMP_NE, 0), SCMP_A2(SCMP_CMP_NE, 0)});
    if (!network)
        for (const int family : {AF_INET, AF_INET6, AF_PACKET, AF_NETLINK, AF_VSOCK}) add(no, SCMP_SYS(socket), {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family))});
    else
        add(no, SCMP_SYS(socket), {SCMP_A0(SCMP_CMP_EQ, AF_PACKET)});
    if (bad != 0) return fail(errc::io_error, std::string("a rule of the system call filter was refused: ") + std::strerror(-bad));
    if (const int rc = seccomp_load(c.at); rc != 0) return fail(errc::io_error, std::string("this kernel takes no system call filter: ") + std::strerror(-rc));
    return {};
}

result<void> restrict_files(const sandbox_wish& wish) {
    const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return fail(errc::unavailable, std::string("this kernel has no Landlock: ") + std::strerror(errno));
    landlock_ruleset_attr attr{};
    attr.handled_access_fs = read_rights | write_rights;
    if (version >= 2) attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
    const unique_fd rules(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0)));
    if (!rules) return fail(errc::io_error, std::string("Landlock: ") + std::strerror(errno));
    auto allow = [&](const std::string& path, std::uint64_t rights) {
        const unique_fd at(open(path.c_str(), O_PATH | O_CLOEXEC));
        struct stat st {};
        if (!at || fstat(at.get(), &st) != 0) return true;  // not there: nothing to allow
        landlock_path_beneath_attr rule{};
        rule.parent_fd = at.get();
        rule.allowed_access = S_ISDIR(st.st_mode) ? rights : rights & rights_of_a_file;
        return syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    };
    bool ok = true;
    if (wish.read.empty()) ok &= allow("/", read_rights);
    for (const auto& p : wish.read) ok &= allow(p, read_rights);
    for (const auto& p : wish.write) ok &= allow(p, read_rights | write_rights);
    for (const char* p : {"/dev/null", "/dev/tty", "/dev/urandom"}) ok &= allow(p, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE);
    if (!wish.read.empty())
        for (const char* p : {"/usr", "/lib", "/lib64", "/etc/ssl", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ld.so.cache", "/proc/self"}) ok &= allow(p, read_rights);
    if (!ok) return fail(errc::io_error, std::string("a Landlock rule was refused: ") + std::strerror(errno));
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0) return fail(errc::io_error, std::string("Landlock: ") + std::strerror(errno));
    return {};
}

}  // namespace

json sandbox_wish::to_json() const { return {{"on", on}, {"network", network}, {"read", read}, {"write", write}}; }

sandbox_wish sandbox_wish::from_json(const json& j) {
    sandbox_wish w;
    w.on = bool_or(j, "on", true);
    w.network = bool_or(j, "network", true);
    for (const auto& p : member(j, "read"))
        if (p.is_string()) w.read.push_back(p.get<std::string>());
    for (const auto& p : member(j, "write"))
        if (p.is_string()) w.write.push_back(p.get<std::string>());
    return w;
}

json enter_sandbox(const sandbox_wish& wish) {
    if (!wish.on) return {{"level", "off"}, {"calls", false}, {"files", false}, {"network", true}, {"missing", json::array()}};
    json missing = json::array();
    auto note = [&](const result<void>& r) {
        if (!r) missing.push_back(r.error().message);
        return bool(r);
    };
    const bool files = note(restrict_files(wish));
    const bool capabilities = note(give_up_capabilities());
    const bool calls = note(filter_calls(wish.network));  // last: it denies what the others use
    const char* level = files && calls && capabilities ? "full" : files || calls ? "partial" : "none";
    return {{"level", level}, {"calls", calls}, {"files", files}, {"network", wish.network || !calls}, {"missing", std::move(missing)}};
}

}  // namespace holdfast::plugins::isolation
