#include <thread>

#include "contract_suite.hpp"
#include "holdfast/ext/store.h"

namespace holdfast::testing::contract {
namespace {

struct active {
    std::unique_ptr<plugin_instance> instance;
    const hf_store* store = nullptr;
    explicit active(bench& b) : instance(b.up()) {
        if (instance) store = instance->ext<hf_store>(HF_EXT_STORE);
    }
    explicit operator bool() const { return store != nullptr; }

    struct answer {
        std::int32_t code;
        std::string message;
        json result;
    };
    answer raw(std::string_view method, std::string_view request) const {
        call_probe p;
        p.submit(store->submit, instance->self(), method, request);
        if (!p.wait()) return {HF_E_TIMEOUT, "not completed within 10 s", {}};
        expect_faultless(p, std::string(method));
        const auto s = p.outcome();
        return {s.code, s.message, s.ok() ? json::parse(p.result(), nullptr, false) : json()};
    }
    answer call(std::string_view method, const json& request) const { return raw(method, request.dump()); }
    json ok(std::string_view method, const json& request) const {
        const answer a = call(method, request);
        EXPECT_GE(a.code, 0) << method << " " << request << ": " << a.message;
        return a.result;
    }
    std::int32_t code(std::string_view method, const json& request) const { return call(method, request).code; }
};

json event(const std::string& stream, int seq, const json& data = json::object(), const std::string& idem = {}) {
    json e{{"stream", stream}, {"seq", seq}, {"type", "test"}, {"at", "2026-01-01T00:00:00.000Z"}, {"data", data}};
    if (!idem.empty()) e["idem_key"] = idem;
    return e;
}
json events(std::initializer_list<json> list) { return {{"events", json(std::vector<json>(list))}}; }
std::vector<int> seqs(const json& result) {
    std::vector<int> out;
    for (const auto& e : result.value("events", json::array())) out.push_back(e.at("seq"));
    return out;
}
using ints = std::vector<int>;

void appended_events_are_read_back(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    const json data = json::parse(R"({"text":"grüße \u0000 \"x\" \n","n":9007199254740993,"deep":{"a":[1,2,{"b":null}]}})");
    EXPECT_EQ(a.ok("append", events({event("session:1", 1, data, "k1"), event("session:1", 2)})), json({{"appended", 2}}));
    const json r = a.ok("read", {{"stream", "session:1"}, {"after", 0}, {"limit", 10}});
    ASSERT_EQ(seqs(r), (ints{1, 2}));
    EXPECT_EQ(r["last"], 2);
    const json& e = r["events"][0];
    EXPECT_EQ(e.value("data", json()), data);
    EXPECT_EQ(e.value("type", ""), "test");
    EXPECT_EQ(e.value("stream", ""), "session:1");
    EXPECT_EQ(e.value("at", ""), "2026-01-01T00:00:00.000Z");
}

void read_and_tail_page_in_order(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    for (int i = 1; i <= 10; ++i) a.ok("append", events({event("s", i * 10)}));  // gaps are allowed
    const auto read = [&](int after, int limit) { return seqs(a.ok("read", {{"stream", "s"}, {"after", after}, {"limit", limit}})); };
    EXPECT_EQ(read(0, 3), (ints{10, 20, 30}));
    EXPECT_EQ(read(30, 3), (ints{40, 50, 60}));
    EXPECT_EQ(read(35, 1), (ints{40}));
    EXPECT_EQ(read(100, 5), (ints{}));
    EXPECT_EQ(seqs(a.ok("tail", {{"stream", "s"}, {"limit", 3}})), (ints{80, 90, 100}));
    EXPECT_EQ(seqs(a.ok("tail", {{"stream", "s"}, {"limit", 2}, {"before", 80}})), (ints{60, 70}));
    EXPECT_EQ(a.ok("last", {{"stream", "s"}}), json({{"last", 100}}));
    EXPECT_EQ(a.ok("read", {{"stream", "s"}, {"after", 0}, {"limit", 1}})["last"], 100);
}

void an_unknown_stream_is_empty(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    EXPECT_EQ(a.ok("last", {{"stream", "none"}}), json({{"last", 0}}));
    EXPECT_EQ(seqs(a.ok("read", {{"stream", "none"}, {"after", 0}, {"limit", 5}})), ints{});
    EXPECT_EQ(seqs(a.ok("tail", {{"stream", "none"}, {"limit", 5}})), ints{});
    EXPECT_EQ(a.ok("drop", {{"stream", "none"}}), json({{"dropped", 0}}));
}

void seq_must_rise(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    a.ok("append", events({event("s", 5)}));
    EXPECT_EQ(a.code("append", events({event("s", 5)})), HF_E_EXISTS);
    EXPECT_LT(a.code("append", events({event("s", 4)})), 0);
    EXPECT_LT(a.code("append", events({event("s", 7), event("s", 6)})), 0);
    EXPECT_EQ(a.ok("last", {{"stream", "s"}})["last"], 5) << "a refused append left something";
    EXPECT_EQ(a.code("append", events({event("s", 6), event("t", 1)})), HF_OK);
}

void an_append_is_all_or_nothing(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    a.ok("append", events({event("t", 1, json::object(), "once")}));
    EXPECT_EQ(a.code("append", events({event("s", 1), event("u", 1), event("t", 2, json::object(), "once")})), HF_E_EXISTS);
    EXPECT_EQ(a.ok("last", {{"stream", "s"}})["last"], 0);
    EXPECT_EQ(a.ok("last", {{"stream", "u"}})["last"], 0);
    EXPECT_EQ(a.ok("last", {{"stream", "t"}})["last"], 1);
    EXPECT_EQ(a.code("append", events({event("s", 1), event("t", 2)})), HF_OK) << "the refused append blocks the next one";
}

void idem_keys_belong_to_their_stream(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    a.ok("append", events({event("s", 1, json::object(), "k")}));
    EXPECT_EQ(a.code("append", events({event("s", 2, json::object(), "k")})), HF_E_EXISTS);
    EXPECT_EQ(a.code("append", events({event("t", 1, json::object(), "k")})), HF_OK);
    EXPECT_EQ(a.code("append", events({event("s", 2, json::object(), "k2"), event("s", 3, json::object(), "k2")})), HF_E_EXISTS);
    EXPECT_EQ(a.ok("last", {{"stream", "s"}})["last"], 1);
}

void streams_are_listed_by_prefix(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    for (const char* name : {"session:a", "session:b", "session:c", "other:a", "sessionx"}) a.ok("append", events({event(name, 1), event(name, 2)}));
    const json first = a.ok("streams", {{"prefix", "session:"}, {"limit", 2}});
    ASSERT_EQ(first.at("streams").size(), 2u);
    EXPECT_EQ(first["streams"][0], json({{"stream", "session:a"}, {"last", 2}, {"events", 2}}));
    EXPECT_EQ(first["streams"][1]["stream"], "session:b");
    const json rest = a.ok("streams", {{"prefix", "session:"}, {"limit", 10}, {"after", "session:b"}});
    ASSERT_EQ(rest.at("streams").size(), 1u);
    EXPECT_EQ(rest["streams"][0]["stream"], "session:c");
    EXPECT_EQ(a.ok("drop", {{"stream", "session:a"}}), json({{"dropped", 2}}));
    EXPECT_EQ(a.ok("last", {{"stream", "session:a"}})["last"], 0);
    EXPECT_EQ(a.ok("streams", {{"prefix", "session:"}, {"limit", 10}}).at("streams").size(), 2u);
}

void trim_keeps_the_newest(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    for (int i = 1; i <= 5; ++i) a.ok("append", events({event("s", i * 10, json::object(), "k" + std::to_string(i)), event("t", i)}));
    const auto first = a.call("trim", {{"stream", "s"}, {"keep", 2}});
    if (first.code == HF_E_UNSUPPORTED) DOES_NOT_APPLY("it does without trim");
    EXPECT_EQ(first.result, json({{"dropped", 3}}));
    EXPECT_EQ(seqs(a.ok("read", {{"stream", "s"}, {"after", 0}, {"limit", 10}})), (ints{40, 50}));
    EXPECT_EQ(a.ok("streams", {{"prefix", "s"}, {"limit", 10}}).at("streams")[0], json({{"stream", "s"}, {"last", 50}, {"events", 2}}));
    EXPECT_EQ(a.ok("last", {{"stream", "t"}})["last"], 5);
    EXPECT_EQ(seqs(a.ok("tail", {{"stream", "t"}, {"limit", 10}})).size(), 5u) << "another stream was trimmed";
    EXPECT_EQ(a.ok("trim", {{"stream", "s"}, {"keep", 2}}), json({{"dropped", 0}}));
    EXPECT_EQ(a.ok("trim", {{"stream", "none"}, {"keep", 1}}), json({{"dropped", 0}}));
    EXPECT_LT(a.code("append", events({event("s", 45)})), 0);
    EXPECT_EQ(a.code("append", events({event("s", 60, json::object(), "k5")})), HF_E_EXISTS) << "what stays keeps its idem_key";
    EXPECT_EQ(a.code("append", events({event("s", 60)})), HF_OK);
}

void wildcards_in_names_are_plain_characters(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    for (const char* name : {"a%b", "axb", "a_c", "aXc", "A%B"}) a.ok("append", events({event(name, 1)}));
    EXPECT_EQ(a.ok("streams", {{"prefix", "a%"}, {"limit", 10}}).at("streams").size(), 1u);
    EXPECT_EQ(a.ok("streams", {{"prefix", "a_"}, {"limit", 10}}).at("streams").size(), 1u);
    a.ok("put", {{"table", "t"}, {"key", "k%1"}, {"value", {{"v", 1}}}});
    a.ok("put", {{"table", "t"}, {"key", "kx1"}, {"value", {{"v", 2}}}});
    EXPECT_EQ(a.ok("list", {{"table", "t"}, {"prefix", "k%"}, {"limit", 10}}).at("rows").size(), 1u);
    a.ok("put", {{"table", "t"}, {"key", "'; drop table t; --"}, {"value", {{"v", 3}}}});
    EXPECT_EQ(a.ok("get", {{"table", "t"}, {"key", "'; drop table t; --"}})["value"]["v"], 3);
}

void rows_are_put_got_listed_deleted(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    EXPECT_TRUE(a.ok("get", {{"table", "sessions"}, {"key", "x"}}).at("value").is_null());
    for (const char* key : {"b", "a", "c"}) a.ok("put", {{"table", "sessions"}, {"key", key}, {"value", {{"name", key}}}});
    a.ok("put", {{"table", "sessions"}, {"key", "b"}, {"value", {{"name", "again"}}}});
    a.ok("put", {{"table", "aliases"}, {"key", "b"}, {"value", {{"name", "elsewhere"}}}});
    EXPECT_EQ(a.ok("get", {{"table", "sessions"}, {"key", "b"}})["value"], json({{"name", "again"}}));
    const json rows = a.ok("list", {{"table", "sessions"}, {"limit", 2}}).at("rows");
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0], json({{"key", "a"}, {"value", {{"name", "a"}}}}));
    EXPECT_EQ(rows[1]["key"], "b");
    const json rest = a.ok("list", {{"table", "sessions"}, {"limit", 10}, {"after", "b"}}).at("rows");
    ASSERT_EQ(rest.size(), 1u);
    EXPECT_EQ(rest[0]["key"], "c");
    EXPECT_EQ(a.ok("delete", {{"table", "sessions"}, {"key", "b"}}), json({{"deleted", true}}));
    EXPECT_EQ(a.ok("delete", {{"table", "sessions"}, {"key", "b"}}), json({{"deleted", false}}));
    EXPECT_EQ(a.ok("get", {{"table", "aliases"}, {"key", "b"}})["value"]["name"], "elsewhere");
}

void bad_requests_are_refused_and_change_nothing(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    EXPECT_EQ(a.code("sing", json::object()), HF_E_UNSUPPORTED);
    const std::string deep = "{\"events\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
    for (const std::string& text : {std::string("{"), std::string(), std::string("[]"), std::string("{}"), std::string("{\"events\":7}"), deep,
                                    std::string(R"({"events":[{"stream":"s","seq":"one","type":"t","data":{}}]})"),
                                    std::string(R"({"events":[{"seq":1,"type":"t","data":{}}]})"),
                                    std::string(R"({"events":[{"stream":"s","seq":-1,"type":"t","at":"x","data":{}}]})")})
        EXPECT_EQ(a.raw("append", text).code, HF_E_INVALID) << text.substr(0, 60);
    for (const char* method : {"read", "tail", "last", "put", "get", "delete"}) EXPECT_EQ(a.raw(method, "{}").code, HF_E_INVALID) << method;
    EXPECT_EQ(a.ok("last", {{"stream", "s"}})["last"], 0);
}

void status_tells_that_it_can_write(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    const json s = a.ok("status", json::object());
    EXPECT_EQ(s.value("writable", false), true);
    EXPECT_TRUE(s.value("path", json()).is_string());
    EXPECT_TRUE(s.value("schema", json()).is_number_integer());
}

void writers_at_once_lose_nothing(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    constexpr int threads = 4, each = 100;
    std::vector<std::thread> writers;
    for (int t = 0; t < threads; ++t)
        writers.emplace_back([&a, t] {
            const std::string stream = "s" + std::to_string(t);
            std::vector<call_probe> probes(each);
            for (int i = 0; i < each; ++i)
                probes[static_cast<std::size_t>(i)].submit(a.store->submit, a.instance->self(), "append", events({event(stream, i + 1)}).dump());
            for (auto& p : probes) {
                EXPECT_TRUE(p.wait());
                EXPECT_TRUE(p.outcome().ok()) << p.outcome().message;
                expect_faultless(p, "append");
            }
        });
    for (auto& w : writers) w.join();
    for (int t = 0; t < threads; ++t) {
        const auto got = seqs(a.ok("read", {{"stream", "s" + std::to_string(t)}, {"after", 0}, {"limit", each * 2}}));
        ASSERT_EQ(got.size(), static_cast<std::size_t>(each));
        for (int i = 0; i < each; ++i) ASSERT_EQ(got[static_cast<std::size_t>(i)], i + 1);
    }
}

void one_of_many_wins_a_seq(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    std::vector<call_probe> probes(32);
    std::vector<std::thread> writers;
    for (int t = 0; t < 4; ++t)
        writers.emplace_back([&, t] {
            for (std::size_t i = static_cast<std::size_t>(t); i < probes.size(); i += 4)
                probes[i].submit(a.store->submit, a.instance->self(), "append", events({event("s", 1, {{"by", i}})}).dump());
        });
    for (auto& w : writers) w.join();
    int won = 0;
    for (auto& p : probes) {
        ASSERT_TRUE(p.wait());
        if (p.outcome().ok())
            ++won;
        else
            EXPECT_EQ(p.outcome().code, HF_E_EXISTS) << p.outcome().message;
    }
    EXPECT_EQ(won, 1);
}

void what_was_completed_survives_a_reopening(bench& b) {
    if (!b.at().persistent) DOES_NOT_APPLY("it keeps nothing across instances");
    for (int life = 1; life <= 3; ++life) {
        active a(b);
        ASSERT_TRUE(a);
        EXPECT_EQ(a.ok("last", {{"stream", "s"}})["last"], (life - 1) * 2);
        a.ok("append", events({event("s", life * 2 - 1, json::object(), "k" + std::to_string(life)), event("s", life * 2)}));
        a.ok("put", {{"table", "t"}, {"key", "life"}, {"value", {{"n", life}}}});
        EXPECT_TRUE(a.instance->down().ok());
    }
    active a(b);
    ASSERT_TRUE(a);
    EXPECT_EQ(seqs(a.ok("read", {{"stream", "s"}, {"after", 0}, {"limit", 10}})), (ints{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(a.ok("get", {{"table", "t"}, {"key", "life"}})["value"]["n"], 3);
    EXPECT_EQ(a.code("append", events({event("s", 7, json::object(), "k1")})), HF_E_EXISTS) << "idem keys were forgotten";
}

void stop_completes_what_is_pending(bench& b) {
    active a(b);
    ASSERT_TRUE(a);
    std::vector<call_probe> probes(50);
    for (std::size_t i = 0; i < probes.size(); ++i)
        probes[i].submit(a.store->submit, a.instance->self(), "append", events({event("s", static_cast<int>(i) + 1)}).dump());
    EXPECT_TRUE(a.instance->quiesce().ok());
    EXPECT_TRUE(a.instance->stop().ok());
    for (auto& p : probes) {
        EXPECT_TRUE(p.finished()) << "stop returned with a call pending";
        expect_faultless(p, "append at stop");
    }
    a.instance->down();
}

}  // namespace

const std::vector<test>& store_tests() {
    static const std::vector<test> all{
        {"appended_events_are_read_back", &appended_events_are_read_back},
        {"read_and_tail_page_in_order", &read_and_tail_page_in_order},
        {"an_unknown_stream_is_empty", &an_unknown_stream_is_empty},
        {"seq_must_rise", &seq_must_rise},
        {"an_append_is_all_or_nothing", &an_append_is_all_or_nothing},
        {"idem_keys_belong_to_their_stream", &idem_keys_belong_to_their_stream},
        {"streams_are_listed_by_prefix", &streams_are_listed_by_prefix},
        {"trim_keeps_the_newest", &trim_keeps_the_newest},
        {"wildcards_in_names_are_plain_characters", &wildcards_in_names_are_plain_characters},
        {"rows_are_put_got_listed_deleted", &rows_are_put_got_listed_deleted},
        {"bad_requests_are_refused_and_change_nothing", &bad_requests_are_refused_and_change_nothing},
        {"status_tells_that_it_can_write", &status_tells_that_it_can_write},
        {"writers_at_once_lose_nothing", &writers_at_once_lose_nothing},
        {"one_of_many_wins_a_seq", &one_of_many_wins_a_seq},
        {"what_was_completed_survives_a_reopening", &what_was_completed_survives_a_reopening},
        {"stop_completes_what_is_pending", &stop_completes_what_is_pending},
        {"a_newer_caller_is_fine", &a_newer_caller_is_fine},
        {"requests_are_not_kept", &requests_are_not_kept},
        {"deadlines_are_honoured", &deadlines_are_honoured},
        {"cancels_race_with_completions", &cancels_race_with_completions},
        {"unknown_cancels_are_ignored", &unknown_cancels_are_ignored},
        {"calls_after_stop_are_not_kept", &calls_after_stop_are_not_kept},
    };
    return all;
}

}  // namespace holdfast::testing::contract
