#include "mcp/client_elicitation.hpp"
#include "scripted_server.hpp"

namespace holdfast::mcp::test {
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

TEST(elicitation_defaults, are_filled_in_for_callers_that_want_it_in_both_eras) {
    for (const bool modern : {false, true}) {
        for (const bool fills : {false, true}) {
            script s;
            if (modern) s.become_modern();
            else s.become_legacy();
            in::call c;
            c.id = 1, c.method = "tools/call", c.params = {{"name", "echo"}}, c.accepts_input = true, c.fills_defaults = fills;
            s.on(std::move(c));
            const json request = s.expect("tools/call");
            if (modern) s.replies(request, {{"resultType", "input_required"}, {"inputRequests", {{"k", {{"method", "elicitation/create"}, {"params", form}}}}}});
            else s.says({{"id", "q"}, {"method", "elicitation/create"}, {"params", form}});
            ASSERT_TRUE(s.find<out::input>());
            s.on(in::answer{1, s.find<out::input>()->key, {{"action", "accept"}, {"content", {{"age", 30}}}}});
            ASSERT_EQ(s.sent.size(), 1u);
            const json answer = modern ? s.sent[0]["params"]["inputResponses"]["k"] : s.sent[0]["result"];
            EXPECT_EQ(answer["content"].size(), fills ? 3u : 1u) << dump(s.sent[0]);
        }
    }
}

}  // namespace
}  // namespace holdfast::mcp::test
