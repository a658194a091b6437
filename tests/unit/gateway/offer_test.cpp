#include "gateway_fixture.hpp"
#include "mcp/gateway/uri_template.hpp"

namespace holdfast::mcp::gateway::test {
namespace {

TEST(offer, lists_are_in_one_order_whatever_order_servers_came_in) {
    world w, v;
    w.tool("b", "x"), w.tool("a", "z"), w.tool("a", "y");
    v.tool("a", "y"), v.tool("b", "x"), v.tool("a", "z");
    const auto page = *w.make()->page(list_kind::tools, modern, "");
    EXPECT_EQ(page, *v.make()->page(list_kind::tools, modern, ""));
    EXPECT_EQ(names(page, "tools", "name"), (std::vector<std::string>{"a__y", "a__z", "b__x"}));
    EXPECT_EQ(w.make()->digest(list_kind::tools), v.make()->digest(list_kind::tools));
}
TEST(offer, a_modern_page_says_how_long_it_is_good_and_a_legacy_one_does_not) {
    world w;
    w.tool("a", "x");
    const json m = json::parse(*w.make()->page(list_kind::tools, modern, "")), l = json::parse(*w.make()->page(list_kind::tools, legacy, ""));
    EXPECT_EQ(m["resultType"], "complete");
    EXPECT_EQ(m["cacheScope"], "private") << "roles see different lists";
    EXPECT_GE(m["ttlMs"].get<int>(), 0);
    EXPECT_EQ(m["_meta"][meta::server_info]["name"], "holdfast");
    for (const char* key : {"resultType", "cacheScope", "ttlMs", "_meta"}) EXPECT_FALSE(l.contains(key)) << key;
}
TEST(offer, pages_join_to_the_whole_also_when_the_list_changes_between_them) {
    world w;
    for (int i = 0; i < 25; ++i) w.tool("a", std::string("t") + static_cast<char>('a' + i));
    offer_rules r;
    r.page_size = 10;
    std::vector<std::string> seen;
    std::string cursor;
    for (int round = 0; round < 3; ++round) {
        if (round == 1) w.tools.erase(w.tools.begin() + 9);  // the one the cursor names
        const json page = json::parse(*w.make(r)->page(list_kind::tools, modern, cursor));
        for (const json& t : page["tools"]) seen.push_back(t["name"]);
        EXPECT_EQ(page.contains("nextCursor"), round < 2);
        cursor = string_or(page, "nextCursor");
    }
    EXPECT_EQ(seen.size(), 25u);
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
    EXPECT_FALSE(w.make(r)->page(list_kind::tools, modern, "nonsense"));
}
TEST(offer, of_two_tools_of_one_name_the_first_server_keeps_it_even_while_it_is_away) {
    world both, without_a;
    both.tool("b", "x"), both.tool("a", "x");
    without_a.tool("b", "x");
    offer_rules r;
    r.prefix = false;
    const auto first = both.make(r);
    ASSERT_TRUE(first->tool("x"));
    EXPECT_EQ(first->tool("x")->server, "a");
    ASSERT_EQ(first->collisions().size(), 1u);
    EXPECT_EQ(first->collisions()[0].hidden_of, "b");
    const auto second = without_a.make(r, first.get());
    EXPECT_FALSE(second->tool("x")) << "nobody takes the name of a server that is down";
    without_a.servers = {"b"};
    const auto third = without_a.make(r, second.get());
    ASSERT_TRUE(third->tool("x")) << "a is configured no more";
    EXPECT_EQ(third->tool("x")->server, "b");
}
TEST(offer, a_held_tool_is_not_listed_but_known) {
    world w;
    w.tool("a", "x");
    w.tools[0].held = true;
    EXPECT_TRUE(names(*w.make()->page(list_kind::tools, modern, ""), "tools", "name").empty());
    ASSERT_TRUE(w.make()->tool("a__x"));
    EXPECT_TRUE(w.make()->tool("a__x")->held);
}
TEST(offer, filters_hold_for_lists_names_and_uris_alike) {
    world w;
    w.tool("a", "read"), w.tool("a", "write"), w.tool("b", "read");
    w.resource("a", "file:///open/1"), w.resource("a", "file:///secret/1");
    w.uri_template("a", "file:///{+path}");
    w.prompt("a", "p"), w.prompt("b", "p");
    offer_rules r;
    visibility a, none;
    a.tools = patterns(json::array({"*", "!write"}));
    a.resources = patterns(json::array({"!file:///secret/*"}));
    none.expose = false;
    r.servers = {{"*", a}, {"b", none}};
    r.role.prompts = patterns(json::array());
    const auto o = w.make(r);
    EXPECT_TRUE(o->tool("a__read"));
    EXPECT_FALSE(o->tool("a__write"));
    EXPECT_FALSE(o->tool("b__read"));
    EXPECT_FALSE(o->prompt("a__p"));
    EXPECT_EQ(o->size(list_kind::resources), 1u);
    EXPECT_TRUE(o->resource_server("file:///open/2"));
    EXPECT_FALSE(o->resource_server("file:///secret/1")) << "not through the template either";
}
TEST(offer, a_uri_leads_to_its_list_its_most_particular_template_or_its_schemes_only_server) {
    world w;
    w.resource("b", "x://one");
    w.uri_template("a", "x://{+all}"), w.uri_template("b", "x://item/{id}/data");
    w.resource("a", "only://1"), w.resource("a", "shared://1"), w.resource("b", "shared://2");
    const auto o = w.make();
    EXPECT_EQ(*o->resource_server("x://one"), "b");
    EXPECT_EQ(*o->resource_server("x://item/7/data"), "b");
    EXPECT_EQ(*o->resource_server("x://item/7/other"), "a");
    EXPECT_EQ(*o->resource_server("only://not-listed"), "a");
    EXPECT_FALSE(o->resource_server("shared://3"));
    EXPECT_FALSE(o->resource_server("other://1"));
}
TEST(uri_template, an_expression_is_a_segment_unless_it_says_otherwise) {
    EXPECT_TRUE(matches("test://t/{id}/data", "test://t/12/data"));
    EXPECT_FALSE(matches("test://t/{id}/data", "test://t//data"));
    EXPECT_FALSE(matches("test://t/{id}/data", "test://t/1/2/data"));
    EXPECT_TRUE(matches("file:///{+path}", "file:///a/b/c"));
    EXPECT_TRUE(matches("q://x{?a,b}", "q://x?a=1&b=2"));
    EXPECT_TRUE(matches("q://x{?a,b}", "q://x"));
    EXPECT_FALSE(matches("q://x", "q://xy"));
    EXPECT_FALSE(matches("{a", "b")) << "an expression that never ends is text";
    EXPECT_TRUE(matches(std::string(40, '{') , std::string(40, '{')));
}
TEST(patterns, the_last_that_fits_decides) {
    EXPECT_TRUE(patterns().admit("x"));
    EXPECT_FALSE(patterns(json::array()).admit("x"));
    EXPECT_TRUE(patterns(json::array({"!a*"})).admit("b")) << "everything but";
    EXPECT_FALSE(patterns(json::array({"!a*"})).admit("ab"));
    EXPECT_TRUE(patterns(json::array({"*", "!a*", "ab"})).admit("ab"));
    EXPECT_TRUE(glob("a*c?e", "abbbcde"));
    EXPECT_FALSE(glob("a*c?e", "abbbce"));
    EXPECT_TRUE(glob("*", ""));
}
TEST(offer, a_legacy_page_has_no_output_schema_that_its_clients_cannot_read) {
    world w;
    w.tool("a", "lists"), w.tool("a", "tells");
    json lists = *w.tools[0].definition, tells = *w.tools[1].definition;
    lists["outputSchema"] = {{"type", "array"}};
    tells["outputSchema"] = {{"type", "object"}};
    w.tools[0].definition = std::make_shared<const json>(lists);
    w.tools[1].definition = std::make_shared<const json>(tells);
    const json m = json::parse(*w.make()->page(list_kind::tools, modern, "")), l = json::parse(*w.make()->page(list_kind::tools, legacy, ""));
    EXPECT_EQ(m["tools"][0]["outputSchema"], lists["outputSchema"]);
    EXPECT_FALSE(l["tools"][0].contains("outputSchema"));
    EXPECT_EQ(l["tools"][1]["outputSchema"], tells["outputSchema"]);
}
TEST(offer, a_legacy_result_has_structured_content_that_is_an_object_or_none) {
    const json bare{{"structuredContent", {1, 2}}, {"content", json::array()}}, told{{"structuredContent", "x"}, {"content", json::array({{{"type", "text"}, {"text", "y"}}})}};
    EXPECT_EQ(json::parse(present(modern, "tools/call", bare))["structuredContent"], bare["structuredContent"]);
    const json l = json::parse(present(legacy, "tools/call", bare));
    EXPECT_FALSE(l.contains("structuredContent"));
    EXPECT_EQ(l["content"][0]["text"], "[1,2]");
    EXPECT_EQ(json::parse(present(legacy, "tools/call", told)), (json{{"content", told["content"]}}));
    const json object{{"structuredContent", {{"a", 1}}}};
    EXPECT_EQ(json::parse(present(legacy, "tools/call", object)), object);
}
TEST(offer, a_server_with_ever_new_names_keeps_none_that_it_no_longer_offers) {
    offer_rules r;
    r.prefix = false;
    world many;
    for (int i = 0; i < 20'001; ++i) many.tool("a", "t" + std::to_string(i));
    many.tool("b", "mine");
    const auto before = many.make(r);
    world now;
    now.tool("b", "t5"), now.tool("a", "mine");
    const auto after = now.make(r, before.get());
    ASSERT_TRUE(after->tool("t5"));
    EXPECT_EQ(after->tool("t5")->server, "b");
    EXPECT_FALSE(after->tool("mine")) << "another server's names stay its own";
}

}  // namespace
}  // namespace holdfast::mcp::gateway::test
