#include "kernel/plugins/manifest.hpp"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>

namespace holdfast::plugins {
namespace {

#if defined(__x86_64__)
constexpr int host_machine = EM_X86_64;
#elif defined(__aarch64__)
constexpr int host_machine = EM_AARCH64;
#elif defined(__riscv)
constexpr int host_machine = EM_RISCV;
#elif defined(__i386__)
constexpr int host_machine = EM_386;
#elif defined(__arm__)
constexpr int host_machine = EM_ARM;
#else
#error "name this machine's ELF number here"
#endif
constexpr int host_class = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
constexpr int host_data = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;

// A valid plugin is far below these; a hostile header cannot make the walk long.
constexpr std::size_t max_segments = 256;
constexpr std::size_t max_dynamic_entries = 4096;
constexpr std::size_t max_chain = 1u << 20;

/// Reads from a file or from memory; false when any byte lies outside. Nothing is mapped: a file that shrinks while it is
/// read gives a short read, not SIGBUS.
struct source {
    std::uint64_t size = 0;
    const char* memory = nullptr;
    int fd = -1;
    bool read(std::uint64_t at, void* out, std::size_t n) const {
        if (at > size || n > size - at) return false;
        if (memory != nullptr) {
            std::memcpy(out, memory + at, n);
            return true;
        }
        auto* to = static_cast<char*>(out);
        while (n > 0) {
            const ssize_t got = pread(fd, to, n, static_cast<off_t>(at));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return false;
            to += got;
            at += static_cast<std::uint64_t>(got);
            n -= static_cast<std::size_t>(got);
        }
        return true;
    }
    template <class T>
    bool read(std::uint64_t at, T& out) const { return read(at, &out, sizeof out); }
};

std::uint32_t gnu_hash(std::string_view name) {
    std::uint32_t h = 5381;
    for (unsigned char c : name) h = h * 33 + c;
    return h;
}
std::uint32_t sysv_hash(std::string_view name) {
    std::uint32_t h = 0;
    for (unsigned char c : name) {
        h = (h << 4) + c;
        const std::uint32_t g = h & 0xf0000000u;
        if (g != 0) h ^= g >> 24;
        h &= ~g;
    }
    return h;
}

/// The view of the dynamic loader: program headers and the dynamic segment. Section headers are never looked at: they may be
/// stripped, or say something else than what is going to be loaded.
class image {
  public:
    explicit image(const source& s) : src_(s) {}
    /// false: malformed, why says how.
    bool open(const ElfW(Ehdr) & head, std::string& why) {
        if (head.e_phentsize != sizeof(ElfW(Phdr)) || head.e_phnum == 0 || head.e_phnum > max_segments)
            return why = "its program header table is not usable", false;
        ElfW(Phdr) dynamic{};
        for (std::size_t i = 0; i < head.e_phnum; ++i) {
            ElfW(Phdr) p;
            if (head.e_phoff > src_.size || !src_.read(head.e_phoff + i * sizeof p, p)) return why = "it ends inside its program headers", false;
            if (p.p_type == PT_LOAD) loads_.push_back(p);
            if (p.p_type == PT_DYNAMIC) dynamic = p;
        }
        if (dynamic.p_type != PT_DYNAMIC) return why = "it has no dynamic section", false;
        for (const auto& p : loads_)
            if (p.p_offset > src_.size || p.p_filesz > src_.size - p.p_offset || p.p_filesz > p.p_memsz)
                return why = "it is shorter than its segments", false;
        const std::size_t n = std::min<std::size_t>(dynamic.p_filesz / sizeof(ElfW(Dyn)), max_dynamic_entries);
        for (std::size_t i = 0; i < n; ++i) {
            ElfW(Dyn) d;
            if (dynamic.p_offset > src_.size || !src_.read(dynamic.p_offset + i * sizeof d, d)) return why = "it ends inside its dynamic section", false;
            if (d.d_tag == DT_NULL) break;
            switch (d.d_tag) {
                case DT_SYMTAB: symtab_ = d.d_un.d_ptr; break;
                case DT_STRTAB: strtab_ = d.d_un.d_ptr; break;
                case DT_STRSZ: strsz_ = d.d_un.d_val; break;
                case DT_HASH: sysv_ = d.d_un.d_ptr; break;
                case DT_GNU_HASH: gnu_ = d.d_un.d_ptr; break;
                case DT_SYMENT:
                    if (d.d_un.d_val != sizeof(ElfW(Sym))) return why = "its symbols have an unknown size", false;
                    break;
                default: break;
            }
        }
        if (symtab_ == 0 || strtab_ == 0 || (sysv_ == 0 && gnu_ == 0)) return why = "it has no dynamic symbol table", false;
        return true;
    }

    /// The bytes of the file behind a virtual address. n: how many of them lie in the same segment.
    bool at(std::uint64_t address, std::uint64_t& offset, std::uint64_t& n) const {
        for (const auto& p : loads_) {
            if (address < p.p_vaddr || address - p.p_vaddr >= p.p_filesz) continue;
            offset = p.p_offset + (address - p.p_vaddr);
            n = p.p_filesz - (address - p.p_vaddr);
            return true;
        }
        return false;
    }
    bool mapped(std::uint64_t address, std::uint64_t length) const {
        for (const auto& p : loads_)
            if (address >= p.p_vaddr && address - p.p_vaddr < p.p_memsz && length <= p.p_memsz - (address - p.p_vaddr)) return true;
        return false;
    }
    template <class T>
    bool load(std::uint64_t address, T& out) const {
        std::uint64_t offset = 0, n = 0;
        return at(address, offset, n) && n >= sizeof out && src_.read(offset, out);
    }

    bool find(std::string_view name, ElfW(Sym) & out) const { return gnu_ != 0 ? find_gnu(name, out) : find_sysv(name, out); }

  private:
    bool named(std::uint32_t index, std::string_view name, ElfW(Sym) & out) const {
        if (!load(symtab_ + std::uint64_t(index) * sizeof(ElfW(Sym)), out)) return false;
        if (out.st_name >= strsz_ || strsz_ - out.st_name <= name.size()) return false;
        char text[64];
        std::uint64_t offset = 0, n = 0;
        if (name.size() + 1 > sizeof text || !at(strtab_ + out.st_name, offset, n) || n <= name.size()) return false;
        if (!src_.read(offset, text, name.size() + 1)) return false;
        return std::string_view(text, name.size()) == name && text[name.size()] == 0;
    }
    bool find_gnu(std::string_view name, ElfW(Sym) & out) const {
        struct { std::uint32_t buckets, first, bloom, shift; } head;
        if (!load(gnu_, head) || head.buckets == 0) return false;
        const std::uint64_t buckets = gnu_ + sizeof head + std::uint64_t(head.bloom) * sizeof(ElfW(Addr));
        const std::uint64_t chains = buckets + std::uint64_t(head.buckets) * 4;
        const std::uint32_t h = gnu_hash(name);
        std::uint32_t index = 0;
        if (!load(buckets + std::uint64_t(h % head.buckets) * 4, index) || index < head.first) return false;
        for (std::size_t steps = 0; steps < max_chain; ++steps, ++index) {
            std::uint32_t link = 0;
            if (!load(chains + std::uint64_t(index - head.first) * 4, link)) return false;
            if ((link | 1u) == (h | 1u) && named(index, name, out)) return true;
            if ((link & 1u) != 0 || index == UINT32_MAX) return false;
        }
        return false;
    }
    bool find_sysv(std::string_view name, ElfW(Sym) & out) const {
        struct { std::uint32_t buckets, chains; } head;
        if (!load(sysv_, head) || head.buckets == 0) return false;
        std::uint32_t index = 0;
        if (!load(sysv_ + sizeof head + std::uint64_t(sysv_hash(name) % head.buckets) * 4, index)) return false;
        for (std::size_t steps = 0; index != 0 && index < head.chains && steps < max_chain; ++steps) {
            if (named(index, name, out)) return true;
            if (!load(sysv_ + sizeof head + (std::uint64_t(head.buckets) + index) * 4, index)) return false;
        }
        return false;
    }

    const source& src_;
    std::vector<ElfW(Phdr)> loads_;
    std::uint64_t symtab_ = 0, strtab_ = 0, strsz_ = 0, sysv_ = 0, gnu_ = 0;
};

bool defined_data(const ElfW(Sym) & s) {
    const auto type = s.st_info & 0xf, bind = s.st_info >> 4;
    return s.st_shndx != SHN_UNDEF && (type == STT_OBJECT || type == STT_NOTYPE) && (bind == STB_GLOBAL || bind == STB_WEAK);
}

elf_facts walk(const source& src) {
    elf_facts out;
    auto end = [&](elf_facts::verdict v, std::string why) {
        out.is = v;
        out.detail = std::move(why);
        return out;
    };
    unsigned char ident[EI_NIDENT];
    if (!src.read(0, ident, sizeof ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0)
        return end(elf_facts::verdict::not_elf, "it is not an ELF file");
    if (ident[EI_CLASS] != host_class)
        return end(elf_facts::verdict::other_architecture, "it is built for another word size than this host");
    if (ident[EI_DATA] != host_data)
        return end(elf_facts::verdict::other_architecture, "it is built for another byte order than this host");
    ElfW(Ehdr) head;
    if (!src.read(0, head)) return end(elf_facts::verdict::malformed, "it ends inside its header");
    if (head.e_machine != host_machine)
        return end(elf_facts::verdict::other_architecture,
                   "it is built for machine " + std::to_string(head.e_machine) + ", this host is machine " + std::to_string(host_machine));
    if (head.e_type != ET_DYN) return end(elf_facts::verdict::malformed, "it is not a shared object");
    image img(src);
    std::string why;
    if (!img.open(head, why)) return end(elf_facts::verdict::malformed, why);
    out.is = elf_facts::verdict::ok;
    ElfW(Sym) sym;
    if (img.find(entry_symbol, sym)) out.has_entry = defined_data(sym) && img.mapped(sym.st_value, 8);
    if (img.find(manifest_symbol, sym) && defined_data(sym)) {
        std::uint64_t offset = 0, n = 0;
        if (img.at(sym.st_value, offset, n)) {
            if (sym.st_size > 0) n = std::min<std::uint64_t>(n, sym.st_size);
            std::string text(std::min<std::uint64_t>(n, max_manifest_bytes), '\0');
            if (src.read(offset, text.data(), text.size())) {
                const auto nul = text.find('\0');
                if (nul != std::string::npos) {
                    text.resize(nul);
                    out.manifest_text = std::move(text);
                    out.has_manifest = true;
                } else {
                    out.detail = "its manifest has no end within " + std::to_string(text.size()) + " bytes";
                }
            }
        }
    }
    return out;
}

}  // namespace

elf_facts read_elf(std::string_view file) { return walk({file.size(), file.data() ? file.data() : "", -1}); }

result<elf_facts> read_elf_file(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return fail(errno == ENOENT ? errc::not_found : errc::io_error, path + ": " + std::strerror(errno));
    struct stat st {};
    const bool usable = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && static_cast<std::uint64_t>(st.st_size) <= max_plugin_file_bytes;
    if (!usable) {
        close(fd);
        return fail(errc::io_error, path + ": not a regular file of at most 1 GiB");
    }
    auto facts = walk({static_cast<std::uint64_t>(st.st_size), nullptr, fd});
    close(fd);
    return facts;
}

result<manifest> parse_manifest(std::string_view text) {
    auto bad = [](std::string what) { return fail(errc::invalid_argument, "the manifest " + what); };
    auto parsed = parse_json(text);
    if (!parsed) return bad("is " + parsed.error().message);
    const json& j = *parsed;
    if (!j.is_object()) return bad("is not a JSON object");
    manifest m;
    for (auto [name, to] : {std::pair{"id", &m.id}, std::pair{"kind", &m.kind}, std::pair{"version", &m.version}}) {
        *to = string_or(j, name);
        if (to->empty()) return bad(std::string("needs a non-empty string \"") + name + "\"");
        if (to->size() > 64) return bad(std::string("has a \"") + name + "\" longer than 64 bytes");
    }
    for (const char c : m.id)
        if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') return bad("has an \"id\" with a character other than letters, digits, - _ .");
    const json& abi = member(j, "abi");
    if (!abi.is_array() || abi.size() != 2 || !abi[0].is_number_unsigned() || !abi[1].is_number_unsigned() ||
        abi[0].get<std::uint64_t>() > abi[1].get<std::uint64_t>() || abi[1].get<std::uint64_t>() > UINT32_MAX)
        return bad("needs \"abi\": [min, max] with whole numbers");
    m.abi_min = abi[0].get<std::uint32_t>();
    m.abi_max = abi[1].get<std::uint32_t>();
    if (j.contains("description") && !j["description"].is_string()) return bad("has a \"description\" that is not a string");
    m.description = string_or(j, "description");
    for (auto [name, to] : {std::pair{"interfaces", &m.interfaces}, std::pair{"needs", &m.needs}}) {
        const json& list = member(j, name);
        if (list.is_null()) continue;
        const bool strings = list.is_array() && std::all_of(list.begin(), list.end(), [](const json& i) { return i.is_string(); });
        if (!strings) return bad(std::string("has \"") + name + "\" that is not an array of strings");
        for (const auto& i : list) to->push_back(i.get<std::string>());
    }
    // A user interface holds a terminal or a port, and a store its file, unless it says that it can share.
    const bool alone = m.kind == "ui" || m.kind == "store";
    const std::string reload = j.contains("reload") && !j["reload"].is_string() ? "?" : string_or(j, "reload", alone ? "exclusive" : "overlap");
    if (reload != "exclusive" && reload != "overlap") return bad("has \"reload\" that is neither \"overlap\" nor \"exclusive\"");
    m.exclusive = reload == "exclusive";
    m.check_case = member(j, "check");
    if (!m.check_case.is_null() && !m.check_case.is_object()) return bad("has \"check\" that is not an object");
    m.settings_schema = member(j, "settings");
    if (!m.settings_schema.is_null() && !m.settings_schema.is_object() && !m.settings_schema.is_boolean())
        return bad("has \"settings\" that is not a JSON Schema");
    m.rules_schema = member(j, "rules");
    if (!m.rules_schema.is_null() && !m.rules_schema.is_object()) return bad("has \"rules\" that is not a JSON Schema");
    return m;
}

json manifest::to_json() const {
    return {{"id", id}, {"kind", kind}, {"version", version}, {"description", description},
            {"abi", {abi_min, abi_max}}, {"interfaces", interfaces}, {"settings", settings_schema}};
}

}  // namespace holdfast::plugins
