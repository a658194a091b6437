// What the service manager is told, at sockets of our own.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "kernel/supervise/service_manager.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

/// A receiver at a path or, with '@', at an abstract name.
class receiver {
  public:
    explicit receiver(std::string address) : address_(std::move(address)) {
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        std::memcpy(a.sun_path, address_.data(), address_.size());
        auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size() + (address_[0] == '/' ? 1 : 0));
        if (address_[0] == '@') a.sun_path[0] = '\0';
        else ::unlink(address_.c_str());
        EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&a), size), 0) << std::strerror(errno);
    }
    ~receiver() {
        ::close(fd_);
        if (address_[0] == '/') ::unlink(address_.c_str());
    }
    std::string next() const {
        pollfd p{fd_, POLLIN, 0};
        if (::poll(&p, 1, 5'000) != 1) return "(nothing)";
        char text[4096];
        return {text, static_cast<std::size_t>(std::max<ssize_t>(::recv(fd_, text, sizeof text, 0), 0))};
    }

  private:
    std::string address_;
    int fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
};

std::string unique(const char* how) { return how + std::to_string(getpid()); }

struct service_manager_test : testing::Test {
    static void environment(const std::string& socket, const std::string& usec = "", const std::string& pid = "") {
        ::setenv("NOTIFY_SOCKET", socket.c_str(), 1);
        usec.empty() ? ::unsetenv("WATCHDOG_USEC") : ::setenv("WATCHDOG_USEC", usec.c_str(), 1);
        pid.empty() ? ::unsetenv("WATCHDOG_PID") : ::setenv("WATCHDOG_PID", pid.c_str(), 1);
    }
};

}  // namespace

TEST_F(service_manager_test, is_told_at_a_path_and_at_an_abstract_name) {
    for (const auto& address : {unique("/tmp/holdfast-notify-"), unique("@holdfast-notify-")}) {
        const receiver at(address);
        environment(address);
        const auto m = service_manager::from_environment();
        ASSERT_TRUE(m) << m.error().message;
        EXPECT_TRUE(m->listens());
        EXPECT_TRUE(m->tell("READY=1\nSTATUS=serving"));
        EXPECT_EQ(at.next(), "READY=1\nSTATUS=serving");
    }
}

TEST_F(service_manager_test, nothing_of_it_is_left_in_the_environment) {
    environment("/tmp/nobody", "1000000", std::to_string(getpid()));
    ASSERT_TRUE(service_manager::from_environment());
    for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) EXPECT_EQ(std::getenv(name), nullptr) << name;
    const auto none = service_manager::from_environment();
    ASSERT_TRUE(none);
    EXPECT_FALSE(none->listens());
    EXPECT_FALSE(none->tell("READY=1"));
}

TEST_F(service_manager_test, the_watchdog_is_for_the_process_that_it_names) {
    const auto watchdog = [](const std::string& usec, const std::string& pid) {
        environment("/tmp/nobody", usec, pid);
        const auto m = service_manager::from_environment();
        return m ? m->watchdog() : nanoseconds(-1);
    };
    EXPECT_EQ(watchdog("2500000", std::to_string(getpid())), milliseconds(2'500));
    EXPECT_EQ(watchdog("2500000", ""), milliseconds(2'500));
    EXPECT_EQ(watchdog("2500000", std::to_string(getppid())), nanoseconds(0));
    for (const char* bad : {"", "0", "-1", "x", "5s", "99999999999999999999", "9999999999999999999"}) EXPECT_EQ(watchdog(bad, ""), nanoseconds(0)) << bad;
}

TEST_F(service_manager_test, an_address_of_another_kind_is_refused) {
    for (const std::string& bad : {std::string("vsock:2:1"), std::string("relative"), std::string("@"), "/" + std::string(200, 'x')}) {
        environment(bad);
        EXPECT_FALSE(service_manager::from_environment()) << bad;
        EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
    }
}

TEST_F(service_manager_test, one_that_is_gone_or_does_not_read_holds_nobody_up) {
    environment(unique("/tmp/holdfast-gone-"));
    const auto gone = service_manager::from_environment();
    ASSERT_TRUE(gone);
    EXPECT_FALSE(gone->tell("READY=1"));
    const receiver deaf(unique("@holdfast-deaf-"));
    environment(unique("@holdfast-deaf-"));
    const auto m = service_manager::from_environment();
    ASSERT_TRUE(m);
    int taken = 0;
    const std::string long_status = "STATUS=" + std::string(4'000, 'x');
    while (m->tell(long_status) && taken < 100'000) ++taken;
    EXPECT_LT(taken, 100'000);
}
