// A model adapter that answers with what it was asked, word by word, from a supervised worker. It shows how a call is kept
// beyond submit, how cancel and stop reach it, and that nothing is lost when the worker is restarted.
#include <condition_variable>
#include <deque>
#include <mutex>

#include "holdfast/llm.hpp"

using namespace holdfast::sdk;
using std::chrono::milliseconds;

class echo_llm final : public llm {
  public:
    using llm::llm;

    // [control & active]
    void start() override {
        host_.workers().start({.name = "echo", .heartbeat = milliseconds(1000)}, [this](worker_ctl& ctl) { work(ctl); });
        host_.log().info("echo is ready", {{"max_waiting", max_waiting}});
    }
    // [control] New calls are refused, the worker is waited for, what still waits is answered: nothing stays pending.
    void stop() override {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        host_.workers().stop_and_wait("echo", std::chrono::steady_clock::now() + std::chrono::seconds(5));
        for (call& c : take_all()) c.fail(HF_E_CANCELLED, "the echo is stopping");
    }

    // [any & active]
    void describe(call c) override {
        c.done(json_object({{"model", "echo"}, {"available", true}, {"reason", ""}, {"local", true}, {"demonstration", true}}));
    }
    // [any & active] Keeps the call for the worker and returns at once.
    void chat(call c) override {
        if (!json_member(c.request(), "messages").starts_with('['))
            throw plugin_error(HF_E_INVALID, "a chat request needs \"messages\": […]");
        {
            std::lock_guard lock(mutex_);
            if (stopping_) throw plugin_error(HF_E_UNAVAILABLE, "the echo is stopping");
            if (waiting_.size() >= max_waiting) throw plugin_error(HF_E_OVERLOADED, "the echo's queue is full");
            waiting_.push_back(std::move(c));
        }
        host_.workers().wake("echo");
    }

  private:
    static constexpr std::size_t max_waiting = 64;

    void work(worker_ctl& ctl) {
        while (!ctl.wait())
            for (call& c : take_all()) answer(ctl, c);
    }
    std::deque<call> take_all() {
        std::lock_guard lock(mutex_);
        return std::exchange(waiting_, {});
    }
    void answer(worker_ctl& ctl, call& c) {
        const std::string text = "You said: " + std::to_string(c.request().size()) + " bytes of request.";
        for (std::size_t at = 0; at < text.size();) {
            if (c.cancelled()) return c.fail(HF_E_CANCELLED, "cancelled by the caller");
            if (ctl.stop_requested()) return c.fail(HF_E_CANCELLED, "the echo is stopping");
            if (c.deadline() < std::chrono::steady_clock::now()) return c.fail(HF_E_TIMEOUT, "the deadline passed");
            const std::size_t end = std::min(text.find(' ', at), text.size() - 1) + 1;
            c.chunk(json_object({{"type", "text"}, {"text", text.substr(at, end - at)}}));
            at = end;
            ctl.beat();
        }
        const std::string part = json_object({{"type", "text"}, {"text", text}});
        c.done(json_object({{"model", "echo"},
                            {"stop_reason", "end_turn"},
                            field::raw("content", "[" + part + "]"),
                            field::raw("usage", R"({"input_tokens":0,"output_tokens":0,"cached_tokens":0})")}));
    }

    std::mutex mutex_;  // guards what follows; never held while a call is completed
    bool stopping_ = false;
    std::deque<call> waiting_;
};

HOLDFAST_PLUGIN(echo_llm, R"({"id":"echo-llm","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"],
    "description":"Answers with what it was asked","settings":{"type":"object","additionalProperties":false}})")
