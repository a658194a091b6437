#include "holdfast/testing/loader.hpp"

#include <dlfcn.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>

namespace holdfast::testing {

plugin_file::plugin_file(const std::string& path) : path_(path) {
    // NOW: a missing symbol is found here. LOCAL: nothing of it serves anyone else. Never closed: see README, "Unloading".
    void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw std::runtime_error(::dlerror());
    const auto* manifest = static_cast<const char*>(::dlsym(handle, "hf_plugin_manifest"));
    entry_ = static_cast<const hf_entry*>(::dlsym(handle, "hf_plugin_entry_v1"));
    if (!manifest) throw std::runtime_error(path + " exports no hf_plugin_manifest");
    if (!entry_) throw std::runtime_error(path + " exports no hf_plugin_entry_v1");
    manifest_ = manifest;
    if (!entry_->create) throw std::runtime_error(path + ": the entry has no create");
    hf_error err = sdk::empty_error();
    if (entry_->init && entry_->init(&err) < 0) throw std::runtime_error(path + ": entry init: " + err.message);
    entered_ = true;
}
plugin_file::~plugin_file() {
    if (entered_ && entry_->deinit) entry_->deinit();
}

plugin_instance::plugin_instance(const plugin_file& file, fake_host_options options)
    : file_(file), host_(options), settings_(options.settings) {}
plugin_instance::~plugin_instance() { down(); }

namespace {
template <class F>
sdk::status run(F&& f) {
    hf_error err = sdk::empty_error();
    const std::int32_t code = f(&err);
    return sdk::from_error(code, &err);
}
}  // namespace

sdk::status plugin_instance::create() {
    const hf_instance* out = nullptr;
    auto s = run([&](hf_error* e) { return file_.entry().create(host_.abi(), sdk::bytes(settings_), &out, e); });
    if (s.ok() && !out) return sdk::status::internal("create returned HF_OK and no instance");
    if (s.ok()) table_ = out, phase_ = phase::created;
    return s;
}
sdk::status plugin_instance::init() {
    auto s = run([&](hf_error* e) { return table_->init(table_->self, e); });
    if (s.ok()) phase_ = phase::ready;
    return s;
}
sdk::status plugin_instance::start() {
    auto s = run([&](hf_error* e) { return table_->start(table_->self, e); });
    if (s.ok()) phase_ = phase::active;
    return s;
}
sdk::status plugin_instance::quiesce(milliseconds within) {
    const auto deadline = sdk::to_ns(std::chrono::steady_clock::now() + within);
    phase_ = phase::quiescing;
    return run([&](hf_error* e) { return table_->quiesce(table_->self, deadline, e); });
}
sdk::status plugin_instance::stop() {
    phase_ = phase::stopped;
    return run([&](hf_error* e) { return table_->stop(table_->self, e); });
}
sdk::status plugin_instance::up() {
    if (auto s = create(); !s.ok()) return s;
    if (auto s = init(); !s.ok()) return s;
    return start();
}
sdk::status plugin_instance::down() {
    sdk::status first;
    const auto note = [&first](sdk::status s) {
        if (first.ok()) first = std::move(s);
    };
    if (phase_ == phase::active) note(quiesce());
    if (phase_ == phase::quiescing || phase_ == phase::ready) note(stop());
    host_.revoke();
    if (table_) table_->destroy(table_->self);
    table_ = nullptr;
    phase_ = phase::none;
    return first;
}

struct call_probe::record {
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::uint64_t id = 0;
    bool expected = false;   // HF_PENDING was returned
    bool finished = false;
    int completions = 0;
    sdk::status outcome;
    std::string result;
    std::vector<std::string> chunks, faults;
};

call_probe::call_probe() : record_(std::make_unique<record>()) {
    static std::atomic<std::uint64_t> last{0};
    record_->id = ++last;
}
call_probe::~call_probe() {
    bool owed = false;
    {
        std::lock_guard lock(record_->mutex);
        owed = record_->expected && !record_->completions;
    }
    if (owed && !wait()) (void)record_.release();  // somebody may still call back
}

void call_probe::submit(submit_function f, void* self, std::string_view method, std::string_view request, milliseconds deadline) {
    record& r = *record_;
    // The request dies with this function's scope, as a real caller's would: a callee that keeps pointers reads garbage.
    const std::string method_copy(method), request_copy(request);
    hf_call call{};
    call.size = sizeof call;
    call.id = r.id;
    if (deadline.count() > 0) call.deadline_ns = sdk::to_ns(std::chrono::steady_clock::now() + deadline);
    call.method = sdk::str(method_copy);
    call.request = sdk::bytes(request_copy);
    call.ctx = &r;
    call.on_chunk = [](void* ctx, std::uint64_t id, hf_bytes chunk) {
        record& r = *static_cast<record*>(ctx);
        std::lock_guard lock(r.mutex);
        if (id != r.id) r.faults.push_back("a chunk came with a foreign id");
        if (r.completions) r.faults.push_back("a chunk came after the completion");
        r.chunks.emplace_back(sdk::view(chunk));
    };
    call.on_done = [](void* ctx, std::uint64_t id, const hf_error* err, hf_bytes result) {
        record& r = *static_cast<record*>(ctx);
        std::lock_guard lock(r.mutex);
        if (id != r.id) r.faults.push_back("the completion came with a foreign id");
        if (r.completions++) return r.faults.push_back("a second completion came");
        if (r.finished) return r.faults.push_back("a completion came although submit had refused the call");
        if (err && err->code >= 0) r.faults.push_back("the completion's error has a success code");
        r.outcome = sdk::from_error(err);
        r.result = std::string(sdk::view(result));
        r.finished = true;
        r.changed.notify_all();
    };
    hf_error err = sdk::empty_error();
    const std::int32_t code = f(self, &call, &err);
    std::lock_guard lock(r.mutex);
    if (code == HF_PENDING) {
        r.expected = true;
        return;
    }
    if (r.completions) r.faults.push_back("a completion came although submit did not return HF_PENDING");
    if (code == HF_OK) r.faults.push_back("submit returned HF_OK: a result has no way back");
    if (code < 0 && err.message[0] == '\0') r.faults.push_back("an error without a message");
    r.outcome = sdk::from_error(code, &err);
    r.finished = true;
    r.changed.notify_all();
}
bool call_probe::wait(milliseconds timeout) {
    std::unique_lock lock(record_->mutex);
    return record_->changed.wait_for(lock, timeout, [&] { return record_->finished; });
}
std::uint64_t call_probe::id() const { return record_->id; }
bool call_probe::finished() const {
    std::lock_guard lock(record_->mutex);
    return record_->finished;
}
sdk::status call_probe::outcome() const {
    std::lock_guard lock(record_->mutex);
    return record_->outcome;
}
std::string call_probe::result() const {
    std::lock_guard lock(record_->mutex);
    return record_->result;
}
std::vector<std::string> call_probe::chunks() const {
    std::lock_guard lock(record_->mutex);
    return record_->chunks;
}
int call_probe::completions() const {
    std::lock_guard lock(record_->mutex);
    return record_->completions;
}
std::vector<std::string> call_probe::faults() const {
    std::lock_guard lock(record_->mutex);
    return record_->faults;
}

}  // namespace holdfast::testing
