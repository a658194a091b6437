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
    if (b.at().starts) return;
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

void start_again_after_stop_takes_the_same_place(bench& b) {
    if (!b.at().starts) return;
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
        {"start_again_after_stop_takes_the_same_place", &start_again_after_stop_takes_the_same_place},
    };
    return all;
}

}  // namespace holdfast::testing::contract
