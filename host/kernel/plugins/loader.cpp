// Why each step: reference "Plugin ABI". A copy under a new name per version, because dlopen of a path it has seen returns the old
// library. A copy on disk and not a memfd, so that backtraces and debuggers find the file, and because /proc/self/fd/N repeats.
#define BOOST_DLL_USE_STD_FS
#include "kernel/plugins/loader.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/dll/shared_library.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/detail/tables.hpp"

namespace holdfast::plugins {

struct generation::library {
    boost::dll::shared_library handle;
};

private_copy::~private_copy() { unlink(path_.c_str()); }

generation::~generation() {
    // Reached after unload() only, or at the end of the process: then the library stays mapped (see the class comment).
    if (!library_ || !library_->handle.is_loaded()) return;
    static std::mutex mutex;
    static auto* mapped = new std::vector<std::unique_ptr<library>>;  // destroyed never: its elements would dlclose
    std::lock_guard lock(mutex);
    mapped->push_back(std::move(library_));
}

result<void> generation::initialise() {
    std::lock_guard lock(init_mutex_);
    if (init_ == init_state::done) return {};
    if (init_ == init_state::failed) return tl::unexpected<error>(init_error_);
    // An exception leaves not_yet: the next instance tries again.
    hf_error err = empty_hf_error();
    const auto rc = entry_.init(&err);
    if (rc == HF_OK) {
        init_ = init_state::done;
        return {};
    }
    return tl::unexpected<error>(from_abi(rc, &err));
}

result<std::shared_ptr<loader>> loader::create(std::string runtime_dir) {
    const std::string dir = runtime_dir + "/generations";
    if (auto made = detail::private_directory(dir); !made) return tl::unexpected<error>(made.error());
    // "<pid>-<n>-<id>.so": of a process that is gone, or of an earlier one with our number.
    if (DIR* d = opendir(dir.c_str())) {
        while (const dirent* e = readdir(d)) {
            char* end = nullptr;
            const long pid = std::strtol(e->d_name, &end, 10);
            if (pid > 0 && *end == '-' && pid != getpid() && kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH)
                unlinkat(dirfd(d), e->d_name, 0);
        }
        closedir(d);
    }
    return std::shared_ptr<loader>(new loader(dir));
}

namespace {

auto refusal(const std::string& name, const std::string& origin) {
    return [&](const char* check, std::string why) {
        return fail(errc::plugin_refused, "plugin '" + name + "' (" + origin + "): check '" + check + "' failed: " + why);
    };
}

}  // namespace

result<staged_plugin> loader::stage(const verified_plugin& v, const std::string& name) {
    const auto refuse = refusal(name, v.path);
    static std::atomic<std::uint64_t> last{0};  // of the process: several loaders may share a directory
    staged_plugin out{v.about, v.sha256, {}, v.path, ++last};
    out.path = dir_ + "/" + std::to_string(getpid()) + "-" + std::to_string(out.number) + "-" + v.about.id + ".so";
    const int to = ::open(out.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0700);
    if (to < 0 && errno == EEXIST) {  // left by a process that had our number
        unlink(out.path.c_str());
        return stage(v, name);
    }
    if (to < 0) return fail(errc::io_error, "plugin '" + name + "': no private copy " + out.path + ": " + std::strerror(errno));
    auto hash = detail::hash_and_copy(*v.file, to);
    if (close(to) != 0 && hash) hash = fail(errc::io_error, std::strerror(errno));
    if (!hash || *hash != v.sha256) unlink(out.path.c_str());
    // A full disk says nothing about the plugin: that is tried again.
    if (!hash) return fail(errc::io_error, "plugin '" + name + "': its private copy in " + dir_ + " could not be written: " + hash.error().message);
    if (*hash != v.sha256) return refuse("sha256", "the file changed while it was loaded; start it again");
    // Looked at once more, now that nobody else can change it: the dynamic loader dies of a file shorter than its segments.
    auto facts = read_elf_file(out.path);
    if (!facts || facts->is != elf_facts::verdict::ok) {
        unlink(out.path.c_str());
        return refuse("architecture", facts ? facts->detail : facts.error().message);
    }
    return out;
}

result<std::shared_ptr<generation>> loader::open(const staged_plugin& s, const std::string& name) {
    const auto refuse = refusal(name, s.origin);
    auto g = std::shared_ptr<generation>(new generation);
    g->about_ = s.about;
    g->sha256_ = s.sha256;
    g->path_ = s.path;
    g->number_ = s.number;
    g->library_ = std::make_unique<generation::library>();
    // rtld_now: a missing symbol is found here and not in the middle of a call. rtld_local: its symbols are nobody else's.
    boost::dll::fs::error_code ec;
    g->library_->handle.load(boost::dll::fs::path(s.path), ec, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
    if (ec || !g->library_->handle.is_loaded()) {
        const char* words = dlerror();
        unlink(s.path.c_str());
        return refuse("load", words ? std::string(words) : ec.message());
    }
    if (!g->library_->handle.has(entry_symbol)) return refuse("entry", "it does not export hf_plugin_entry_v1");
    auto entry = detail::complete_entry(&g->library_->handle.get<const hf_entry>(entry_symbol));
    if (!entry) return refuse("entry", entry.error().message);
    if (entry->abi < s.about.abi_min || entry->abi > s.about.abi_max)
        return refuse("abi", "its entry table speaks ABI " + std::to_string(entry->abi) + ", its manifest says " + std::to_string(s.about.abi_min) + " to " + std::to_string(s.about.abi_max));
    g->entry_ = *entry;
    return g;
}

result<std::shared_ptr<generation>> loader::load(const verified_plugin& v, const std::string& name) {
    auto known = [&]() -> std::shared_ptr<generation> {
        for (const auto& g : all_)
            if (g->sha256_ == v.sha256) return g;
        return nullptr;
    };
    {
        std::lock_guard lock(mutex_);
        if (auto g = known()) return g;
    }
    auto staged = stage(v, name);
    if (!staged) return tl::unexpected<error>(std::move(staged.error()));
    auto g = open(*staged, name);
    if (!g) return g;
    std::lock_guard lock(mutex_);
    if (auto other = known()) return other;  // two instances at the same moment: the second copy stays mapped, unused
    all_.push_back(*g);
    return g;
}

result<void> loader::unload(const std::shared_ptr<generation>& g) {
    {
        std::lock_guard lock(mutex_);
        if (g->kept_for_ever()) return fail(errc::forbidden, "a thread may still be inside " + g->path_);
        if (g->users() != 0) return fail(errc::running, std::to_string(g->users()) + " instances still use " + g->path_);
        std::erase(all_, g);  // nobody gets it from load() any more
        if (g->users() != 0) {
            all_.push_back(g);
            return fail(errc::running, "an instance has just begun to use " + g->path_);
        }
    }
    std::lock_guard lock(g->init_mutex_);
    if (g->init_ == generation::init_state::done) {
        try {
            g->entry_.deinit();
        } catch (...) {
            g->keep_for_ever();
            return fail(errc::plugin_failed, "deinit threw; " + g->path_ + " stays loaded");
        }
    }
    const std::string path = g->library_->handle.location().string();
    g->library_->handle.unload();
    unlink(g->path_.c_str());
    if (void* still = dlopen(path.c_str(), RTLD_NOLOAD | RTLD_LAZY)) {
        dlclose(still);
        return fail(errc::unavailable, "dlclose left " + path + " resident: it uses thread-local storage or unique symbols");
    }
    return {};
}

std::size_t loader::loaded() const {
    std::lock_guard lock(mutex_);
    return all_.size();
}

}  // namespace holdfast::plugins
