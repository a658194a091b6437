// The plugin: settings, life cycle, and the way from a call to the writer.
#include "holdfast/store.hpp"
#include "store-sqlite/writer.hpp"

namespace {

using namespace holdfast::sdk;
using store_sqlite::writer;

constexpr const char* worker_name = "writer";
constexpr std::chrono::seconds stop_within{10};

class sqlite_store final : public store {
  public:
    sqlite_store(host& h, std::string_view settings) : store(h, settings) {
        const auto number = [settings](const char* key, std::int64_t otherwise, std::int64_t least, std::int64_t most) {
            const auto v = json_member(settings, key).empty() ? otherwise : json_number<std::int64_t>(settings, key, least - 1);
            if (v < least || v > most)
                throw plugin_error(HF_E_INVALID, std::string(key) + " has to be an integer from " + std::to_string(least) + " to " + std::to_string(most));
            return v;
        };
        options_.group_commit = std::chrono::milliseconds(number("group_commit_ms", 2, 0, 100));
        options_.max_batch = static_cast<std::size_t>(number("max_batch", 64, 1, 10'000));
        options_.file.busy_timeout = std::chrono::milliseconds(number("busy_timeout_ms", 2000, 0, 60'000));
        path_ = json_text(settings, "path");
    }

    void init() override {
        options_.file.path = path_.empty() || path_.front() != '/' ? host_.config().data_dir() + "/" + (path_.empty() ? "holdfast.db" : path_) : path_;
        writer_.emplace(options_, store_sqlite::writer_hooks{
                                      [this] { host_.workers().wake(worker_name); },
                                      [this](std::int32_t level, const std::string& line) { host_.log().write(level, line, {{"path", options_.file.path}}); },
                                      [this](const char* name, double value) { host_.metrics().add(name, value); }});
    }
    /// Not before: while another version of this plugin still has the file, only this one can be made ready.
    void start() override {
        writer_->open();
        host_.workers().start({.name = worker_name, .shutdown = stop_within}, [this](worker_ctl& ctl) { writer_->run(ctl); });
    }
    void quiesce(time_point deadline) override {
        writer_->refuse();
        writer_->wait_until_empty(deadline);
    }
    void stop() override {
        if (!writer_) return;
        writer_->refuse();
        host_.workers().stop_and_wait(worker_name, std::chrono::steady_clock::now() + stop_within);
        writer_->close();
    }

    void submit(call c) override {
        auto request = store_requests::parse(c.method(), c.request());
        if (!writer_) throw plugin_error(HF_E_STATE, "the store is not open");
        if (std::holds_alternative<store_requests::status>(request)) return c.done(writer_->status_json());
        writer_->submit(std::move(c), std::move(request));
    }

  private:
    store_sqlite::writer_options options_;
    std::string path_;
    std::optional<writer> writer_;
};

}  // namespace

HOLDFAST_PLUGIN(sqlite_store, R"({"id":"store-sqlite","kind":"store","version":"0.1.0","abi":[1,1],"interfaces":["hf.store/1"],"needs":["hf.config/1","hf.worker/1"],
"check":{"settings":{"path":"${DIR}/store.db"},"persistent":true},
"description":"Keeps sessions and settings in one SQLite file. A write is answered when it is on the disk.",
"settings":{"type":"object","properties":{
"path":{"type":"string","description":"The file; relative paths start in the instance's data directory","default":"holdfast.db"},
"group_commit_ms":{"type":"integer","minimum":0,"maximum":100,"default":2,"description":"How long a commit may wait for others to share it, when there are several writers"},
"max_batch":{"type":"integer","minimum":1,"maximum":10000,"default":64,"description":"Calls in one transaction"},
"busy_timeout_ms":{"type":"integer","minimum":0,"maximum":60000,"default":2000,"description":"How long to wait for a file another process holds"}},
"additionalProperties":false}})")
