// The HTTP transport in front of a server that wants OAuth, with a person who follows links.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "fakes/authorization_server.hpp"
#include "holdfast/ext/transport.h"
#include "holdfast/testing/loader.hpp"
#include "net-client/http_client.hpp"

namespace {

using namespace holdfast::testing;
using nlohmann::json;
namespace sdk = holdfast::sdk;
namespace net = holdfast::net;
namespace fs = std::filesystem;

const plugin_file& file() {
    static const plugin_file f(TRANSPORT_HTTP_PLUGIN);
    return f;
}

struct directory {
    directory() {
        std::string t = (fs::temp_directory_path() / "oauth-XXXXXX").string();
        path = ::mkdtemp(t.data());
    }
    ~directory() { fs::remove_all(path); }
    fs::path path;
};

/// What one connection reported.
struct connection {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> opened;
    std::map<std::string, json> answers;
    std::map<std::string, sdk::status> failed;
    std::vector<std::string> lines;
    std::optional<sdk::status> closed;

    template <class F>
    bool wait(F is) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, std::chrono::seconds(15), is);
    }
    template <class F>
    void note(F f) {
        std::lock_guard lock(mutex);
        f();
        changed.notify_all();
    }
};

/// The plugin with its own data directory.
class plugin {
  public:
    explicit plugin(const directory& d) : instance_(file(), {.settings = "{}", .data_dir = d.path.string()}) {
        const auto up = instance_.up();
        if (!up.ok()) throw std::runtime_error(up.message);
        table_ = instance_.ext<hf_transport>(HF_EXT_TRANSPORT);
    }
    std::shared_ptr<connection> open(const json& config) {
        auto c = std::make_shared<connection>();
        all_.push_back(c);
        hf_transport_sink sink{};
        sink.size = sizeof sink;
        sink.ctx = c.get();
        sink.on_open = [](void* x, hf_bytes info) { at(x).note([&] { at(x).opened.emplace_back(sdk::view(info)); }); };
        sink.on_message = [](void* x, hf_bytes m) {
            const json j = json::parse(sdk::view(m));
            at(x).note([&] { at(x).answers[j["id"].dump()] = j; });
        };
        sink.on_request_failed = [](void* x, hf_bytes id, const hf_error* e) { at(x).note([&] { at(x).failed[std::string(sdk::view(id))] = sdk::from_error(e); }); };
        sink.on_log = [](void* x, hf_str line) { at(x).note([&] { at(x).lines.emplace_back(sdk::view(line)); }); };
        sink.on_closed = [](void* x, const hf_error* e) { at(x).note([&] { at(x).closed = e ? sdk::from_error(e) : sdk::status{}; }); };
        hf_error err = sdk::empty_error();
        const std::string text = config.dump();
        if (table_->open(instance_.self(), ++last_, sdk::bytes(text), &sink, &err) != HF_OK) throw std::runtime_error(err.message);
        numbers_[c.get()] = last_;
        return c;
    }
    bool modern = true;
    void send(const std::shared_ptr<connection>& c, int id, const std::string& method) {
        json m = {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", {{"_meta", {{"io.modelcontextprotocol/protocolVersion", "2026-07-28"}}}}}};
        if (!modern) m["params"].erase("_meta");
        if (method == "tools/call") m["params"]["name"] = "t";
        hf_error err = sdk::empty_error();
        const std::string text = m.dump();
        ASSERT_EQ(table_->send(instance_.self(), numbers_[c.get()], sdk::bytes(text), &err), HF_OK) << err.message;
    }
    /// OK with an answer; otherwise how it failed.
    sdk::status call(const std::shared_ptr<connection>& c, const std::string& method = "tools/list") {
        const int id = ++requests_;
        const std::string key = std::to_string(id);
        send(c, id, method);
        EXPECT_TRUE(c->wait([&] { return c->answers.count(key) || c->failed.count(key); })) << method;
        std::lock_guard lock(c->mutex);
        return c->failed.count(key) ? c->failed[key] : c->answers.count(key) ? sdk::status{} : sdk::status{HF_E_TIMEOUT, "no answer"};
    }
    /// Opens a connection that logs in; waits for the URL or for the end.
    std::shared_ptr<connection> begin_login(json config) {
        config["auth"]["action"] = "login";
        auto c = open(config);
        EXPECT_TRUE(c->wait([&] { return !c->opened.empty() || c->closed; }));
        return c;
    }
    static std::string url_of(const std::shared_ptr<connection>& c) {
        std::lock_guard lock(c->mutex);
        return c->opened.empty() ? "" : json::parse(c->opened[0]).value("authorization_url", "");
    }
    sdk::status end_of(const std::shared_ptr<connection>& c) {
        EXPECT_TRUE(c->wait([&] { return c->closed.has_value(); }));
        std::lock_guard lock(c->mutex);
        return c->closed.value_or(sdk::status{HF_E_INTERNAL, "not closed"});
    }
    sdk::status log_in(const json& config);
    sdk::status log_out(json config) {
        config["auth"]["action"] = "logout";
        return end_of(open(config));
    }
    void close(const std::shared_ptr<connection>& c) { table_->close(instance_.self(), numbers_[c.get()], sdk::to_ns(std::chrono::steady_clock::now() + std::chrono::seconds(5))); }
    plugin_instance& instance() { return instance_; }
    /// Everything that could end in a log or on a screen.
    std::string shown() {
        std::string out;
        for (const auto& l : instance_.host().logs()) out += l.message + l.fields + "\n";
        for (const auto& c : all_) {
            std::lock_guard lock(c->mutex);
            for (const auto& line : c->lines) out += line + "\n";
            for (const auto& [id, s] : c->failed) out += s.message + "\n";
            if (c->closed) out += c->closed->message + "\n";
        }
        return out;
    }

  private:
    static connection& at(void* c) { return *static_cast<connection*>(c); }
    std::vector<std::shared_ptr<connection>> all_;  // outlive the instance
    plugin_instance instance_;
    const hf_transport* table_ = nullptr;
    std::uint64_t last_ = 0;
    int requests_ = 0;
    std::map<const connection*, std::uint64_t> numbers_;
};

struct page {
    int status = 0;
    std::string location, body;
};
page get(const std::string& url) {
    net::http_client client;
    std::thread thread([&] { client.run([] { return false; }, [] {}); });
    page p;
    std::promise<void> done;
    net::request r;
    r.url = url;
    r.timeouts.total = std::chrono::seconds(15);
    client.send(std::move(r), {[&](int status, const net::headers& h) { p.status = status, p.location = std::string(net::find_header(h, "location")); },
                               [&](std::string_view b) { p.body += b; }, [&](const net::result&) { done.set_value(); }});
    done.get_future().wait();
    client.interrupt();
    thread.join();
    return p;
}
/// A person who agrees. What the login page said in the end.
page visit(const std::string& url) {
    const page to = get(url);
    EXPECT_EQ(to.status, 302) << url;
    return to.location.empty() ? page{} : get(to.location);
}

sdk::status plugin::log_in(const json& config) {
    const auto c = begin_login(config);
    if (const std::string url = url_of(c); !url.empty()) visit(url);
    return end_of(c);
}

json config_of(const authorization_server& s, const json& auth = json::object()) {
    json o = {{"name", "srv"}, {"url", s.url()}, {"auth", {{"type", "oauth"}}}};
    o["auth"].merge_patch(auth);
    return o;
}
unsigned mode_of(const directory& d) {
    struct stat st {};
    EXPECT_EQ(::stat((d.path / "credentials.json").c_str(), &st), 0);
    return st.st_mode & 0777;
}
std::string kept(const directory& d) {
    std::ifstream in(d.path / "credentials.json");
    return {std::istreambuf_iterator<char>(in), {}};
}

TEST(http_oauth, a_person_logs_in_once_and_the_server_answers_ever_after) {
    authorization_server s;
    directory d;
    {
        plugin p(d);
        const auto c = p.open(config_of(s));
        const auto refused = p.call(c);
        EXPECT_EQ(refused.code, HF_E_AUTH);
        EXPECT_NE(refused.message.find("holdfast server login srv"), std::string::npos) << refused.message;
        EXPECT_EQ(s.counted().registered, 0) << "nothing happens without a person";

        const auto login = p.begin_login(config_of(s));
        ASSERT_TRUE(p.url_of(login).starts_with(s.issuer() + "/authorize?")) << p.end_of(login).message;
        const page last = visit(p.url_of(login));
        EXPECT_EQ(last.status, 200);
        EXPECT_NE(last.body.find("Logged in"), std::string::npos);
        EXPECT_TRUE(p.end_of(login).ok()) << p.end_of(login).message;
        EXPECT_TRUE(p.call(c).ok()) << "the connection that is there goes on";
        EXPECT_EQ(mode_of(d), 0600u);
        for (const auto& secret : s.secrets()) EXPECT_EQ(p.shown().find(secret), std::string::npos) << secret;
        EXPECT_TRUE(s.problems().empty()) << s.problems().front();
        EXPECT_EQ(s.last_scope(), "mcp:basic");
    }
    plugin again(d);
    EXPECT_TRUE(again.call(again.open(config_of(s))).ok());
    EXPECT_EQ(s.counted().authorized, 1);
}

TEST(http_oauth, a_token_is_renewed_before_it_expires) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.token_lives_s = 0; });
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    s.set([](auto& f) { f.token_lives_s = 3600; });
    const auto c = p.open(config_of(s));
    const int refused = s.counted().refused;
    EXPECT_TRUE(p.call(c).ok());
    EXPECT_TRUE(p.call(c).ok());
    EXPECT_EQ(s.counted().refreshed, 1);
    EXPECT_EQ(s.counted().refused, refused) << "nothing was sent with the old one";
    EXPECT_TRUE(s.problems().empty());
}

TEST(http_oauth, requests_do_not_wait_for_a_token_endpoint_that_cannot_answer) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.token_lives_s = 0, f.refresh_status = 503; });
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(p.call(c).ok()) << "the old token is still taken";
    EXPECT_EQ(s.counted().refreshed, 1);
}

TEST(http_oauth, many_requests_renew_once) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto a = p.open(config_of(s)), b = p.open(config_of(s));
    ASSERT_TRUE(p.call(a).ok());
    s.forget_tokens();
    constexpr int each = 40;
    for (int i = 0; i < each; ++i) p.send(a, 1000 + i, "tools/list"), p.send(b, 1000 + i, "tools/list");
    for (const auto& c : {a, b}) {
        EXPECT_TRUE(c->wait([&] { return c->answers.size() + c->failed.size() >= each; }));
        EXPECT_TRUE(c->failed.empty()) << c->failed.begin()->second.message;
    }
    EXPECT_EQ(s.counted().refreshed, 1);
    EXPECT_EQ(s.counted().authorized, 1);
    EXPECT_TRUE(s.problems().empty());
}

TEST(http_oauth, renewal_that_fails_for_now_is_tried_again_and_for_good_asks_for_a_person) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    s.forget_tokens();
    s.set([](auto& f) { f.refresh_status = 503; });
    auto why = p.call(c);
    EXPECT_EQ(why.code, HF_E_UNAVAILABLE);
    EXPECT_TRUE(why.retryable);
    s.set([](auto& f) { f.refresh_status = 200; });
    EXPECT_TRUE(p.call(c).ok());
    s.forget_tokens();
    s.set([](auto& f) { f.refresh_status = 400, f.refresh_error = "invalid_grant"; });
    why = p.call(c);
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("server login srv"), std::string::npos);
    EXPECT_EQ(kept(d).find("secret"), std::string::npos) << "what is of no use is not kept";
    for (const auto& secret : s.secrets()) EXPECT_EQ(p.shown().find(secret), std::string::npos) << secret;
    s.set([](auto& f) { f.refresh_status = 200; });
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    EXPECT_TRUE(p.call(c).ok());
}

TEST(http_oauth, only_the_end_of_the_grant_takes_the_refresh_token_away) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    s.forget_tokens();
    // A load balancer, a maintenance page: whoever says this is not the token endpoint.
    for (const int status : {403, 404, 200}) {
        s.set([&](auto& f) { f.refresh_page = status; });
        const auto why = p.call(c);
        EXPECT_EQ(why.code, HF_E_UNAVAILABLE) << status << ": " << why.message;
        EXPECT_TRUE(why.retryable) << status;
        EXPECT_NE(kept(d).find("refresh-secret"), std::string::npos) << status;
    }
    // A mistake in client_secret is repaired where it was made.
    s.set([&](auto& f) { f.refresh_page = 0, f.refresh_status = 401, f.refresh_error = "invalid_client"; });
    const auto why = p.call(c);
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("invalid_client"), std::string::npos) << why.message;
    EXPECT_NE(kept(d).find("refresh-secret"), std::string::npos);
    s.set([](auto& f) { f.refresh_status = 200; });
    EXPECT_TRUE(p.call(c).ok()) << "nobody had to log in";
    EXPECT_EQ(s.counted().authorized, 1);
}

TEST(http_oauth, a_wrong_client_secret_is_said_to_be_and_asked_about_now_and_then) {
    authorization_server s;
    directory d;
    plugin p(d);
    const json config = config_of(s, {{"client_id", "mine"}, {"client_secret", "hush"}});
    s.set([](auto& f) { f.token_lives_s = 0, f.refresh_status = 401, f.refresh_error = "invalid_client"; });
    ASSERT_TRUE(p.log_in(config).ok());
    const auto c = p.open(config);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(p.call(c).ok()) << "the old token is still taken";
    EXPECT_EQ(s.counted().refreshed, 1) << "not before each request";
    s.forget_tokens();
    const auto why = p.call(c);
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("client_secret"), std::string::npos) << why.message;
}

TEST(http_oauth, a_renewal_that_comes_after_a_login_takes_nothing_from_it) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    s.forget_tokens();
    s.set([](auto& f) { f.refresh_waits = true; });
    p.send(c, 500, "tools/list");
    while (s.counted().refreshed == 0) std::this_thread::yield();
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    s.set([](auto& f) { f.refresh_waits = false, f.refresh_status = 400, f.refresh_error = "invalid_grant"; });
    EXPECT_TRUE(c->wait([&] { return c->answers.count("500") || c->failed.count("500"); }));
    EXPECT_TRUE(c->failed.empty()) << c->failed.begin()->second.message;
    EXPECT_TRUE(p.call(c).ok());
    EXPECT_EQ(s.counted().refreshed, 1) << "what was granted last is in force";
}

TEST(http_oauth, an_answer_of_another_issuer_is_not_used) {
    for (const std::string iss : {"https://evil.example", "none", "slash"}) {
        authorization_server s;
        directory d;
        plugin p(d);
        s.set([&](auto& f) { f.iss = iss == "slash" ? s.issuer() + "/" : iss; });
        const auto login = p.begin_login(config_of(s));
        const page last = visit(p.url_of(login));
        EXPECT_EQ(last.status, 400);
        EXPECT_EQ(p.end_of(login).code, HF_E_AUTH);
        EXPECT_EQ(s.counted().exchanged, 0) << iss;
    }
}

TEST(http_oauth, a_stranger_ends_no_login) {
    authorization_server s;
    directory d;
    plugin p(d);
    const auto login = p.begin_login(config_of(s));
    const std::string url = p.url_of(login), back = get(url).location;
    const std::string base = back.substr(0, back.find('?'));
    ASSERT_TRUE(base.starts_with("http://127.0.0.1:"));
    EXPECT_EQ(get(base + "?error=access_denied&state=guessed").status, 400);
    EXPECT_EQ(get(base).status, 400);
    EXPECT_EQ(get(base.substr(0, base.rfind('/')) + "/other").status, 404);
    EXPECT_EQ(get(back).status, 200);
    EXPECT_TRUE(p.end_of(login).ok());
}

TEST(http_oauth, a_person_who_refuses_is_believed) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.denies = true; });
    const auto why = p.log_in(config_of(s));
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("access_denied"), std::string::npos);
    s.set([](auto& f) { f.denies = false; });
    EXPECT_TRUE(p.log_in(config_of(s)).ok());
}

TEST(http_oauth, tokens_for_another_audience_end_in_an_error_not_in_a_loop) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.audience = "https://other.example/mcp"; });
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    const auto why = p.call(c);
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_LE(s.counted().refused, 5);
    EXPECT_EQ(s.counted().served, 0);
}

TEST(http_oauth, metadata_of_another_resource_is_refused) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.resource = {{"resource", "https://other.example/mcp"}}; });
    const auto why = p.log_in(config_of(s));
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("another resource"), std::string::npos) << why.message;
    EXPECT_EQ(s.counted().registered + s.counted().authorized, 0);
}

TEST(http_oauth, metadata_that_points_into_the_network_is_refused) {
    for (const char* inside : {"https://10.0.0.1/as", "https://192.168.0.1:8443", "https://169.254.169.254", "http://as.example", "https://[fd00::1]"}) {
        authorization_server s;
        directory d;
        plugin p(d);
        s.set([&](auto& f) { f.resource = {{"authorization_servers", json::array({inside})}}; });
        const auto why = p.log_in(config_of(s));
        EXPECT_EQ(why.code, HF_E_AUTH) << inside;
        EXPECT_NE(why.message.find("is not asked"), std::string::npos) << why.message;
        s.set([&](auto& f) {
            f.resource = nullptr;
            f.server = {{"token_endpoint", std::string(inside) + "/token"}};
        });
        EXPECT_EQ(p.log_in(config_of(s)).code, HF_E_AUTH) << inside;
        EXPECT_EQ(s.counted().exchanged, 0);
    }
}

TEST(http_oauth, a_refused_registration_says_what_to_set) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.register_status = 400; });
    const auto why = p.log_in(config_of(s));
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("client_id"), std::string::npos);
    EXPECT_TRUE(p.log_in(config_of(s, {{"client_id", "known-before"}})).ok());
}

TEST(http_oauth, more_permissions_are_asked_for_on_top_of_those_there_are) {
    authorization_server s;
    directory d;
    plugin p(d);
    s.set([](auto& f) { f.write_scope = "mcp:write"; });
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    ASSERT_TRUE(p.call(c).ok());
    const auto why = p.call(c, "tools/call");
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_NE(why.message.find("mcp:write"), std::string::npos);
    EXPECT_NE(why.message.find("server login srv"), std::string::npos);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    EXPECT_EQ(s.last_scope(), "mcp:write mcp:basic");
    EXPECT_TRUE(p.call(c, "tools/call").ok());
    EXPECT_TRUE(p.call(c).ok());
    s.set([](auto& f) { f.scopes_granted = "mcp:basic"; });  // says yes, gives less
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    EXPECT_NE(p.call(c, "tools/call").message.find("although"), std::string::npos) << "asking again is of no use";
}

TEST(http_oauth, permissions_that_were_missed_one_by_one_are_asked_for_together) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    for (const char* missed : {"mcp:write", "mcp:admin"}) {
        s.set([&](auto& f) { f.write_scope = missed; });
        EXPECT_EQ(p.call(c, "tools/call").code, HF_E_AUTH);
    }
    s.forget_tokens();  // and another refusal before anybody logs in
    s.set([](auto& f) { f.refresh_status = 400, f.refresh_error = "invalid_grant"; });
    EXPECT_EQ(p.call(c).code, HF_E_AUTH);
    s.set([](auto& f) { f.refresh_status = 200, f.write_scope = "mcp:write mcp:admin"; });
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    for (const char* each : {"mcp:basic", "mcp:write", "mcp:admin"}) EXPECT_NE(s.last_scope().find(each), std::string::npos) << s.last_scope();
    EXPECT_TRUE(p.call(c, "tools/call").ok());
    EXPECT_EQ(s.counted().authorized, 2);
    ASSERT_TRUE(p.log_out(config_of(s)).ok());
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    EXPECT_EQ(s.last_scope(), "mcp:basic") << "a new beginning";
}

TEST(http_oauth, a_login_that_fails_keeps_what_is_to_be_asked_for) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    s.set([&](auto& f) { f.write_scope = "mcp:write", f.denies = true; });
    EXPECT_EQ(p.call(c, "tools/call").code, HF_E_AUTH);
    EXPECT_EQ(p.log_in(config_of(s)).code, HF_E_AUTH);
    s.forget_tokens();
    s.set([](auto& f) { f.refresh_status = 400, f.refresh_error = "invalid_grant", f.denies = false; });
    EXPECT_EQ(p.call(c).code, HF_E_AUTH);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    EXPECT_NE(s.last_scope().find("mcp:write"), std::string::npos) << s.last_scope();
}

TEST(http_oauth, logging_out_forgets) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    ASSERT_TRUE(p.call(c).ok());
    EXPECT_TRUE(p.log_out(config_of(s)).ok());
    EXPECT_EQ(p.call(c).code, HF_E_AUTH);
    EXPECT_EQ(kept(d).find("secret"), std::string::npos);
}

TEST(http_oauth, a_token_goes_to_its_own_server_only) {
    authorization_server s, other;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    json moved = config_of(other);  // the same name, now elsewhere
    EXPECT_EQ(p.call(p.open(moved)).code, HF_E_AUTH);
    moved = config_of(s);
    moved["name"] = "another";      // the same server, for somebody else
    EXPECT_EQ(p.call(p.open(moved)).code, HF_E_AUTH);
    for (const auto& q : other.heard()) EXPECT_FALSE(q.has("authorization"));
}

TEST(http_oauth, a_program_gets_its_token_by_itself) {
    authorization_server s;
    directory d;
    plugin p(d);
    const json machine = {{"grant", "client_credentials"}, {"client_id", "machine"}, {"client_secret", "hush"}};
    const auto c = p.open(config_of(s, machine));
    EXPECT_TRUE(p.call(c).ok());
    s.forget_tokens();
    EXPECT_TRUE(p.call(c).ok());
    EXPECT_EQ(s.counted().by_itself, 2);
    s.set([](auto& f) { f.write_scope = "mcp:write"; });
    EXPECT_TRUE(p.call(c, "tools/call").ok()) << "more permissions without anybody's help";
    EXPECT_EQ(kept(d).find("hush"), std::string::npos) << "the secret stays in the configuration";
    json wrong = config_of(s, machine);
    wrong["auth"]["client_secret"] = "shh";
    wrong["name"] = "other";
    const auto why = p.call(p.open(wrong));
    EXPECT_EQ(why.code, HF_E_AUTH);
    EXPECT_EQ(p.shown().find("shh"), std::string::npos);
}

TEST(http_oauth, the_second_who_logs_in_joins_the_first) {
    authorization_server s;
    directory d;
    plugin p(d);
    const auto one = p.begin_login(config_of(s)), two = p.begin_login(config_of(s));
    EXPECT_EQ(p.url_of(one), p.url_of(two));
    p.close(one);  // its caller lost patience
    EXPECT_TRUE(p.end_of(one).ok());
    EXPECT_EQ(visit(p.url_of(two)).status, 200);
    EXPECT_TRUE(p.end_of(two).ok());
}

TEST(http_oauth, stopping_ends_a_login_and_leaves_nothing) {
    authorization_server s;
    directory d;
    plugin p(d);
    const auto login = p.begin_login(config_of(s));
    ASSERT_FALSE(p.url_of(login).empty());
    EXPECT_TRUE(p.instance().stop().ok());
    EXPECT_FALSE(p.end_of(login).ok());
    const auto left = p.instance().host().revoke();
    EXPECT_TRUE(left.workers.empty()) << left.workers.front();
}

TEST(http_oauth, credentials_that_cannot_be_read_are_said_to_be) {
    authorization_server s;
    directory d;
    plugin p(d);
    std::ofstream(d.path / "credentials.json") << "{";
    const auto why = p.log_in(config_of(s));
    EXPECT_EQ(why.code, HF_E_CORRUPT);
    EXPECT_NE(why.message.find("credentials.json"), std::string::npos);
}

TEST(http_oauth, a_token_that_cannot_be_kept_is_used_all_the_same) {
    authorization_server s;
    directory d;
    plugin p(d);
    ASSERT_TRUE(p.log_in(config_of(s)).ok());
    const auto c = p.open(config_of(s));
    ASSERT_TRUE(p.call(c).ok());
    fs::create_directory(d.path / "credentials.json.new");  // a file of that name cannot be made
    std::ofstream(d.path / "credentials.json.new" / "x") << "x";
    for (int i = 0; i < 2; ++i) {  // the second time with a refresh token that is in memory alone
        s.forget_tokens();
        EXPECT_TRUE(p.call(c).ok());
    }
    EXPECT_EQ(s.counted().refreshed, 2);
    fs::remove_all(d.path / "credentials.json.new");
    s.forget_tokens();
    EXPECT_TRUE(p.call(c).ok());
    EXPECT_NE(kept(d).find(s.secrets().back()), std::string::npos) << "written as soon as it can be";
    EXPECT_TRUE(s.problems().empty());
}

TEST(http_oauth, servers_of_the_oldest_transport_are_logged_in_to_as_well) {
    for (const bool asked_for : {true, false}) {
        authorization_server s;
        directory d;
        plugin p(d);
        p.modern = false;
        s.set([](auto& f) { f.older = true; });
        json config = config_of(s);
        if (asked_for) config["type"] = "sse";
        auto c = p.open(config);
        const auto why = asked_for ? p.end_of(c) : p.call(c, "initialize");
        EXPECT_EQ(why.code, HF_E_AUTH);
        EXPECT_NE(why.message.find("server login srv"), std::string::npos) << why.message;
        ASSERT_TRUE(p.log_in(config).ok());
        c = p.open(config);
        EXPECT_TRUE(p.call(c, "initialize").ok());
        EXPECT_TRUE(p.call(c).ok());
        s.forget_tokens();
        EXPECT_TRUE(p.call(c).ok()) << "renewed on the way";
        EXPECT_EQ(s.counted().refreshed, 1);
        s.forget_tokens();
        c = p.open(config);
        EXPECT_TRUE(p.call(c, "initialize").ok()) << "renewed for the stream";
        EXPECT_EQ(s.counted().refreshed, 2);
    }
}

TEST(http_oauth, settings_that_are_wrong_are_refused_before_anything_is_sent) {
    authorization_server s;
    directory d;
    plugin p(d);
    EXPECT_THROW(p.open(config_of(s, {{"scope", "x"}})), std::runtime_error);
    json both = config_of(s);
    both["headers"] = {{"authorization", "Bearer x"}};
    EXPECT_THROW(p.open(both), std::runtime_error);
    EXPECT_TRUE(s.heard().empty());
}

}  // namespace
