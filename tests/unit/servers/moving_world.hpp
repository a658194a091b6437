#pragma once
// A world whose servers have been healthy for a while, and whose transport is about to be replaced.
#include "fake_world.hpp"

namespace holdfast::servers::test {

struct moving_world : world {
    explicit moving_world(std::vector<std::string> names = {"a"}, const json& settings = json::object()) {
        json c = config(names);
        for (auto& server : c["mcpServers"]) server.update(settings);
        apply(c);
        advance(seconds(60));
        for (const auto& n : names) EXPECT_EQ(status_of(n), "healthy");
        changes_ = changes();
    }
    personality& a() { return transport.servers["a"]; }
    void replace(const std::string& id = "fake") {
        transport.replace();
        set->transport_replaced(id);
        rt.run_until_idle();
    }
    std::size_t changes() { return events("session:admin_dashboard", "mcp_status_change").size(); }
    void expect_no_flap() {
        EXPECT_EQ(changes(), changes_) << "a status changed";
        EXPECT_EQ(row("a")["status"], "healthy");
        EXPECT_EQ(row("a")["restarts"], 0);
        EXPECT_EQ(row("a")["consecutive_failures"], 0);
        EXPECT_EQ(events("health").size(), transport.servers.size()) << "connected, and nothing since";
        for (const int o : breaker.outcomes) EXPECT_NE(o, HF_OUTCOME_FAILURE);
    }
    bool logged(const std::string& what) {
        const json log = *set->log("a", 1'000);
        for (const auto& line : log["lines"])
            if (line.get<std::string>().find(what) != std::string::npos) return true;
        return false;
    }

  private:
    std::size_t changes_ = 0;
};
inline bool answered(const std::shared_ptr<world::outcome>& c) { return c->times == 1 && c->value->has_value(); }

}  // namespace holdfast::servers::test
