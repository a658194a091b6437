// Three well-behaved workers w1, w2, w3. Settings: {"trigger_dir"?: "…", "heartbeat_ms"?: 100, "restart"?: "permanent"}.
// Worker wN throws when the file <trigger_dir>/throw-wN appears (it deletes it first, so that it throws once), and returns
// when <trigger_dir>/return-wN does. Every run is appended to <trigger_dir>/runs as "wN <incarnation>", every end as "wN end".
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

#include "allow_all.hpp"

using namespace holdfast::sdk;
using std::chrono::milliseconds;

class three_workers final : public holdfast::bad::allow_all {
  public:
    using allow_all::allow_all;
    void start() override {
        for (const char* name : {"w1", "w2", "w3"}) {
            worker_options options;
            options.name = name;
            options.restart = json_text(settings_, "restart", "permanent");
            options.heartbeat = milliseconds(json_number<int>(settings_, "heartbeat_ms", 100));
            host_.workers().start(options, [dir = json_text(settings_, "trigger_dir"), name = std::string(name)](worker_ctl& ctl) {
                const run_log log{dir, name, ctl.incarnation()};
                do {
                    ctl.beat();
                    if (taken(dir, "/throw-" + name)) throw std::runtime_error("three_workers: " + name + " was told to throw");
                    if (taken(dir, "/return-" + name)) return;
                } while (!ctl.wait(milliseconds(5)));
            });
        }
    }

  private:
    static bool taken(const std::string& dir, const std::string& file) { return !dir.empty() && ::unlink((dir + file).c_str()) == 0; }

    // One line at begin and end, each by a single write, so that the order across workers is the order of the file.
    struct run_log {
        std::string dir, name;
        run_log(std::string d, std::string n, std::uint32_t incarnation) : dir(std::move(d)), name(std::move(n)) {
            line(name + " " + std::to_string(incarnation) + "\n");
        }
        ~run_log() { line(name + " end\n"); }
        void line(const std::string& text) const {
            if (dir.empty()) return;
            const int fd = ::open((dir + "/runs").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
            if (fd < 0) return;
            [[maybe_unused]] const auto n = ::write(fd, text.data(), text.size());
            ::close(fd);
        }
    };
};
HOLDFAST_PLUGIN(three_workers, R"({"id":"three_workers","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"],
"description":"Three supervised workers that can be told to fail",
"settings":{"type":"object","properties":{"trigger_dir":{"type":"string"},"heartbeat_ms":{"type":"integer"},"restart":{"enum":["permanent","transient","temporary"]}},"additionalProperties":false}})")
