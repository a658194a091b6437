#include "kernel/plugins/verify.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "holdfast/abi/base.h"
#include "kernel/plugins/detail/files.hpp"

namespace holdfast::plugins {
namespace detail {

std::shared_ptr<const int> shared_descriptor(int fd) {
    return std::shared_ptr<const int>(new int(fd), [](const int* f) {
        close(*f);
        delete f;
    });
}

result<std::string> hash_and_copy(int from, int to) {
    struct context_deleter {
        void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
    };
    std::unique_ptr<EVP_MD_CTX, context_deleter> ctx(EVP_MD_CTX_new());
    if (!ctx || EVP_DigestInit_ex(ctx.get(), EVP_sha256(), nullptr) != 1) return fail(errc::internal, "SHA-256 is not available");
    std::vector<char> block(256u << 10);
    off_t at = 0;
    for (;;) {
        const ssize_t got = pread(from, block.data(), block.size(), at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(errc::io_error, std::string("reading failed: ") + std::strerror(errno));
        if (got == 0) break;
        at += got;
        if (static_cast<std::uint64_t>(at) > max_plugin_file_bytes) return fail(errc::io_error, "it grew beyond 1 GiB while it was read");
        EVP_DigestUpdate(ctx.get(), block.data(), static_cast<std::size_t>(got));
        for (ssize_t done = 0; to >= 0 && done < got;) {
            const ssize_t n = write(to, block.data() + done, static_cast<std::size_t>(got - done));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return fail(errc::io_error, std::string("copying failed: ") + std::strerror(errno));
            done += n;
        }
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    EVP_DigestFinal_ex(ctx.get(), digest, &n);
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (unsigned i = 0; i < n; ++i) {
        out += digits[digest[i] >> 4];
        out += digits[digest[i] & 15];
    }
    return out;
}

}  // namespace detail

result<std::string> file_sha256(int fd) { return detail::hash_and_copy(fd, -1); }

namespace {

struct refusal {
    const char* check;
    std::string why;
};

std::string mode_text(mode_t m) {
    char buf[8];
    std::snprintf(buf, sizeof buf, "%04o", static_cast<unsigned>(m & 07777));
    return buf;
}

bool trusted_owner(uid_t uid) { return uid == 0 || uid == geteuid(); }

std::optional<refusal> check_owner(const std::string& what, const struct stat& st) {
    if (trusted_owner(st.st_uid)) return {};
    return refusal{"ownership", what + " belongs to user " + std::to_string(st.st_uid) + ", not to root or to user " + std::to_string(geteuid()) +
                                    " that runs the host; chown it, or install the plugin elsewhere"};
}
std::optional<refusal> check_mode(const std::string& what, const struct stat& st) {
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
    // Sticky directory: its entries can be renamed or removed by their owner and the directory's owner only, both of which
    // check_owner has found to be root or us. New names do no harm: ours is the one that is opened.
    if (S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0) return {};
    return refusal{"permissions", what + " can be written by others (mode " + mode_text(st.st_mode) + "); run: chmod go-w '" + what + "'"};
}

/// Both checks for the file and for every directory above it. All of ownership comes before any of permissions.
std::optional<refusal> check_chain(const std::string& path, const struct stat& file) {
    std::vector<std::pair<std::string, struct stat>> chain{{path, file}};
    for (std::string dir = path; dir.size() > 1;) {
        const auto slash = dir.rfind('/');
        dir = slash == 0 ? "/" : dir.substr(0, slash);
        struct stat st {};
        if (lstat(dir.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return refusal{"ownership", dir + " cannot be examined: " + std::strerror(errno)};
        chain.emplace_back(dir, st);
    }
    for (const auto& [name, st] : chain)
        if (auto r = check_owner(name, st)) return r;
    for (const auto& [name, st] : chain)
        if (auto r = check_mode(name, st)) return r;
    return {};
}

bool same_hash(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::optional<refusal> check_settings(const verify_request& q, const manifest& m) {
    if (q.settings == nullptr) return {};
    if (!q.settings->is_object()) return refusal{"settings", "\"settings\" must be a JSON object"};
    if (m.settings_schema.is_null() || !q.validate) return {};
    auto ok = q.validate(m.settings_schema, *q.settings);
    if (!ok) return refusal{"settings", ok.error().message};
    return {};
}

}  // namespace

const std::vector<std::string>& verification_checks() {
    static const std::vector<std::string> names{"file", "architecture", "manifest", "abi", "entry", "ownership", "permissions", "sha256", "settings"};
    return names;
}

result<verified_plugin> verify(const verify_request& q) {
    std::string path = q.path;
    auto refuse = [&](const char* check, std::string why) {
        return fail(errc::plugin_refused, "plugin '" + q.name + "' (" + path + "): check '" + check + "' failed: " + why);
    };
    char* real = realpath(q.path.c_str(), nullptr);
    if (real == nullptr) return refuse("file", std::string(std::strerror(errno)) + "; correct \"use\", or build the plugin");
    path = real;
    std::free(real);
    // O_NONBLOCK: opening a FIFO must not wait for its writer.
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return refuse("file", std::string("it cannot be read: ") + std::strerror(errno));
    verified_plugin out;
    out.file = detail::shared_descriptor(fd);
    struct stat st {};
    if (fstat(fd, &st) != 0) return refuse("file", std::strerror(errno));
    if (!S_ISREG(st.st_mode)) return refuse("file", "it is not a regular file");
    if (static_cast<std::uint64_t>(st.st_size) > max_plugin_file_bytes) return refuse("file", "it is larger than 1 GiB");
    out.size = static_cast<std::uint64_t>(st.st_size);

    auto facts = read_elf_file("/proc/self/fd/" + std::to_string(fd));
    if (!facts) return refuse("file", facts.error().message);
    if (facts->is != elf_facts::verdict::ok) return refuse("architecture", facts->detail + "; use the build for this machine");
    if (!facts->has_manifest)
        return refuse("manifest", facts->detail.empty() ? "it does not export hf_plugin_manifest; is it a Holdfast plugin?" : facts->detail);
    auto about = parse_manifest(facts->manifest_text);
    if (!about) return refuse("manifest", about.error().message);
    if (!q.expected_id.empty() && about->id != q.expected_id)
        return refuse("manifest", "its id is '" + about->id + "', not '" + q.expected_id + "'; rename the file or correct \"use\"");
    if (HF_ABI_VERSION < about->abi_min || HF_ABI_VERSION > about->abi_max)
        return refuse("abi", "it supports ABI " + std::to_string(about->abi_min) + " to " + std::to_string(about->abi_max) + ", this host speaks " +
                                 std::to_string(HF_ABI_VERSION) + "; use a plugin built for this host");
    if (!facts->has_entry) return refuse("entry", "it does not export the data symbol hf_plugin_entry_v1; build it with the SDK's entry macro");
    if (auto r = check_chain(path, st)) return refuse(r->check, r->why);
    auto hash = detail::hash_and_copy(fd, -1);
    if (!hash) return refuse("sha256", hash.error().message);
    if (q.sha256 && !same_hash(*q.sha256, *hash))
        return refuse("sha256", "the file has " + *hash + ", the configuration pins " + *q.sha256 + "; restore the file, or correct the pin if the change was meant");
    if (auto r = check_settings(q, *about)) return refuse(r->check, r->why);
    out.path = std::move(path);
    out.about = std::move(*about);
    out.sha256 = std::move(*hash);
    return out;
}

}  // namespace holdfast::plugins
