#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "api/identity.hpp"

namespace holdfast::api {
namespace {

namespace fs = std::filesystem;

struct token_test : testing::Test {
    fs::path dir = fs::temp_directory_path() / ("holdfast-token-" + std::to_string(::getpid()));
    void SetUp() override { fs::create_directories(dir); }
    void TearDown() override { fs::remove_all(dir); }
    auto open(token_authority::mode m = token_authority::mode::token) { return token_authority::open(dir.string(), m); }
};

TEST_F(token_test, is_made_once_and_kept_private) {
    auto first = open();
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ(first->token().size(), 64u);
    struct stat st {};
    ASSERT_EQ(::stat((dir / "token").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    EXPECT_EQ(open()->token(), first->token());
}

TEST_F(token_test, accepts_only_the_whole_token) {
    auto a = open();
    ASSERT_TRUE(a);
    EXPECT_TRUE(a->authenticate(a->token()));
    for (const std::string& wrong : {std::string(), a->token().substr(1), a->token() + "0", std::string(64, '0')}) {
        auto r = a->authenticate(wrong);
        ASSERT_FALSE(r) << wrong;
        EXPECT_EQ(r.error().code, errc::unauthorized);
    }
}

TEST_F(token_test, a_file_that_others_can_read_is_refused) {
    ASSERT_TRUE(open());
    fs::permissions(dir / "token", fs::perms(0644));
    auto r = open();
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::config_invalid);
    EXPECT_NE(r.error().message.find("chmod 600"), std::string::npos);
}

TEST_F(token_test, an_empty_file_is_refused_rather_than_matched) {
    std::ofstream(dir / "token") << "\n";
    fs::permissions(dir / "token", fs::perms(0600));
    ASSERT_FALSE(open());
}

TEST_F(token_test, in_mode_none_everybody_is_the_local_admin) {
    auto a = open(token_authority::mode::none);
    ASSERT_TRUE(a);
    EXPECT_EQ(a->authenticate("")->rights, role::admin);
}

TEST(StatedIdentity, can_only_lower_the_rights) {
    const identity limit{"web", role::op, "web"};
    EXPECT_EQ(identity_from({{"user", "ann"}, {"role", "admin"}}, limit)->rights, role::op);
    EXPECT_EQ(identity_from({{"role", "viewer"}}, limit)->rights, role::viewer);
    EXPECT_EQ(identity_from({{"user", "ann"}}, limit)->user, "ann");
    EXPECT_FALSE(identity_from({{"role", "king"}}, limit));
    EXPECT_EQ(identity_from(nullptr, limit)->user, "web");
}

}  // namespace
}  // namespace holdfast::api
