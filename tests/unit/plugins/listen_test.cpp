// hf.listen/1: the sockets belong to the plugin's id. Whoever runs is lent the same one, and clients wait for whoever accepts next.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "fixture.hpp"
#include "kernel/plugins/detail/listeners.hpp"

namespace holdfast::plugins::testing {
namespace {

using isolation::unique_fd;

/// A connection to this machine; empty when refused.
unique_fd connected(std::uint16_t port) {
    unique_fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd.reset();
    return fd;
}
std::uint16_t port_of(const unique_fd& fd) {
    sockaddr_in at{};
    socklen_t size = sizeof at;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
    return ntohs(at.sin_port);
}

class lent_socket : public plugin_host {
  protected:
    plugin_spec listening(const std::string& id, std::uint16_t port = 0, const std::string& address = "127.0.0.1") {
        auto s = spec(id, "plugins_probe", {{"listen", {{"address", address}, {"port", port}}}});
        s.supervision = quick(3);
        return s;
    }
    json about(const std::string& id) { return call(id, "listener").value_or(json{{"port", 0}, {"socket", 0}}); }
    std::uint16_t port(const std::string& id) { return about(id)["port"]; }
    /// A restart comes a while after the end.
    static supervise::backoff_policy slow() {
        auto b = supervise::backoff_policy::worker();
        b.first = milliseconds(500);
        return b;
    }
    void crash(const std::string& id) { EXPECT_FALSE(call(id, "throwing_timer")); }
};

TEST_F(lent_socket, is_the_same_one_over_restarts_and_crashes) {
    ASSERT_TRUE(add(listening("p")));
    const json first = about("p");
    EXPECT_GT(first["port"], 0);
    EXPECT_EQ(first["cloexec"], true);
    EXPECT_EQ(first["nonblocking"], true);
    ASSERT_TRUE(ask([&](auto done) { set->restart("p", std::move(done)); }));
    EXPECT_EQ(about("p"), first);
    crash("p");
    ASSERT_TRUE(reached("p", instance_phase::active, 3));
    EXPECT_EQ(about("p"), first);
    auto other = listening("p", first["port"]);  // the free port that it got, now by its number
    ASSERT_TRUE(ask([&](auto done) { set->reconfigure(std::move(other), std::move(done)); }));
    EXPECT_EQ(about("p"), first);
}

TEST_F(lent_socket, is_shared_by_a_new_version_and_the_one_before) {
    ASSERT_TRUE(add(listening("p")));
    const json first = about("p");
    std::vector<unique_fd> waiting;
    waiting.push_back(connected(first["port"]));
    ASSERT_TRUE(ask([&](auto done) { set->reload("p", {}, std::move(done)); }));
    EXPECT_EQ(about("p"), first);
    waiting.push_back(connected(first["port"]));
    for (const auto& fd : waiting) {
        ASSERT_EQ(write(fd.get(), "hello\n", 6), 6);
        EXPECT_EQ(call("p", "client").value(), json({{"said", "hello\n"}}));
    }
}

TEST_F(lent_socket, keeps_those_who_connect_while_nobody_runs) {
    auto s = listening("p");
    s.supervision.backoff = slow();
    ASSERT_TRUE(add(std::move(s)));
    const auto to = port("p");
    crash("p");
    std::vector<unique_fd> waiting;
    for (int i = 0; i < 50; ++i) {
        waiting.push_back(connected(to));
        ASSERT_TRUE(waiting.back()) << "refused: " << i;
        ASSERT_EQ(write(waiting.back().get(), "hello\n", 6), 6);
    }
    ASSERT_TRUE(reached("p", instance_phase::active, 2));
    for (int i = 0; i < 50; ++i) ASSERT_EQ(call("p", "client").value(), json({{"said", "hello\n"}})) << i;
}

TEST_F(lent_socket, is_closed_when_a_person_stops_or_removes_the_plugin) {
    ASSERT_TRUE(add(listening("p")));
    const auto at = port("p");
    ASSERT_TRUE(connected(at));
    ASSERT_TRUE(stop("p"));
    EXPECT_FALSE(connected(at));
    ASSERT_TRUE(add(listening("other", at))) << "the port is free";
    ASSERT_TRUE(ask([&](auto done) { set->remove("other", std::move(done)); }));
    EXPECT_FALSE(connected(at));
    ASSERT_TRUE(ask([&](auto done) { set->start("p", std::move(done)); }));
    EXPECT_TRUE(connected(port("p")));
}

TEST_F(lent_socket, is_closed_when_the_plugin_is_given_up) {
    auto s = listening("p");
    s.supervision = quick(1);
    ASSERT_TRUE(add(std::move(s)));
    const auto at = port("p");
    crash("p");
    ASSERT_TRUE(reached("p", instance_phase::active, 2));
    EXPECT_TRUE(connected(at));
    crash("p");
    ASSERT_TRUE(reached("p", instance_phase::quarantined));
    EXPECT_FALSE(connected(at));
}

TEST_F(lent_socket, of_an_address_no_longer_asked_for_is_closed_once_the_next_is_active) {
    ASSERT_TRUE(add(listening("p")));
    const auto before = port("p");
    unique_fd free_port(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(bind(free_port.get(), reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
    const auto next = port_of(free_port);
    // In use: the plugin does not come up, and its clients still wait on the old port.
    auto changed = listening("p", next);
    changed.supervision.backoff = slow();
    auto failed = ask([&](auto done) { set->reconfigure(changed, std::move(done)); });
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message.find("port " + std::to_string(next) + " is in use by another program"), std::string::npos) << failed.error().message;
    EXPECT_TRUE(connected(before));
    free_port.reset();
    ASSERT_TRUE(reached("p", instance_phase::active, 2));
    EXPECT_EQ(port("p"), next);
    EXPECT_TRUE(connected(next));
    EXPECT_FALSE(connected(before));
    // The same port at every address: it cannot be had twice, the new one is what is wanted.
    ASSERT_TRUE(ask([&](auto done) { set->reconfigure(listening("p", next, "0.0.0.0"), std::move(done)); }));
    EXPECT_EQ(port("p"), next);
    EXPECT_TRUE(connected(next));
}

TEST_F(lent_socket, refusals_say_what_to_do) {
    ASSERT_TRUE(add(listening("p")));
    auto taken = listening("q", port("p"));
    taken.supervision.restart = supervise::restart_type::temporary;
    auto second = add(taken);
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("in use by another program (perhaps another Holdfast); stop it, or set \"listen\" to another port"), std::string::npos)
        << second.error().message;
    auto elsewhere = listening("r", 0, "192.0.2.1");  // for documentation: no machine's own
    elsewhere.supervision.restart = supervise::restart_type::temporary;
    auto third = add(elsewhere);
    ASSERT_FALSE(third);
    EXPECT_NE(third.error().message.find("cannot listen on 192.0.2.1:0: "), std::string::npos) << third.error().message;
    EXPECT_NE(third.error().message.find("set \"listen\" to an address of this machine"), std::string::npos) << third.error().message;
    EXPECT_TRUE(connected(port("p"))) << "the first one goes on";
}

TEST_F(lent_socket, needs_no_right_to_the_network) {
    auto s = listening("p");
    s.isolation = isolation_mode::process;
    s.sandbox["network"] = false;
    ASSERT_TRUE(add(std::move(s)));
    const auto client = connected(port("p"));
    ASSERT_TRUE(client);
    ASSERT_EQ(write(client.get(), "hello\n", 6), 6);
    EXPECT_EQ(call("p", "client").value(), json({{"said", "hello\n"}}));
}

TEST(listeners, closing_frees_the_port_though_a_duplicate_is_left) {
    detail::listeners all, others;
    auto kept = all.lend(1, "127.0.0.1", 0);
    ASSERT_TRUE(kept) << kept.error().message;
    const auto at = port_of(*kept);
    EXPECT_FALSE(others.lend(1, "127.0.0.1", at));
    all.close();
    EXPECT_FALSE(connected(at));
    EXPECT_TRUE(others.lend(1, "127.0.0.1", at));
}

TEST(listeners, an_older_incarnation_goes_on_with_what_it_has) {
    detail::listeners all;
    auto old = all.lend(1, "127.0.0.1", 0);
    auto shared = all.lend(1, "localhost", port_of(*old));
    ASSERT_TRUE(shared) << shared.error().message;
    EXPECT_EQ(port_of(*old), port_of(*shared));
    auto other = all.lend(2, "127.0.0.2", 0);
    ASSERT_TRUE(other);
    all.settle(2);
    EXPECT_TRUE(connected(port_of(*old)));
    const auto at = port_of(*old);
    old->reset();
    EXPECT_TRUE(connected(at));
    shared->reset();
    EXPECT_FALSE(connected(at)) << "the last duplicate was the incarnation's";
    all.settle(1);  // what an older one has to say comes too late
    EXPECT_TRUE(all.lend(3, "127.0.0.2", port_of(*other)));
}

}  // namespace
}  // namespace holdfast::plugins::testing
