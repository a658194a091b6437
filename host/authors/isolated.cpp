#include "authors/isolated.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>

#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/isolation/proxy.hpp"

namespace holdfast::authors {
namespace {

namespace fs = std::filesystem;
namespace isolation = plugins::isolation;
using isolation::proxy;
using testing::contract::note_failure;

// Longer than any check allows, so that the check and not the process's end says what took too long.
constexpr milliseconds step_patience{20'000};
constexpr std::size_t pool_threads = 2;

/// The plugin's private copy, for all checks.
struct copied_file {
    std::string dir, manifest;
    plugins::staged_plugin staged;
    ~copied_file() {
        std::error_code ignored;
        fs::remove_all(dir, ignored);
    }
};

/// A table as the plugin made it, over functions that carry to it: what is too short or null there is so here.
std::vector<std::byte> shaped_as(const isolation::table_shape& theirs, const void* ours) {
    std::uint32_t size = 0;
    std::memcpy(&size, ours, sizeof size);
    std::vector<std::byte> out(size);
    std::memcpy(out.data(), ours, size);
    constexpr std::size_t head = 2 * sizeof(std::uint32_t);
    for (std::size_t n = 0, at = head; at + sizeof(void*) <= size; ++n, at += sizeof(void*))
        if ((theirs.filled >> n & 1) == 0) std::memset(out.data() + at, 0, sizeof(void*));
    size = std::min(size, theirs.size);
    std::memcpy(out.data(), &size, sizeof size);
    return out;
}

/// Where the instances of one check live. One at a time in a process: an entry's create has no context of its own.
class habitat {
  public:
    habitat(std::shared_ptr<const copied_file> from, std::string runner, std::string dir)
        : from_(std::move(from)), runner_(std::move(runner)), dir_(std::move(dir)), processes_(rt_),
          file_(from_->staged.origin, from_->manifest, entry, [this] { return own_threads(); }) {
        current_ = this;
    }
    ~habitat() { current_ = nullptr; }
    testing::plugin_file& file() { return file_; }

  private:
    struct instance {
        std::shared_ptr<proxy> apart;  // second owners: its threads
        const hf_instance* real = nullptr;  // the proxy's
        std::vector<std::byte> table;
        std::map<std::string, std::vector<std::byte>, std::less<>> exts;
    };

    static std::int32_t create(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) { return current_.load()->make(host, settings, out, err); }
    static void destroy(void* self) { current_.load()->unmake(self); }
    static const void* get_ext(void* self, hf_str id) { return current_.load()->find(self, id); }

    std::int32_t make(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
        isolation::proxy_options o;
        o.processes = &processes_;
        o.runner = runner_;
        o.id = std::string(plugins::view(host->instance_id));
        o.thread_prefix = "hf:";
        o.data_dir = dir_;
        o.level = *host->log_level;
        o.sandbox.write = {dir_};
        o.init_timeout = o.start_timeout = o.stop_timeout = o.quiesce_margin = step_patience;
        o.log = [](int, const std::string& message, const json& fields) {
            // What the plugin prints is printed here: whoever watches this process sees it.
            const std::string stream = string_or(fields, "stream");
            if (!stream.empty()) (void)!::write(stream == "stdout" ? STDOUT_FILENO : STDERR_FILENO, (message + "\n").data(), message.size() + 1);
        };
        o.crashed = [](const std::string& why) { note_failure(why); };
        o.report = [](auto&&...) {};
        o.misused = [](const char* what) { note_failure(what); };
        instance made{proxy::create(std::move(o)), nullptr, {}, {}};
        if (auto ok = made.apart->launch(from_->staged, nullptr); !ok) return plugins::fill(err, ok.error());
        const auto rc = made.apart->make(host, settings, &made.real, err);
        if (rc < 0) {
            made.apart->end();
            return rc;
        }
        hf_instance mine = *made.real;
        mine.destroy = destroy;
        mine.get_ext = get_ext;
        made.table = shaped_as(made.apart->shape(), &mine);
        std::memcpy(made.table.data() + offsetof(hf_instance, self), &mine.self, sizeof mine.self);  // not the plugin's: ours
        std::lock_guard lock(mutex_);
        *out = reinterpret_cast<const hf_instance*>(made.table.data());
        living_.emplace(mine.self, std::move(made));
        return rc;
    }

    void unmake(void* self) {
        instance gone;
        {
            std::lock_guard lock(mutex_);
            const auto it = living_.find(self);
            if (it == living_.end()) return note_failure("destroy was called twice");
            gone = std::move(it->second);
            living_.erase(it);
        }
        // The copied tables end with it, as the plugin's own would.
        gone.real->destroy(gone.real->self);
        left_behind_ += gone.apart->leaked_threads().size();
    }

    const void* find(void* self, hf_str id) {
        isolation::table_shape theirs;
        const void* const ours = apart(self)->find(id, theirs);
        if (ours == nullptr) return nullptr;
        std::lock_guard lock(mutex_);
        auto& mine = living_.at(self).exts[std::string(plugins::view(id))];
        if (mine.empty()) mine = shaped_as(theirs, ours);
        return mine.data();
    }

    std::shared_ptr<proxy> apart(void* self) {
        std::lock_guard lock(mutex_);
        return living_.at(self).apart;
    }
    std::size_t own_threads() {
        std::vector<std::shared_ptr<proxy>> all;
        {
            std::lock_guard lock(mutex_);
            for (const auto& [self, i] : living_) all.push_back(i.apart);
        }
        std::size_t n = left_behind_;
        for (const auto& p : all) n += p->own_threads().size();
        return n;
    }

    static std::atomic<habitat*> current_;
    static constexpr hf_entry entry{sizeof(hf_entry), HF_ABI_VERSION, nullptr, nullptr, create};  // init and deinit: each process's own
    const std::shared_ptr<const copied_file> from_;  // second owner: the target
    const std::string runner_, dir_;
    supervise::pool_runtime rt_{{pool_threads, nullptr, "hf-check"}};
    supervise::process_spawner processes_;
    std::mutex mutex_;
    std::map<void*, instance> living_;  // under mutex_
    std::atomic<std::size_t> left_behind_{0};
    testing::plugin_file file_;
};
std::atomic<habitat*> habitat::current_{nullptr};

}  // namespace

result<testing::contract::target> in_a_process_of_its_own(const plugin_file_facts& facts, std::string runner) {
    if (!facts.about) return tl::unexpected<error>(facts.about.error());
    if (runner.empty()) runner = fs::read_symlink("/proc/self/exe").string();
    auto mine = std::make_shared<copied_file>();
    mine->dir = (fs::temp_directory_path() / "holdfast-check-XXXXXX").string();
    mine->manifest = facts.elf.manifest_text;
    if (!::mkdtemp(mine->dir.data())) return fail(errc::io_error, std::string("no directory for the plugin's copy: ") + std::strerror(errno));
    auto files = plugins::loader::create(mine->dir);
    if (!files) return tl::unexpected<error>(files.error());
    // Not verify(): who may write to an author's file is of no matter yet.
    plugins::verified_plugin seen;
    seen.path = facts.path;
    seen.about = *facts.about;
    seen.sha256 = facts.sha256;
    seen.size = facts.bytes;
    const isolation::unique_fd from(::open(facts.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!from) return fail(errc::io_error, facts.path + ": " + std::strerror(errno));
    seen.file = std::make_shared<const int>(from.get());
    auto staged = (*files)->stage(seen, facts.file_id);
    if (!staged) return tl::unexpected<error>(staged.error());
    mine->staged = std::move(*staged);
    return [from = std::shared_ptr<const copied_file>(std::move(mine)), runner](const testing::contract::plugin_case& on) {
        auto here = std::make_shared<habitat>(from, runner, on.dir);
        return std::shared_ptr<testing::plugin_file>(here, &here->file());
    };
}

}  // namespace holdfast::authors
