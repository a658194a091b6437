#include "contract_suite.hpp"
#include "holdfast/ext/ui.h"

namespace holdfast::testing::contract {
namespace {

struct owned {
    sdk::buffer buffer;
    sdk::status status;
    json value;
};
std::unique_ptr<owned> ask(plugin_instance& p, std::int32_t (*f)(void*, hf_buf*, hf_error*)) {
    auto o = std::make_unique<owned>();
    hf_error err = sdk::empty_error();
    o->status = sdk::from_error(f(p.self(), o->buffer.out(), &err), &err);
    if (o->status.ok()) o->value = json::parse(o->buffer.text(), nullptr, false);
    return o;
}

void describe_before_and_after_start(bench& b) {
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    const auto* ui = p->ext<hf_ui>(HF_EXT_UI);
    ASSERT_TRUE(ui);
    for (const bool active : {false, true}) {
        if (active && !b.at().starts) break;
        if (active) {
            const auto s = p->start();
            ASSERT_TRUE(s.ok()) << s.message;
        }
        const auto d = ask(*p, ui->describe);
        ASSERT_TRUE(d->status.ok()) << d->status.message;
        ASSERT_TRUE(d->value.is_object());
        EXPECT_TRUE(d->value.value("terminal", json()).is_boolean());
        if (active && !d->value.value("terminal", true)) {
            EXPECT_TRUE(d->value.value("url", json()).is_string()) << "neither a terminal nor a URL";
        }
    }
}

void start_without_a_terminal_fails_plainly(bench& b) {
    if (b.at().starts) DOES_NOT_APPLY("it can start here");
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    const auto s = p->start();
    if (!s.ok()) {
        EXPECT_FALSE(s.message.empty());
    }
}

void state_is_handed_over(bench& b) {
    json exported;
    {
        auto p = b.make("first");
        ASSERT_TRUE((b.at().starts ? p->up() : p->create()).ok());
        if (!b.at().starts) {
            ASSERT_TRUE(p->init().ok());
        }
        const auto e = ask(*p, p->ext<hf_ui>(HF_EXT_UI)->export_state);
        ASSERT_TRUE(e->status.ok()) << e->status.message;
        ASSERT_TRUE(e->value.is_object());
        exported = e->value;
    }
    exported["a_field_of_the_future"] = {{"x", 1}};
    auto p = b.make("second");
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    const auto import = [&p](const std::string& text) {
        hf_error err = sdk::empty_error();
        return sdk::from_error(p->ext<hf_ui>(HF_EXT_UI)->import_state(p->self(), sdk::bytes(text), &err), &err);
    };
    for (const char* garbage : {"", "{", "[]"}) import(garbage);  // refused or ignored, never a crash
    const auto s = import(exported.dump());
    EXPECT_TRUE(s.ok()) << s.message;
    if (b.at().starts) {
        EXPECT_TRUE(p->start().ok());
    }
}

void a_successor_exports_what_it_was_given(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    json given;
    {
        auto p = b.up("first");
        ASSERT_TRUE(p);
        const auto e = ask(*p, p->ext<hf_ui>(HF_EXT_UI)->export_state);
        ASSERT_TRUE(e->status.ok()) << e->status.message;
        given = e->value;
        p->down();
    }
    auto p = b.make("second");
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    hf_error err = sdk::empty_error();
    const std::string text = given.dump();
    lent_text state(text);
    const auto code = p->ext<hf_ui>(HF_EXT_UI)->import_state(p->self(), sdk::bytes(state.text()), &err);
    state.take_back();
    ASSERT_TRUE(code == HF_OK) << err.message;
    const auto s = p->start();
    ASSERT_TRUE(s.ok()) << s.message;
    const auto again = ask(*p, p->ext<hf_ui>(HF_EXT_UI)->export_state);
    ASSERT_TRUE(again->status.ok()) << again->status.message;
    if (given.contains("session")) {
        EXPECT_EQ(again->value.value("session", json()), given["session"]) << "the successor talks in another session";
    }
    for (const auto& [key, value] : given.items()) {
        EXPECT_TRUE(again->value.contains(key)) << "\"" << key << "\" was lost";
    }
}

void a_newer_buffer_is_fine(bench& b) {
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    struct {
        hf_buf now{};
        unsigned char future[64];
    } longer;
    std::memset(longer.future, 0x5a, sizeof longer.future);
    longer.now.size = sizeof longer;
    hf_error err = sdk::empty_error();
    ASSERT_EQ(p->ext<hf_ui>(HF_EXT_UI)->describe(p->self(), &longer.now, &err), HF_OK) << err.message;
    EXPECT_TRUE(json::parse(sdk::view(hf_bytes{longer.now.data, longer.now.length}), nullptr, false).is_object());
    if (longer.now.release) longer.now.release(&longer.now);
}

void errors_can_be_left_out(bench& b) {
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    for (const char* garbage : {"", "{", "[]", "\xff"}) p->ext<hf_ui>(HF_EXT_UI)->import_state(p->self(), sdk::bytes(garbage), nullptr);
}

void start_again_after_stop_takes_the_same_place(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    for (int i = 0; i < 3; ++i) {
        auto p = b.up();
        ASSERT_TRUE(p) << "life " << i + 1;
        EXPECT_TRUE(p->down().ok());
    }
}

}  // namespace

const std::vector<test>& ui_tests() {
    static const std::vector<test> all{
        {"describe_before_and_after_start", &describe_before_and_after_start},
        {"start_without_a_terminal_fails_plainly", &start_without_a_terminal_fails_plainly},
        {"state_is_handed_over", &state_is_handed_over},
        {"a_successor_exports_what_it_was_given", &a_successor_exports_what_it_was_given},
        {"a_newer_buffer_is_fine", &a_newer_buffer_is_fine},
        {"errors_can_be_left_out", &errors_can_be_left_out},
        {"start_again_after_stop_takes_the_same_place", &start_again_after_stop_takes_the_same_place},
    };
    return all;
}

}  // namespace holdfast::testing::contract
