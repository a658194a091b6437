// llm-openai: any server that speaks OpenAI Chat Completions. One supervised worker drives every exchange; all state of a
// chat belongs to it, so that nothing here waits and little here locks.
#include <condition_variable>
#include <map>
#include <mutex>

#include "holdfast/llm.hpp"
#include "llm-openai/chat.hpp"

namespace holdfast::llm_openai {
namespace {

constexpr std::size_t max_chats = 256;
constexpr const char* worker_name = "http";

class openai final : public sdk::llm {
  public:
    openai(sdk::host& h, std::string_view text) : llm(h, text), options_(read_settings(text)), models_(client_, options_) {}

    void start() override {
        // Transient: after interrupt() its return is final.
        host_.workers().start({.name = worker_name, .restart = "transient", .heartbeat = std::chrono::milliseconds(10'000)}, [this](sdk::worker_ctl& ctl) {
            client_.run([&ctl] { return ctl.stop_requested(); }, [&ctl] { ctl.beat(); });
        });
    }

    void quiesce(sdk::time_point deadline) override {
        std::unique_lock lock(mutex_);
        refusing_ = true;
        empty_.wait_until(lock, deadline, [this] { return chats_.empty() && describing_.empty(); });
    }

    void stop() override {
        {
            std::lock_guard lock(mutex_);
            refusing_ = true;
        }
        client_.interrupt();
        if (!host_.workers().stop_and_wait(worker_name, std::chrono::steady_clock::now() + std::chrono::seconds(5))) return;
        std::map<std::uint64_t, std::shared_ptr<chat_job>> chats;
        std::map<std::uint64_t, std::shared_ptr<sdk::call>> describing;
        {
            std::lock_guard lock(mutex_);
            chats = chats_;
            describing.swap(describing_);
        }
        for (auto& [id, c] : chats) c->fail({HF_E_CANCELLED, "the plugin is being stopped"});
        for (auto& [key, c] : describing) c->fail(HF_E_CANCELLED, "the plugin is being stopped");
        client_.shutdown();
    }

    void describe(sdk::call c) override {
        if (options_.api_key.empty() && options_.official)
            return answer(c, {false, options_.model, "No API key: set the setting \"api_key\", for example to \"${env:OPENAI_API_KEY}\".", {}});
        if (!options_.local && !options_.api_key.empty() && !options_.model.empty()) return answer(c, {true, options_.model, "An API key is set.", {}});
        auto kept = std::make_shared<sdk::call>(std::move(c));  // second owner: describing_, so that stop() completes it
        std::uint64_t key = 0;
        {
            std::lock_guard lock(mutex_);
            if (refusing_ || describing_.size() >= max_chats) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the plugin is being stopped or busy");
            key = next_key_++;
            describing_.emplace(key, kept);
        }
        const bool posted = client_.post([this, kept, key] {
            models_.ask([this, kept, key](const offer& o) {
                {
                    std::lock_guard lock(mutex_);
                    if (!describing_.erase(key)) return;
                    empty_.notify_all();
                }
                answer(*kept, o);
            });
        });
        if (posted) return;
        bool mine = false;
        {
            std::lock_guard lock(mutex_);
            mine = describing_.erase(key) > 0;
        }
        if (mine) kept->fail(HF_E_OVERLOADED, "too much is under way");
    }

    void chat(sdk::call c) override {
        json request = parse_chat_request(c.request());
        const std::uint64_t id = c.id();
        if (options_.api_key.empty() && options_.official)
            throw sdk::plugin_error(HF_E_AUTH, "No API key: set the setting \"api_key\", for example to \"${env:OPENAI_API_KEY}\".");
        tool_names unused;
        chat_body(request, "check", false, unused);  // what is wrong is told at once
        std::shared_ptr<chat_job> one;
        {
            std::lock_guard lock(mutex_);
            if (refusing_) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the plugin is being stopped");
            if (chats_.size() >= max_chats) throw sdk::plugin_error(HF_E_OVERLOADED, "too many chats are under way");
            one = std::make_shared<chat_job>(chat_job::surroundings{client_, models_, options_, host_.log()}, std::move(c), std::move(request),
                                                     [this](chat_job& ended) { forget(ended.id()); });
            chats_[id] = one;
        }
        // Full or stopped: nobody else will touch it any more.
        if (!client_.post([one] { one->begin(); })) one->fail({HF_E_OVERLOADED, "too much is under way"});
    }

    void cancel(std::uint64_t id) override {
        std::shared_ptr<chat_job> one;
        {
            std::lock_guard lock(mutex_);
            const auto it = chats_.find(id);
            if (it == chats_.end()) return;
            one = it->second;
        }
        client_.post([one] { one->cancel(); });
    }

  private:
    void answer(sdk::call& c, const offer& o) const {
        c.done(json{{"model", o.model}, {"available", o.available}, {"reason", o.reason}, {"local", options_.local}, {"demonstration", false}}.dump(
            -1, ' ', false, json::error_handler_t::replace));
    }
    void forget(std::uint64_t id) {
        std::shared_ptr<chat_job> last;  // released outside the lock
        std::lock_guard lock(mutex_);
        const auto it = chats_.find(id);
        if (it == chats_.end()) return;
        last = std::move(it->second);
        chats_.erase(it);
        empty_.notify_all();
    }

    const settings options_;
    net::http_client client_;
    models models_;  // Owner: the worker.
    std::mutex mutex_;  // leaf: the four below
    std::condition_variable empty_;
    std::map<std::uint64_t, std::shared_ptr<chat_job>> chats_;  // second owner: the client's callbacks
    std::map<std::uint64_t, std::shared_ptr<sdk::call>> describing_;
    std::uint64_t next_key_ = 1;
    bool refusing_ = false;
};

}  // namespace
}  // namespace holdfast::llm_openai

HOLDFAST_PLUGIN(holdfast::llm_openai::openai, R"({
  "id": "llm-openai", "kind": "llm", "version": "0.1.0", "abi": [1, 1],
  "description": "Models behind the OpenAI Chat Completions protocol: OpenAI, llama-server, vLLM, LM Studio, OpenRouter, Groq, Bedrock and others",
  "interfaces": ["hf.llm/1"],"needs":["hf.worker/1"],
"check":{"settings":{"base_url":"${OPENAI_URL}","api_key":"sk-test","model":"contract-model"}},
  "settings": {"type": "object", "additionalProperties": false, "properties": {
    "base_url": {"type": "string", "default": "https://api.openai.com/v1", "description": "The address before /chat/completions."},
    "api_key": {"type": "string", "writeOnly": true, "description": "Sent as a bearer token. Not needed for most servers on this machine."},
    "model": {"type": "string", "description": "Empty: gpt-6.1-sol at api.openai.com, elsewhere the first model the server lists."},
    "headers": {"type": "object", "writeOnly": true, "additionalProperties": {"type": "string"}, "description": "Further request headers; they replace ours of the same name."},
    "organization": {"type": "string", "description": "OpenAI-Organization"},
    "idle_timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 86400, "default": 120, "description": "Longest silence between two events of an answer."},
    "max_retries": {"type": "integer", "minimum": 0, "maximum": 10, "default": 2, "description": "Further attempts before the first byte of content."}}}
})")
