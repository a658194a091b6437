#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "holdfast/status.hpp"
#include "oauth/credential_file.hpp"

namespace {
using namespace holdfast::oauth;
namespace sdk = holdfast::sdk;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct oauth_credentials : ::testing::Test {
    oauth_credentials() {
        std::string t = (fs::temp_directory_path() / "credentials-XXXXXX").string();
        dir = ::mkdtemp(t.data());
    }
    ~oauth_credentials() override { fs::remove_all(dir); }
    unsigned mode() const {
        struct stat st {};
        EXPECT_EQ(::stat((dir / "credentials.json").c_str(), &st), 0);
        return st.st_mode & 0777;
    }
    fs::path dir;
};

grant sample() {
    grant g{"https://s/mcp", "https://as", "https://s", "https://as/t", {"c", "secret", auth_method::post}, "access", "refresh", wall_time(500s), wall_time(450s), {"a", "b"}, reach::site};
    return g;
}

TEST_F(oauth_credentials, come_back_as_they_were) {
    const credential_file f(dir.string());
    EXPECT_TRUE(f.load().grants.empty());
    f.change([](credentials& c) {
        c.grants["s"] = sample();
        c.clients["https://as"] = {{"c", "", auth_method::none}, "http://127.0.0.1:1/callback", wall_time(9s)};
    });
    const auto c = f.load();
    const grant &g = c.grants.at("s"), want = sample();
    EXPECT_EQ(g.server_url, want.server_url);
    EXPECT_EQ(g.issuer, want.issuer);
    EXPECT_EQ(g.resource, want.resource);
    EXPECT_EQ(g.token_endpoint, want.token_endpoint);
    EXPECT_EQ(g.client.client_secret, "secret");
    EXPECT_EQ(g.client.method, auth_method::post);
    EXPECT_EQ(g.access_token, "access");
    EXPECT_EQ(g.refresh_token, "refresh");
    EXPECT_EQ(g.expires_at, want.expires_at);
    EXPECT_EQ(g.fresh_until, want.fresh_until);
    EXPECT_EQ(g.scopes, want.scopes);
    EXPECT_EQ(g.server_reach, reach::site);
    EXPECT_EQ(c.clients.at("https://as").secret_expires_at, wall_time(9s));
}

TEST_F(oauth_credentials, are_for_the_owner_alone_whatever_the_umask) {
    const auto before = ::umask(0);
    const credential_file f(dir.string());
    f.change([](credentials& c) { c.grants["s"] = sample(); });
    EXPECT_EQ(mode(), 0600u);
    ::chmod((dir / "credentials.json").c_str(), 0644);
    (void)f.load();
    EXPECT_EQ(mode(), 0600u) << "a restored backup";
    ::umask(before);
}

TEST_F(oauth_credentials, a_writer_that_died_or_a_link_does_no_harm) {
    const credential_file f(dir.string());
    std::ofstream(dir / "credentials.json.new") << "half";
    fs::create_symlink("/etc/hostname", dir / "other");
    f.change([](credentials& c) { c.grants["s"] = sample(); });
    EXPECT_EQ(f.load().grants.size(), 1u);
    fs::remove(dir / "credentials.json");
    fs::create_symlink(dir / "other", dir / "credentials.json");
    EXPECT_THROW((void)f.load(), sdk::plugin_error);
}

TEST_F(oauth_credentials, that_cannot_be_read_are_said_to_be_and_not_overwritten) {
    const credential_file f(dir.string());
    for (const char* bad : {"", "{", "[]", "{}", R"({"version":2,"grants":{},"clients":{}})", R"({"version":1,"grants":{"s":{}},"clients":{}})"}) {
        std::ofstream(dir / "credentials.json") << bad;
        try {
            f.change([](credentials& c) { c.grants.clear(); });
            ADD_FAILURE() << bad;
        } catch (const sdk::plugin_error& e) {
            EXPECT_EQ(e.status().code, HF_E_CORRUPT) << bad;
        }
        std::ifstream in(dir / "credentials.json");
        EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), bad);
    }
}

}  // namespace
