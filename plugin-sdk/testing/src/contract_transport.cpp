#include <condition_variable>
#include <mutex>
#include <thread>

#include "contract_suite.hpp"
#include "holdfast/ext/transport.h"

namespace holdfast::testing::contract {
namespace {

/// One connection as the host's MCP client sees it, keeping account of the rules.
class connection {
  public:
    connection(plugin_instance& p, std::uint64_t id) : table_(p.ext<hf_transport>(HF_EXT_TRANSPORT)), self_(p.self()), id_(id) {}
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    sdk::status open(std::string_view config, bool newer = false) {
        struct {
            hf_transport_sink now{};
            unsigned char future[64];
        } longer;
        std::memset(longer.future, 0x5a, sizeof longer.future);
        hf_transport_sink& sink = longer.now;
        sink.size = newer ? sizeof longer : sizeof sink;
        sink.ctx = this;
        sink.on_open = [](void* c, hf_bytes info) { at(c).note("open", std::string(sdk::view(info))); };
        // A message may follow the id of the request on whose stream it came; an id has no line break in it.
        sink.on_message = [](void* c, hf_bytes m) {
            const std::string_view text = sdk::view(m);
            const bool led = !text.empty() && text.front() != '{' && text.front() != '[';
            at(c).note("message", std::string(led ? text.substr(text.find('\n') + 1) : text));
        };
        sink.on_request_failed = [](void* c, hf_bytes id, const hf_error* e) {
            at(c).note("failed", std::string(sdk::view(id)) + " " + (e ? e->message : "no error given"));
        };
        sink.on_log = [](void* c, hf_str) { at(c).note("log", ""); };
        sink.on_closed = [](void* c, const hf_error* e) { at(c).note("closed", "", sdk::from_error(e)); };
        hf_error err = sdk::empty_error();
        const auto code = table_->open(self_, id_, sdk::bytes(config), &sink, &err);
        sink = {};  // the table was to be copied
        return sdk::from_error(code, &err);
    }
    sdk::status send(const std::string& message) const {
        hf_error err = sdk::empty_error();
        return sdk::from_error(table_->send(self_, id_, sdk::bytes(message), &err), &err);
    }
    void abandon(const std::string& id) const { table_->abandon(self_, id_, sdk::bytes(id)); }
    void close(milliseconds within = milliseconds(2000)) const {
        table_->close(self_, id_, sdk::to_ns(std::chrono::steady_clock::now() + within));
    }

    bool wait(const std::function<bool(const connection&)>& is, milliseconds timeout = milliseconds(10000)) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, timeout, [&] { return is(*this); });
    }
    bool wait_open() {
        bool is = false;
        wait([&](const connection& c) { return (is = c.opened > 0) || c.closed; });
        return is;
    }
    bool wait_closed() {
        return wait([](const connection& c) { return c.closed > 0; });
    }
    bool wait_messages(std::size_t n) {
        bool is = false;
        wait([&](const connection& c) { return (is = c.messages.size() >= n) || c.closed; });
        return is;
    }
    /// While more may come.
    std::vector<std::string> heard() const { return looked(messages); }
    std::vector<std::string> failed() const { return looked(request_failures); }
    bool is_closed() const { return looked(closed) > 0; }

    // Read them within a wait, or when the connection is closed.
    int opened = 0, closed = 0;
    sdk::status why;
    std::string info;
    std::vector<std::string> messages, request_failures, faults;

  private:
    template <class T>
    T looked(const T& at) const {
        std::lock_guard lock(mutex_);
        return at;
    }
    static connection& at(void* c) { return *static_cast<connection*>(c); }
    void note(std::string_view what, std::string text, sdk::status s = {}) {
        std::lock_guard lock(mutex_);
        if (closed) faults.push_back(std::string(what) + " after closed");
        if (what == "open") {
            if (opened++) faults.push_back("opened twice");
            info = std::move(text);
        } else if (what == "message") {
            if (!opened) faults.push_back("a message before opened");
            messages.push_back(std::move(text));
        } else if (what == "failed") {
            request_failures.push_back(std::move(text));
        } else if (what == "closed") {
            ++closed;
            why = std::move(s);
        }
        changed_.notify_all();
    }
    const hf_transport* table_;
    void* self_;
    std::uint64_t id_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
};

void expect_faultless(const connection& c) {
    for (const auto& f : c.faults) ADD_FAILURE() << f;
    EXPECT_EQ(c.closed, 1);
}
std::string request(int id, const std::string& text = "x") {
    return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", "tools/call"}, {"params", {{"name", "echo"}, {"text", text}}}}.dump();
}

void messages_come_back_whole(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection c(*p, 1);
    ASSERT_TRUE(c.open(b.at().config).ok());
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    EXPECT_TRUE(json::parse(c.info, nullptr, false).is_object()) << c.info;
    std::vector<json> sent;
    for (int i = 0; i < 20; ++i) {
        sent.push_back(json::parse(request(i, i == 10 ? std::string(300'000, 'y') : "grüße \\ \" \n " + std::to_string(i))));
        ASSERT_TRUE(c.send(sent.back().dump()).ok());
    }
    ASSERT_TRUE(c.wait_messages(sent.size()));
    std::vector<json> got;
    for (const auto& m : c.heard()) got.push_back(json::parse(m, nullptr, false));
    EXPECT_TRUE(std::is_permutation(got.begin(), got.end(), sent.begin(), sent.end()));
    c.close();
    ASSERT_TRUE(c.wait_closed());
    EXPECT_TRUE(c.why.ok()) << c.why.message;
    expect_faultless(c);
}

void close_is_told_once_and_ends_sending(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection c(*p, 1);
    ASSERT_TRUE(c.open(b.at().config).ok());
    ASSERT_TRUE(c.wait_open());
    c.close();
    c.close();
    ASSERT_TRUE(c.wait_closed());
    c.close();
    c.abandon("1");
    EXPECT_EQ(c.send(request(1)).code, HF_E_NOT_FOUND);
    expect_faultless(c);
}

void unknown_connections_are_not_found(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    const connection c(*p, 77);
    EXPECT_EQ(c.send(request(1)).code, HF_E_NOT_FOUND);
    c.abandon("1");
    c.close();
}

void bad_configurations_are_refused(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    std::uint64_t id = 1;
    for (const char* config : {"", "{", "[]", "{}", R"({"command":7,"url":7})"}) {
        connection c(*p, id++);
        const auto s = c.open(config);
        if (s.ok()) {  // then it must say so by closing
            ASSERT_TRUE(c.wait_closed()) << config;
            EXPECT_FALSE(c.why.ok()) << config;
            EXPECT_FALSE(c.why.message.empty()) << config;
        } else {
            EXPECT_FALSE(s.message.empty()) << config;
            EXPECT_EQ(c.closed, 0) << "an error was returned and a callback came";
        }
    }
}

void an_unreachable_peer_is_told(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection c(*p, 1);
    const auto s = c.open(b.at().unreachable);
    if (!s.ok()) {
        EXPECT_FALSE(s.message.empty());
        return;
    }
    // A connectionless binding opens at once and fails the request.
    ASSERT_TRUE(c.wait([](const connection& x) { return x.opened || x.closed; }));
    if (!c.is_closed()) {
        c.send(request(5));
        ASSERT_TRUE(c.wait([](const connection& x) { return x.closed || !x.request_failures.empty(); }));
        if (!c.is_closed()) {
            EXPECT_EQ(c.failed().front().substr(0, 2), "5 ") << "which request failed?";
        }
        c.close();
    }
    ASSERT_TRUE(c.wait_closed());
    expect_faultless(c);
}

void connections_do_not_mix(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    std::vector<std::unique_ptr<connection>> all;
    for (std::uint64_t i = 1; i <= 6; ++i) {
        all.push_back(std::make_unique<connection>(*p, i));
        ASSERT_TRUE(all.back()->open(b.at().config).ok());
    }
    for (auto& c : all) ASSERT_TRUE(c->wait_open());
    for (std::size_t i = 0; i < all.size(); ++i) ASSERT_TRUE(all[i]->send(request(static_cast<int>(i) + 100)).ok());
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_TRUE(all[i]->wait_messages(1));
        EXPECT_EQ(json::parse(all[i]->heard().front())["id"], i + 100);
    }
    all[0]->close();
    ASSERT_TRUE(all[0]->wait_closed());
    ASSERT_TRUE(all[1]->send(request(7)).ok()) << "closing one connection hurt another";
    ASSERT_TRUE(all[1]->wait_messages(2));
    for (std::size_t i = 1; i < all.size(); ++i) all[i]->close();
    for (auto& c : all) {
        ASSERT_TRUE(c->wait_closed());
        expect_faultless(*c);
    }
}

void a_newer_sink_is_fine(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection c(*p, 1);
    ASSERT_TRUE(c.open(b.at().config, true).ok());
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    ASSERT_TRUE(c.send(request(1)).ok());
    ASSERT_TRUE(c.wait_messages(1));
    c.close();
    ASSERT_TRUE(c.wait_closed());
    expect_faultless(c);
}

void the_configuration_is_not_kept(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection c(*p, 1);
    lent_text config(b.at().config);
    const auto s = c.open(config.text());
    config.take_back();  // reading it from now on is a segmentation fault
    ASSERT_TRUE(s.ok()) << s.message;
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    ASSERT_TRUE(c.send(request(1)).ok());
    ASSERT_TRUE(c.wait_messages(1));
    c.close();
    ASSERT_TRUE(c.wait_closed());
}

void garbage_messages_do_no_harm(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection c(*p, 1);
    ASSERT_TRUE(c.open(b.at().config).ok());
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    for (const std::string& text : {std::string(), std::string("{"), std::string("\xff\xfe"), std::string("a\nb\r\nc"), std::string("x\0y", 3), std::string(1 << 20, '[')})
        c.send(text);  // whatever it makes of them
    c.close();
    ASSERT_TRUE(c.wait_closed());
    expect_faultless(c);
}

void closing_races_with_sending(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    for (std::uint64_t round = 1; round <= 10; ++round) {
        connection c(*p, round);
        ASSERT_TRUE(c.open(b.at().config).ok());
        ASSERT_TRUE(c.wait_open()) << c.why.message;
        std::vector<std::thread> senders;
        for (int t = 0; t < 3; ++t)
            senders.emplace_back([&c, t] {
                for (int i = 0; i < 50; ++i)
                    if (!c.send(request(t * 100 + i)).ok()) return;
            });
        c.close();
        for (auto& s : senders) s.join();
        ASSERT_TRUE(c.wait_closed());
        expect_faultless(c);
    }
}

void nothing_is_kept_after_stop(bench& b) {
    const auto p = b.up();
    ASSERT_TRUE(p);
    connection before(*p, 1);
    ASSERT_TRUE(before.open(b.at().config).ok());
    ASSERT_TRUE(before.wait_open()) << before.why.message;
    p->quiesce();
    p->stop();
    EXPECT_TRUE(before.wait_closed());
    EXPECT_FALSE(before.send(request(1)).ok()) << "a message was accepted on a connection that stop has closed";
    p->down();
    expect_faultless(before);
}

void stop_closes_every_connection(bench& b) {
    auto p = b.up();
    ASSERT_TRUE(p);
    std::vector<std::unique_ptr<connection>> all;
    for (std::uint64_t i = 1; i <= 3; ++i) {
        all.push_back(std::make_unique<connection>(*p, i));
        ASSERT_TRUE(all.back()->open(b.at().config).ok());
    }
    all[0]->wait_open();
    all[0]->send(request(1));
    p->quiesce(milliseconds(1000));
    p->stop();
    p->down();
    for (auto& c : all) {
        EXPECT_EQ(c->closed, 1) << "on_closed never came";
        for (const auto& f : c->faults) ADD_FAILURE() << f;
    }
    EXPECT_EQ(p->host().processes_running(), 0u);
}

}  // namespace

const std::vector<test>& transport_tests() {
    static const std::vector<test> all{
        {"messages_come_back_whole", &messages_come_back_whole},
        {"close_is_told_once_and_ends_sending", &close_is_told_once_and_ends_sending},
        {"unknown_connections_are_not_found", &unknown_connections_are_not_found},
        {"bad_configurations_are_refused", &bad_configurations_are_refused},
        {"an_unreachable_peer_is_told", &an_unreachable_peer_is_told},
        {"connections_do_not_mix", &connections_do_not_mix},
        {"a_newer_sink_is_fine", &a_newer_sink_is_fine},
        {"the_configuration_is_not_kept", &the_configuration_is_not_kept},
        {"garbage_messages_do_no_harm", &garbage_messages_do_no_harm},
        {"closing_races_with_sending", &closing_races_with_sending},
        {"nothing_is_kept_after_stop", &nothing_is_kept_after_stop},
        {"stop_closes_every_connection", &stop_closes_every_connection},
    };
    return all;
}

}  // namespace holdfast::testing::contract
