#include "authors/elf_report.hpp"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace holdfast::authors {
namespace {

constexpr std::size_t max_segments = 256;
constexpr std::size_t max_dynamic_entries = 4096;
constexpr std::size_t max_name = 4096;

class image {
  public:
    explicit image(std::string_view file) : file_(file) {}

    template <class T>
    bool read(std::uint64_t at, T& out) const {
        if (at > file_.size() || sizeof out > file_.size() - at) return false;
        std::memcpy(&out, file_.data() + at, sizeof out);
        return true;
    }
    template <class T>
    bool load(std::uint64_t address, T& out) const {
        const auto at = offset(address, sizeof out);
        return at && read(*at, out);
    }
    /// The file's offset of n bytes at a virtual address.
    std::optional<std::uint64_t> offset(std::uint64_t address, std::uint64_t n) const {
        for (const auto& p : loads)
            if (address >= p.p_vaddr && address - p.p_vaddr < p.p_filesz && n <= p.p_filesz - (address - p.p_vaddr))
                return p.p_offset + (address - p.p_vaddr);
        return {};
    }
    std::string text(std::uint64_t address) const {
        const auto at = offset(address, 1);
        if (!at || *at >= file_.size()) return {};
        const auto rest = file_.substr(*at, max_name);
        const auto end = rest.find('\0');
        return end == std::string_view::npos ? std::string() : std::string(rest.substr(0, end));
    }

    std::vector<ElfW(Phdr)> loads;

  private:
    std::string_view file_;
};

struct dynamic_facts {
    std::uint64_t symtab = 0, strtab = 0, sysv = 0, gnu = 0;
    std::vector<std::uint64_t> needed, paths;  // offsets into strtab
};

/// How many dynamic symbols there are: nothing says so directly but the hash tables.
std::uint64_t symbol_count(const image& img, const dynamic_facts& d) {
    if (d.sysv != 0) {
        std::uint32_t head[2];
        return img.load(d.sysv, head) ? head[1] : 0;
    }
    struct { std::uint32_t buckets, first, bloom, shift; } head;
    if (d.gnu == 0 || !img.load(d.gnu, head)) return 0;
    const std::uint64_t buckets = d.gnu + sizeof head + std::uint64_t(head.bloom) * sizeof(ElfW(Addr));
    const std::uint64_t chains = buckets + std::uint64_t(head.buckets) * 4;
    std::uint32_t last = 0;
    for (std::uint32_t i = 0; i < head.buckets; ++i) {
        std::uint32_t index = 0;
        if (!img.load(buckets + std::uint64_t(i) * 4, index)) return 0;
        last = std::max(last, index);
    }
    if (last < head.first) return head.first;  // only undefined symbols
    for (std::size_t steps = 0; steps <= max_exports; ++steps, ++last) {
        std::uint32_t link = 0;
        if (!img.load(chains + std::uint64_t(last - head.first) * 4, link)) return 0;
        if ((link & 1u) != 0) return std::uint64_t(last) + 1;
    }
    return last;
}

void read_symbols(const image& img, const dynamic_facts& d, elf_report& out) {
    const std::uint64_t n = symbol_count(img, d);
    for (std::uint64_t i = 1; i < n; ++i) {
        ElfW(Sym) s;
        if (!img.load(d.symtab + i * sizeof s, s)) return;
        const auto bind = s.st_info >> 4, type = s.st_info & 0xf, visibility = s.st_other & 3;
        if (s.st_shndx == SHN_UNDEF || (bind != STB_GLOBAL && bind != STB_WEAK && bind != STB_GNU_UNIQUE)) continue;
        if (visibility == STV_HIDDEN || visibility == STV_INTERNAL || (s.st_shndx == SHN_ABS && type != STT_OBJECT)) continue;
        if (out.exports.size() == max_exports) {
            out.exports_cut = true;
            return;
        }
        out.exports.push_back({img.text(d.strtab + s.st_name), bind == STB_GNU_UNIQUE});
    }
}

}  // namespace

elf_report read_elf_report(std::string_view file) {
    elf_report out;
    image img(file);
    ElfW(Ehdr) head;
    if (!img.read(0, head) || head.e_phentsize != sizeof(ElfW(Phdr)) || head.e_phnum > max_segments) return out;
    ElfW(Phdr) dynamic{};
    bool says_stack = false;
    for (std::uint64_t i = 0; i < head.e_phnum; ++i) {
        ElfW(Phdr) p;
        if (head.e_phoff > file.size() || !img.read(head.e_phoff + i * sizeof p, p)) return out;
        if (p.p_type == PT_LOAD) {
            img.loads.push_back(p);
            if ((p.p_flags & (PF_W | PF_X)) == (PF_W | PF_X)) out.writable_code = true;
        }
        if (p.p_type == PT_DYNAMIC) dynamic = p;
        if (p.p_type == PT_GNU_RELRO) out.relro = true;
        if (p.p_type == PT_GNU_STACK) says_stack = true, out.executable_stack = (p.p_flags & PF_X) != 0;
    }
    if (!says_stack) out.executable_stack = true;
    if (dynamic.p_type != PT_DYNAMIC) return out;
    dynamic_facts d;
    const auto n = std::min<std::uint64_t>(dynamic.p_filesz / sizeof(ElfW(Dyn)), max_dynamic_entries);
    for (std::uint64_t i = 0; i < n; ++i) {
        ElfW(Dyn) e;
        if (dynamic.p_offset > file.size() || !img.read(dynamic.p_offset + i * sizeof e, e) || e.d_tag == DT_NULL) break;
        switch (e.d_tag) {
            case DT_SYMTAB: d.symtab = e.d_un.d_ptr; break;
            case DT_STRTAB: d.strtab = e.d_un.d_ptr; break;
            case DT_HASH: d.sysv = e.d_un.d_ptr; break;
            case DT_GNU_HASH: d.gnu = e.d_un.d_ptr; break;
            case DT_NEEDED: d.needed.push_back(e.d_un.d_val); break;
            case DT_RPATH:
            case DT_RUNPATH: d.paths.push_back(e.d_un.d_val); break;
            case DT_TEXTREL: out.text_relocations = true; break;
            case DT_FLAGS:
                if ((e.d_un.d_val & DF_TEXTREL) != 0) out.text_relocations = true;
                if ((e.d_un.d_val & DF_STATIC_TLS) != 0) out.static_tls = true;
                break;
            default: break;
        }
    }
    for (const auto at : d.needed) out.libraries.push_back(img.text(d.strtab + at));
    for (const auto at : d.paths) {
        const std::string all = img.text(d.strtab + at);
        for (std::size_t from = 0; from <= all.size();) {
            const auto colon = std::min(all.find(':', from), all.size());
            out.search_path.push_back(all.substr(from, colon - from));
            from = colon + 1;
        }
    }
    read_symbols(img, d, out);
    std::sort(out.exports.begin(), out.exports.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    out.readable = true;
    return out;
}

}  // namespace holdfast::authors
