// A model adapter that takes its process down. Settings: {"at": "load"|"create"|"init"|"start"|"stop"|"worker"|"timer"|"call" (default),
// "how": below}. At "call", the method of the call says how, or the last message of a chat; "ok" answers.
//   segv      writes to address 8          abort   calls abort()           overflow  recurses without end
//   exit      calls exit(3)                _exit   calls _exit(0)          loop    never returns           memory    takes memory until it gets none
//   heap      corrupts the heap, then uses it     deadlock  locks a lock twice    throw  throws
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "holdfast/llm.hpp"
#include "holdfast/timer.hpp"
#include "holdfast/worker.hpp"

using namespace holdfast::sdk;

namespace {

[[gnu::noinline]] int recurse(volatile char* above) {
    volatile char here[4096];
    here[0] = above ? above[0] : 1;
    return here[0] == 0 ? 0 : recurse(here) + here[0];
}

[[gnu::noinline]] void die_here(const std::string& how) {
    if (how == "segv") *reinterpret_cast<volatile int*>(8) = 1;
    if (how == "abort") std::abort();
    if (how == "overflow") recurse(nullptr);
    if (how == "exit") std::exit(3);
    if (how == "_exit") _exit(0);
    if (how == "loop")
        for (volatile int forever = 1; forever == 1;) {
        }
    if (how == "memory")
        for (std::vector<char*> all;;) {
            all.push_back(new char[16 << 20]);
            std::memset(all.back(), 1, 16 << 20);
        }
    if (how == "heap") {
        // Freed chunks are written past their end, and then used again: the allocator finds out sooner or later, mostly by abort().
        std::vector<char*> all;
        for (int i = 0; i < 64; ++i) all.push_back(static_cast<char*>(std::malloc(40)));
        for (char* p : all) std::memset(p, 0x41, 64);
        for (char* p : all) std::free(p);
        for (int i = 0; i < 4096; ++i) std::free(std::malloc(static_cast<std::size_t>(i)));
        std::abort();
    }
    if (how == "deadlock") {
        std::mutex m;
        m.lock();
        std::thread([&] { m.lock(); }).join();
    }
    if (how == "throw") throw std::runtime_error("bad_dies");
}

class dies final : public plugin {
  public:
    dies(host& h, std::string_view s) : plugin(h, s) {
        const auto j = nlohmann::json::parse(s);
        at_ = j.value("at", "call");
        how_ = j.value("how", "ok");
        if (at_ == "create") die_here(how_);
    }
    void init() override {
        if (at_ == "init") die_here(how_);
    }
    void start() override {
        if (at_ == "start") die_here(how_);
        if (at_ == "worker") host_.workers().start({.name = "fatal"}, [this](worker_ctl&) { die_here(how_); });
        if (at_ == "timer") timer_ = host_.timers().after(std::chrono::milliseconds(1), [this] { die_here(how_); });
    }
    void stop() override {
        if (at_ == "stop") die_here(how_);
    }
    const void* find_ext(std::string_view id) override {
        static constexpr hf_llm table{sizeof(hf_llm), 0, &submit, [](void*, std::uint64_t) {}};
        return id == HF_EXT_LLM ? &table : nullptr;
    }

  private:
    /// Of a chat: the text of its last message says how to die.
    static std::string last_words(std::string_view request) {
        const auto j = nlohmann::json::parse(request);
        return j["messages"].empty() ? "ok" : j["messages"].back()["content"].back().value("text", "ok");
    }
    static std::int32_t submit(void*, const hf_call* call, hf_error*) {
        std::string how(call->method.data, call->method.length);
        if (how == "never") return HF_PENDING;
        if (how == "chat") how = last_words(std::string_view(static_cast<const char*>(call->request.data), call->request.length));
        if (how != "ok" && how != "describe") die_here(how);
        call->on_done(call->ctx, call->id, nullptr, bytes(R"({"model":"dies","available":true,"local":true,"demonstration":true,"reason":"","stop_reason":"end_turn",
            "content":[{"type":"text","text":"alive"}],"usage":{"input_tokens":0,"output_tokens":0,"cached_tokens":0}})"));
        return HF_PENDING;
    }
    std::string at_, how_;
    timer timer_;
};
}  // namespace
HOLDFAST_PLUGIN(dies, R"({"id":"bad_dies","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"],
"settings":{"type":"object","properties":{"at":{"enum":["create","init","start","stop","worker","timer","call"]},
"how":{"enum":["ok","segv","abort","overflow","exit","_exit","loop","memory","heap","deadlock","throw"]}},"additionalProperties":false}})")
