// One fault of each kind that a sanitizer has to report: the check that the checks are on, in the host and in every plugin alike.
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <utility>

namespace {

int shared = 0;

void race() {
    std::thread other([] { ++shared; });
    ++shared;
    other.join();
}

void use_after_free() {
    auto owner = std::make_unique<int>(1);
    volatile int* gone = owner.get();
    owner.reset();
    std::printf("%d\n", *gone);
}

void leak() {
    auto kept = std::make_unique<std::unique_ptr<int>>(std::make_unique<int>(1));
    (void)kept->release();
}

void overflow() {
    volatile int most = std::numeric_limits<int>::max();
    most = most + 1;
}

}  // namespace

int main(int argc, char** argv) {
    const char* const what = argc > 1 ? argv[1] : "";
    const std::pair<const char*, void (*)()> faults[] = {{"race", race}, {"use_after_free", use_after_free}, {"leak", leak}, {"overflow", overflow}};
    for (const auto& [name, fault] : faults)
        if (std::strcmp(what, name) == 0) fault();
}
