// The web interface, replaced again and again while clients ask: not one is refused, cut off or answered by nobody.
#include "holdfast/ext/ui.h"
#include "unit/net_server/raw_client.hpp"
#include "unit/plugins/fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

using test::raw_client;

class web : public plugin_host {
  protected:
    void adjust(plugin_set_options& o) override {
        o.search_path = {HF_PLUGINS};
        o.api.submit = [](const std::string&, const std::string& method, json, json, auto reply) { reply(json{{"method", method}}); };
    }
    unsigned short port() {
        const auto about = await<json>(patience, [&](auto done) {
            set->control("web", HF_EXT_UI,
                         [](const void* table, void* self) -> result<json> {
                             hf_buf b{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
                             hf_error err{sizeof(hf_error)};
                             if (static_cast<const hf_ui*>(table)->describe(self, &b, &err) != HF_OK) return fail(errc::plugin_failed, err.message);
                             auto out = json::parse(static_cast<const char*>(b.data), static_cast<const char*>(b.data) + b.length);
                             b.release(&b);
                             return out;
                         },
                         std::move(done));
        });
        if (!about) return 0;
        const std::string url = (*about)["url"];
        return static_cast<unsigned short>(std::stoi(url.substr(url.rfind(':') + 1)));
    }
    void replace_under_load(isolation_mode how) {
        auto s = spec("web", "ui-http", {{"listen", "127.0.0.1:0"}, {"auth", {{"mode", "none"}}}});
        s.isolation = how;
        ASSERT_TRUE(add(std::move(s)));
        const auto at = port();
        std::atomic<bool> over{false};
        std::atomic<int> answers{0}, failures{0};
        std::vector<std::thread> clients;
        for (int i = 0; i < 6; ++i)
            clients.emplace_back([&, fresh = i % 2 == 0] {
                while (!over) {
                    raw_client c(at);
                    if (!c.connected()) ++failures;
                    for (bool again = true; again && !over;) {
                        const auto r = c.ask("POST /api/v1/call/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
                        r && r->status == 200 ? ++answers : ++failures;
                        again = r && !fresh && r->headers.at("connection") != "close";
                    }
                }
            });
        auto more = [&] { return until([&, goal = answers + 100] { return answers >= goal || failures > 0; }); };
        for (int i = 0; i < 10; ++i) {
            EXPECT_TRUE(more());
            auto r = ask([&](auto done) { set->reload("web", {}, std::move(done)); });
            EXPECT_TRUE(r) << r.error().message;
        }
        EXPECT_TRUE(more());
        over = true;
        for (auto& t : clients) t.join();
        EXPECT_EQ(failures, 0);
        EXPECT_EQ(port(), at);
        EXPECT_EQ(set->info("web")->restarts, 0u);
    }
};

TEST_F(web, is_replaced_under_load) { replace_under_load(isolation_mode::in_process); }
TEST_F(web, is_replaced_under_load_in_a_process_of_its_own) { replace_under_load(isolation_mode::process); }

}  // namespace
}  // namespace holdfast::plugins::testing
