// Writes down every lifecycle call. Settings: {"log_file"?: "…"}: a line "<instance id> <call>" each, call being create, init,
// start, quiesce, stop, destroy.
#include <fcntl.h>
#include <unistd.h>

#include "allow_all.hpp"

using namespace holdfast::sdk;

class counting final : public holdfast::bad::allow_all {
  public:
    counting(host& h, std::string_view settings) : allow_all(h, settings) { note("create"); }
    ~counting() override { note("destroy"); }
    void init() override { note("init"); }
    void start() override { note("start"); }
    void quiesce(time_point) override { note("quiesce"); }
    void stop() override { note("stop"); }

  private:
    void note(const char* what) const {
        const std::string file = json_text(settings_, "log_file");
        if (file.empty()) return;
        const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0) return;
        const std::string line = host_.id() + " " + what + "\n";
        [[maybe_unused]] const auto n = ::write(fd, line.data(), line.size());
        ::close(fd);
    }
};
HOLDFAST_PLUGIN(counting, R"({"id":"counting","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"],
"settings":{"type":"object","properties":{"log_file":{"type":"string"}},"additionalProperties":false}})")
