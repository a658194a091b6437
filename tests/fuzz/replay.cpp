// A fuzz target without libFuzzer, in any build: what it says about given inputs, and about changes of them that are the same each time.
//   fuzz_NAME [-mutations=N] [-seed=N] FILE|DIRECTORY…   every input, then N changed ones. The long form is tests/fuzz/run.sh
// An input that fails is written to fuzz_NAME.failed: give that file to see it again.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern "C" {
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
__attribute__((weak)) std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*f)());
}

namespace {

constexpr std::size_t max_bytes = 16384;       ///< of a changed input, as in run.sh
constexpr std::size_t max_piece = 64;          ///< bytes that one change moves, doubles or makes up
constexpr unsigned max_changes = 5;            ///< to one input
constexpr unsigned patience_s = 100;           ///< for one input, under a sanitizer on a busy machine

using input = std::vector<std::uint8_t>;       // as large as it is: a sanitizer sees who reads behind its end

std::vector<input> seeds;
std::minstd_rand chance;
std::size_t below(std::size_t n) { return chance() % n; }

// What a signal handler may look at.
const input* current = nullptr;
std::string failed_path, again;

void say(const char* text) { (void)!write(STDERR_FILENO, text, std::strlen(text)); }

void keep_current() {
    const input* const failed = std::exchange(current, nullptr);
    if (!failed) return;
    const int fd = open(failed_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    (void)!write(fd, failed->data(), failed->size());
    close(fd);
    say(again.c_str());
}
void on_signal(int number) {
    if (number == SIGALRM) say("an input takes far too long\n");
    keep_current();
    std::signal(number, SIG_DFL);
    raise(number);
}

void run(const input& one) {
    current = &one;
    alarm(patience_s);
    LLVMFuzzerTestOneInput(one.data(), one.size());
    current = nullptr;
}

input changed() {
    input out = seeds[below(seeds.size())];
    std::size_t size = std::min(out.size(), max_bytes);
    out.resize(max_bytes);
    for (auto n = 1 + below(max_changes); n > 0; --n) {
        const auto seed = static_cast<unsigned>(chance());
        size = LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(out.data(), size, max_bytes, seed) : LLVMFuzzerMutate(out.data(), size, max_bytes);
    }
    return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)};
}

bool number_after(std::string_view argument, std::string_view name, unsigned& to) {
    if (!argument.starts_with(name)) return false;
    argument.remove_prefix(name.size());
    return std::from_chars(argument.data(), argument.data() + argument.size(), to).ec == std::errc();
}

}  // namespace

/// One change. A target's own mutator may call it for a part.
std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size) {
    const auto at = below(size + 1);
    const auto insert = [&](const input& piece) {
        const auto n = std::min(piece.size(), max_size - size);
        std::memmove(data + at + n, data + at, size - at);
        std::copy_n(piece.begin(), n, data + at);
        return size + n;
    };
    const auto part_of = [](const std::uint8_t* from, std::size_t most) {
        const auto begin = below(most + 1);
        return input(from + begin, from + begin + std::min(below(max_piece) + 1, most - begin));
    };
    static constexpr std::uint8_t telling[] = {0, 1, 0x7F, 0x80, 0xFE, 0xFF, '\n', '\r', '"', '{', '}', '[', ',', ':', '0', '9', '%', '\\', '/', ' '};
    switch (below(at < size ? 8 : 4)) {
        case 0: return insert(input(below(max_piece) + 1, static_cast<std::uint8_t>(chance())));
        case 1: return insert({telling[below(std::size(telling))]});
        case 2: return insert(part_of(data, size));
        case 3: {
            const auto& other = seeds[below(seeds.size())];
            return insert(part_of(other.data(), other.size()));
        }
        case 4: data[at] ^= static_cast<std::uint8_t>(1u << below(8)); return size;
        case 5: data[at] = static_cast<std::uint8_t>(chance() >> 7); return size;
        case 6: data[at] = telling[below(std::size(telling))]; return size;
        default: {
            const auto n = std::min(below(max_piece) + 1, size - at);
            std::memmove(data + at, data + at + n, size - at - n);
            return size - n;
        }
    }
}

int main(int argc, char** argv) {
    namespace fs = std::filesystem;
    unsigned mutations = 0, seed = 1;
    std::vector<fs::path> files;
    for (const std::string& argument : std::vector<std::string>(argv + 1, argv + argc)) {
        if (number_after(argument, "-mutations=", mutations) || number_after(argument, "-seed=", seed)) continue;
        if (!fs::is_directory(argument)) files.emplace_back(argument);
        else for (const auto& entry : fs::directory_iterator(argument)) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
        std::ifstream in(file, std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
        if (in) continue;
        std::fprintf(stderr, "%s cannot be read\n", file.c_str());
        return 2;
    }
    if (seeds.empty()) return std::fprintf(stderr, "usage: %s [-mutations=N] [-seed=N] FILE|DIRECTORY...\n", argv[0]), 2;

    failed_path = std::string(argv[0]) + ".failed";
    again = "\nThe input that failed is in " + failed_path + ". Again: " + argv[0] + " " + failed_path + "\n";
    for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) std::signal(number, on_signal);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_current);

    for (const auto& one : seeds) run(one);
    chance.seed(seed);
    for (unsigned n = 0; n < mutations; ++n) run(changed());
    std::printf("%zu inputs, then %u mutations from seed %u\n", seeds.size(), mutations, seed);
}
