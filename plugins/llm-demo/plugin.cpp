// The plugin: one supervised worker streams every answer word by word, so that no caller ever waits.
#include <condition_variable>
#include <deque>
#include <mutex>

#include "holdfast/llm.hpp"
#include "llm-demo/answer.hpp"

namespace {

using namespace holdfast::sdk;
using llm_demo::json;

constexpr std::size_t max_streams = 256;
constexpr int max_depth = 64;
constexpr const char* worker_name = "speaker";

/// Checked before parsing: a document 100,000 levels deep cannot even be destroyed safely.
bool too_deep(std::string_view text) {
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            else if (c == '"') quoted = false;
        } else if (c == '"') quoted = true;
        else if (c == '[' || c == '{') {
            if (++depth > max_depth) return true;
        } else if (c == ']' || c == '}') --depth;
    }
    return false;
}

json parsed(std::string_view text) {
    json j = too_deep(text) ? json() : json::parse(text, nullptr, false);
    if (!j.is_object() || !j.contains("messages") || !j["messages"].is_array())
        throw plugin_error(HF_E_INVALID, "the request has to be a JSON object with an array \"messages\"");
    return j;
}

class demo final : public llm {
  public:
    demo(host& h, std::string_view settings) : llm(h, settings) {
        const auto delay = json_number<std::int64_t>(settings, "delay_ms", 15);
        if (delay < 0 || delay > 60'000) throw plugin_error(HF_E_INVALID, "delay_ms has to be a number from 0 to 60000");
        delay_ = std::chrono::milliseconds(delay);
    }

    void start() override {
        host_.workers().start({.name = worker_name, .heartbeat = std::chrono::milliseconds(5000)}, [this](worker_ctl& ctl) { speak(ctl); });
    }

    void quiesce(time_point deadline) override {
        std::unique_lock lock(mutex_);
        refusing_ = true;
        empty_.wait_until(lock, deadline, [this] { return streams_.empty() && speaking_ == 0; });
    }

    void stop() override {
        {
            std::lock_guard lock(mutex_);
            refusing_ = true;
        }
        host_.workers().stop_and_wait(worker_name, std::chrono::steady_clock::now() + std::chrono::seconds(5));
        std::deque<stream> left;
        {
            std::lock_guard lock(mutex_);
            left.swap(streams_);
        }
        for (stream& s : left) s.c.fail(HF_E_CANCELLED, "the demonstration model is being stopped");
    }

    void describe(call c) override {
        c.done(json_object({{"model", llm_demo::model_name}, {"available", true}, {"reason", "offline, no key needed"}, {"local", true}, {"demonstration", true}}));
    }

    void chat(call c) override {
        const json request = parsed(c.request());
        const llm_demo::answer a = llm_demo::answer_to(request);
        stream s;
        for (const std::string& w : llm_demo::words_of(a.text)) s.chunks.push_back(text_chunk(w));
        for (const auto& t : a.calls) s.chunks.push_back(json_object({{"type", "tool_use_start"}, {"id", t.id}, {"name", t.name}}));
        s.result = llm_demo::chat_result(a, request).dump(-1, ' ', false, json::error_handler_t::replace);
        s.next = std::chrono::steady_clock::now();
        {
            std::lock_guard lock(mutex_);
            if (refusing_) throw plugin_error(HF_E_UNAVAILABLE, "the demonstration model is being stopped");
            if (streams_.size() + speaking_ >= max_streams) throw plugin_error(HF_E_OVERLOADED, "too many answers at once");
            s.c = std::move(c);
            streams_.push_back(std::move(s));
        }
        host_.workers().wake(worker_name);
    }

    void cancel(std::uint64_t) override { host_.workers().wake(worker_name); }

  private:
    struct stream {
        call c;
        std::deque<std::string> chunks;
        std::string result;
        time_point next{};
    };

    static std::string text_chunk(const std::string& word) {
        return json({{"type", "text"}, {"text", word}}).dump(-1, ' ', false, json::error_handler_t::replace);
    }

    /// What is due is taken out, spoken without the lock, and put back. Restarted after a failure it goes on with the rest.
    void speak(worker_ctl& ctl) {
        while (!ctl.stop_requested()) {
            ctl.beat();
            std::deque<stream> due;
            auto wait = std::chrono::nanoseconds(std::chrono::seconds(1));
            {
                std::lock_guard lock(mutex_);
                const time_point now = std::chrono::steady_clock::now();
                for (std::size_t n = streams_.size(); n > 0; --n) {
                    stream s = std::move(streams_.front());
                    streams_.pop_front();
                    if (s.next <= now || s.c.cancelled()) {
                        due.push_back(std::move(s));
                    } else {
                        wait = std::min(wait, std::chrono::nanoseconds(s.next - now));
                        streams_.push_back(std::move(s));
                    }
                }
                speaking_ = due.size();
            }
            if (due.empty()) {
                if (ctl.wait(wait)) return;
                continue;
            }
            for (stream& s : due) step(s);
            std::lock_guard lock(mutex_);
            for (stream& s : due)
                if (!s.c.finished()) streams_.push_back(std::move(s));
            speaking_ = 0;
            if (streams_.empty()) empty_.notify_all();
        }
    }

    void step(stream& s) {
        if (s.c.cancelled()) return s.c.fail(HF_E_CANCELLED, "cancelled");
        if (!s.chunks.empty()) {
            s.c.chunk(s.chunks.front());
            s.chunks.pop_front();
            s.next += delay_;
        }
        if (s.chunks.empty()) s.c.done(s.result);
    }

    std::chrono::milliseconds delay_{15};
    std::mutex mutex_;  // guards what follows; never held while a call is answered
    std::condition_variable empty_;
    std::deque<stream> streams_;
    std::size_t speaking_ = 0;
    bool refusing_ = false;
};

}  // namespace

HOLDFAST_PLUGIN(demo, R"({"id":"llm-demo","kind":"llm","version":"0.1.0","abi":[1,1],"interfaces":["hf.llm/1"],"needs":["hf.worker/1"],
"description":"A demonstration model: offline, deterministic, no key. It understands simple requests and calls tools.",
"settings":{"type":"object","properties":{
"delay_ms":{"type":"integer","minimum":0,"maximum":60000,"default":15,"description":"Pause after each word"}},
"additionalProperties":false}})")
