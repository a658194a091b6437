#include <gtest/gtest.h>

#include "mcp/client_elicitation.hpp"

namespace holdfast::mcp {
namespace {

const json form = json::parse(R"({"message":"?","requestedSchema":{"type":"object","properties":{
    "name":{"type":"string","default":"Ann"},"age":{"type":"integer","default":7},"ok":{"type":"boolean","default":false},"mail":{"type":"string"}}}})");

TEST(elicitation_defaults, fill_what_an_accepted_form_leaves_out) {
    const json answer = with_defaults(form, {{"action", "accept"}, {"content", {{"age", 30}}}});
    EXPECT_EQ(answer["content"], (json{{"name", "Ann"}, {"age", 30}, {"ok", false}}));
    EXPECT_EQ(with_defaults(form, {{"action", "accept"}})["content"]["name"], "Ann");
}
TEST(elicitation_defaults, leave_every_other_answer_alone) {
    json url = form;
    url["mode"] = "url";
    const json declined{{"action", "decline"}}, accepted{{"action", "accept"}};
    EXPECT_EQ(with_defaults(form, declined), declined);
    EXPECT_EQ(with_defaults(url, accepted), accepted);
    EXPECT_EQ(with_defaults({{"requestedSchema", "x"}}, accepted), accepted);
    EXPECT_EQ(with_defaults(form, 5), json(5));
}

}  // namespace
}  // namespace holdfast::mcp
