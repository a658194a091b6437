#include "holdfast/testing/loader.hpp"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>

namespace holdfast::testing {

plugin_file::plugin_file(const std::string& path) : path_(path) {
    note_step("load");
    // NOW: a missing symbol is found here. LOCAL: nothing of it serves anyone else. Never closed: see README, "Unloading".
    void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) throw std::runtime_error(::dlerror());
    const auto* manifest = static_cast<const char*>(::dlsym(handle, "hf_plugin_manifest"));
    entry_ = static_cast<const hf_entry*>(::dlsym(handle, "hf_plugin_entry_v1"));
    if (!manifest) throw std::runtime_error(path + " exports no hf_plugin_manifest");
    if (!entry_) throw std::runtime_error(path + " exports no hf_plugin_entry_v1");
    manifest_ = manifest;
    enter();
}
plugin_file::plugin_file(std::string path, std::string manifest, const hf_entry& entry, std::function<std::size_t()> own_threads)
    : path_(std::move(path)), manifest_(std::move(manifest)), entry_(&entry), own_threads_(std::move(own_threads)) {
    enter();
}
void plugin_file::enter() {
    if (!entry_->create) throw std::runtime_error(path_ + ": the entry has no create");
    hf_error err = sdk::empty_error();
    note_step("entry init");
    if (entry_->init && entry_->init(&err) < 0) throw std::runtime_error(path_ + ": entry init: " + err.message);
    note_step("");
    entered_ = true;
}
plugin_file::~plugin_file() {
    if (entered_ && entry_->deinit) entry_->deinit();
}

namespace {
char own_step[step_size];
std::atomic<char*> step_place{own_step};
}  // namespace
void note_steps_in(char* place) { step_place = place; }
void note_step(const char* step) {
    static std::mutex mutex;  // steps are taken on several threads at once; who reads them looks into a process that has ended
    std::lock_guard lock(mutex);
    char* const at = step_place;
    std::size_t i = 0;
    for (; step[i] && i + 1 < step_size; ++i) at[i] = step[i];
    at[i] = '\0';
}

lent_text::lent_text(std::string_view text) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    size_ = (text.size() + page) / page * page;
    pages_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages_ == MAP_FAILED) throw std::bad_alloc();
    char* const at = static_cast<char*>(pages_) + size_ - text.size();  // at the very end: one byte too far is found, too
    if (!text.empty()) std::memcpy(at, text.data(), text.size());
    text_ = {at, text.size()};
}
lent_text::~lent_text() { ::munmap(pages_, size_); }
void lent_text::take_back() { ::mprotect(pages_, size_, PROT_NONE); }

plugin_instance::plugin_instance(const plugin_file& file, fake_host_options options)
    : file_(file), host_(options), settings_(options.settings) {}
plugin_instance::~plugin_instance() { down(); }

namespace {
template <class F>
sdk::status run(const char* step, F&& f) {
    hf_error err = sdk::empty_error();
    note_step(step);
    const std::int32_t code = f(&err);
    note_step("");
    return sdk::from_error(code, &err);
}
}  // namespace

sdk::status plugin_instance::create() { return create(settings_); }
sdk::status plugin_instance::create(std::string_view settings) {
    const hf_instance* out = nullptr;
    auto s = run("create", [&](hf_error* e) { return file_.entry().create(host_.abi(), sdk::bytes(settings), &out, e); });
    if (s.ok() && !out) return sdk::status::internal("create returned HF_OK and no instance");
    if (!s.ok()) return s;
    if (out->size < sizeof(hf_instance)) return sdk::status::internal("the instance's table ends before its functions");
    if (!out->init || !out->start || !out->quiesce || !out->stop || !out->destroy || !out->get_ext)
        return sdk::status::internal("a function of the instance's table is null");
    table_ = out, phase_ = phase::created;
    return s;
}
sdk::status plugin_instance::init() {
    auto s = run("init", [&](hf_error* e) { return table_->init(table_->self, e); });
    if (s.ok()) phase_ = phase::ready;
    return s;
}
sdk::status plugin_instance::start() {
    auto s = run("start", [&](hf_error* e) { return table_->start(table_->self, e); });
    if (s.ok()) phase_ = phase::active;
    return s;
}
sdk::status plugin_instance::quiesce(milliseconds within) {
    const auto deadline = sdk::to_ns(std::chrono::steady_clock::now() + within);
    phase_ = phase::quiescing;
    return run("quiesce", [&](hf_error* e) { return table_->quiesce(table_->self, deadline, e); });
}
sdk::status plugin_instance::stop() {
    phase_ = phase::stopped;
    return run("stop", [&](hf_error* e) { return table_->stop(table_->self, e); });
}
sdk::status plugin_instance::up() {
    if (auto s = create(); !s.ok()) return s;
    if (auto s = init(); !s.ok()) return s;
    return start();
}
sdk::status plugin_instance::destroy() {
    phase_ = phase::created;
    return down();
}
sdk::status plugin_instance::down() {
    sdk::status first;
    const auto note = [&first](sdk::status s) {
        if (first.ok()) first = std::move(s);
    };
    if (phase_ == phase::active) note(quiesce());
    if (phase_ == phase::quiescing || phase_ == phase::ready) note(stop());
    host_.revoke();
    note_step("destroy");
    if (table_) table_->destroy(table_->self);
    note_step("");
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
    if (owed && !wait(milliseconds(1000))) (void)record_.release();  // somebody may still call back
}

void call_probe::submit(submit_function f, void* self, std::string_view method, std::string_view request, milliseconds deadline) {
    record& r = *record_;
    // The request dies with this function's scope, as a real caller's would: a callee that keeps pointers reads garbage.
    const std::string method_copy(method), request_copy(request);
    struct {
        hf_call now{};
        unsigned char future[64];
    } longer;
    std::memset(longer.future, 0x5a, sizeof longer.future);
    hf_call& call = longer.now;
    call.size = newer_ ? sizeof longer : sizeof call;
    call.id = r.id;
    if (deadline.count() > 0) call.deadline_ns = sdk::to_ns(std::chrono::steady_clock::now() + deadline);
    call.method = sdk::str(method_copy);
    call.request = sdk::bytes(request_copy);
    if (take_back_) {
        lent_method_ = std::make_unique<lent_text>(method), lent_request_ = std::make_unique<lent_text>(request);
        call.method = sdk::str(lent_method_->text()), call.request = sdk::bytes(lent_request_->text());
    }
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
    note_step("submit");
    const std::int32_t code = f(self, &call, &err);
    note_step("");
    if (take_back_) lent_method_->take_back(), lent_request_->take_back();
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
