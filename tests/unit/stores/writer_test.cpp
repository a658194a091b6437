// The writer on its own: what happens when its thread breaks off.
#include "store-sqlite/writer.hpp"

#include "unit/stores/support.hpp"

namespace {

using namespace stores_test;
using store_sqlite::writer;

struct answered {
    std::int32_t code = 1;
    std::string message;
    static void done(void* self, std::uint64_t, const hf_error* err, hf_bytes) {
        const auto s = holdfast::sdk::from_error(err);
        *static_cast<answered*>(self) = {s.code, s.message};
    }
};

void submit(writer& w, answered& a, const char* method, const json& request) {
    const std::string text = request.dump();
    hf_call raw{};
    raw.size = sizeof raw;
    raw.ctx = &a;
    raw.on_done = &answered::done;
    raw.method = holdfast::sdk::str(method);
    raw.request = holdfast::sdk::bytes(text);
    auto state = std::make_shared<holdfast::sdk::detail::call_state>(raw);
    state->flags = 0;
    w.submit(holdfast::sdk::call(state), store_requests::parse(method, text));
}

/// One run of the worker that ends when nothing is left to do.
void run(writer& w, std::uint32_t incarnation) {
    static volatile std::int32_t stop = 1;
    volatile std::uint64_t beat = 0;
    const hf_worker_ctl raw{sizeof raw, incarnation, &stop, &beat, [](const hf_worker_ctl*, std::int64_t) -> std::int32_t { return 1; }};
    holdfast::sdk::worker_ctl ctl(&raw);
    w.run(ctl);
}

TEST(store_sqlite_writer, a_run_that_breaks_off_answers_its_calls_and_the_next_goes_on) {
    directory d;
    bool broken = true;
    store_sqlite::writer_options o;
    o.file.path = d.file();
    writer w(o, {[] {}, [](std::int32_t, const std::string&) {},
                 [&](const char*, double) {
                     if (broken) throw std::runtime_error("out of paper");
                 }});
    w.open();
    answered first, second, third;
    submit(w, first, "append", client::events("s", 1));
    EXPECT_THROW(run(w, 1), std::runtime_error);
    EXPECT_EQ(first.code, HF_E_INTERNAL);
    EXPECT_NE(first.message.find("out of paper"), std::string::npos) << first.message;
    submit(w, second, "append", client::events("s", 2));
    broken = false;
    run(w, 2);
    EXPECT_EQ(second.code, HF_OK) << second.message;
    submit(w, third, "append", client::events("s", 3));
    w.close();
    EXPECT_EQ(third.code, HF_E_UNAVAILABLE) << "what was never begun is refused at the end";
    answered late;
    EXPECT_THROW(submit(w, late, "append", client::events("s", 4)), holdfast::sdk::plugin_error);
}

}  // namespace
