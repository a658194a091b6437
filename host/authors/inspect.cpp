#include "authors/inspect.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "holdfast/abi/base.h"
#include "kernel/plugins/discovery.hpp"
#include "kernel/plugins/verify.hpp"

namespace holdfast::authors {
namespace {

struct descriptor {
    int value;
    ~descriptor() {
        if (value >= 0) ::close(value);
    }
};

std::string id_of_file(const std::string& path) {
    std::string id = std::filesystem::path(path).stem().string();
    if (id.starts_with("lib")) id.erase(0, 3);
    return id;
}

bool exported(const elf_report& r, std::string_view name) {
    return std::any_of(r.exports.begin(), r.exports.end(), [&](const elf_export& e) { return e.name == name; });
}

json problems_of(const plugin_file_facts& f) {
    json out = json::array();
    using verdict = plugins::elf_facts::verdict;
    if (f.elf.is != verdict::ok) {
        out.push_back(f.elf.detail + "; use the build for this machine");
        return out;
    }
    if (!f.elf.has_manifest) {
        out.push_back(f.elf.detail.empty() ? "it does not export hf_plugin_manifest: is it a Holdfast plugin?" : f.elf.detail);
    } else if (!f.about) {
        out.push_back(f.about.error().message);
    } else {
        if (HF_ABI_VERSION < f.about->abi_min || HF_ABI_VERSION > f.about->abi_max)
            out.push_back("it supports ABI " + std::to_string(f.about->abi_min) + " to " + std::to_string(f.about->abi_max) +
                          ", this host speaks " + std::to_string(HF_ABI_VERSION));
        if (f.about->id != f.file_id) out.push_back("its id is '" + f.about->id + "', but the file is called '" + f.file_id + "': \"use\" goes by the file");
    }
    if (!f.elf.has_entry) out.push_back("it does not export the data symbol hf_plugin_entry_v1");
    std::size_t foreign = 0;
    std::string some;
    for (const elf_export& e : f.report.exports) {
        if (e.name == plugins::manifest_symbol || e.name == plugins::entry_symbol) continue;
        if (++foreign <= 3) some += (some.empty() ? "" : ", ") + e.name;
    }
    if (foreign > 0)
        out.push_back("it exports " + std::to_string(foreign) + " symbols besides the two (" + some + (foreign > 3 ? ", …" : "") +
                      "): hide them with -fvisibility=hidden and a version script");
    return out;
}

}  // namespace

result<plugin_file_facts> read_plugin_file(const std::string& path) {
    plugin_file_facts f;
    f.path = path;
    f.file_id = id_of_file(path);
    const descriptor fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (fd.value < 0) return fail(errno == ENOENT ? errc::not_found : errc::io_error, path + ": " + std::strerror(errno));
    struct stat st {};
    if (::fstat(fd.value, &st) != 0 || !S_ISREG(st.st_mode)) return fail(errc::io_error, path + ": it is not a regular file");
    if (static_cast<std::uint64_t>(st.st_size) > max_inspected_bytes) return fail(errc::io_error, path + ": it is larger than 512 MiB");
    std::string bytes(static_cast<std::size_t>(st.st_size), '\0');
    std::size_t got = 0;
    while (got < bytes.size()) {
        const ssize_t n = ::read(fd.value, bytes.data() + got, bytes.size() - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(errc::io_error, path + ": " + std::strerror(errno));
        if (n == 0) break;
        got += static_cast<std::size_t>(n);
    }
    bytes.resize(got);
    f.bytes = got;
    auto hash = plugins::file_sha256(fd.value);
    if (!hash) return tl::unexpected<error>(hash.error());
    f.sha256 = std::move(*hash);
    f.elf = plugins::read_elf(bytes);
    if (f.elf.is != plugins::elf_facts::verdict::ok) return f;
    f.report = read_elf_report(bytes);
    if (f.elf.has_manifest) f.about = plugins::parse_manifest(f.elf.manifest_text);
    return f;
}

json describe(const plugin_file_facts& f) {
    json out{{"file", f.path}, {"bytes", f.bytes}, {"sha256", f.sha256}, {"host_abi", HF_ABI_VERSION}, {"problems", problems_of(f)}};
    if (f.about) {
        const json about = f.about->to_json();
        out.update(about);
        out["needs"] = f.about->needs;
        out["abi_supported"] = HF_ABI_VERSION >= f.about->abi_min && HF_ABI_VERSION <= f.about->abi_max;
    }
    json exports = json::array();
    for (const elf_export& e : f.report.exports) exports.push_back(e.name);
    out["exports"] = std::move(exports);
    out["exports_only_the_two"] = f.report.exports.size() == 2 && exported(f.report, plugins::manifest_symbol) && exported(f.report, plugins::entry_symbol);
    out["libraries"] = f.report.libraries;
    return out;
}

result<std::string> find_plugin_file(const std::string& use, const std::vector<std::string>& directories) {
    std::error_code ec;
    if (use.find('/') == std::string::npos && std::filesystem::is_regular_file(use, ec)) return "./" + use;
    return plugins::discovery(directories).find(use);
}

result<json> inspect(const std::string& use, const std::vector<std::string>& directories) {
    const auto path = find_plugin_file(use, directories);
    if (!path) return tl::unexpected<error>(path.error());
    const auto facts = read_plugin_file(*path);
    if (!facts) return tl::unexpected<error>(facts.error());
    return describe(*facts);
}

}  // namespace holdfast::authors
