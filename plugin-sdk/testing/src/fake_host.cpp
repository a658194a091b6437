#include "holdfast/testing/fake_host.hpp"

#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "holdfast/json.hpp"
#include "parts.hpp"

namespace holdfast::testing {

namespace {

using impl = fake_host::impl;

constexpr hf_log log_table{sizeof(hf_log), 0, [](void* c, std::int32_t level, hf_str message, hf_bytes fields) {
    impl& h = impl::of(c);
    std::lock_guard lock(h.mutex);
    h.logs.push_back({level, std::string(sdk::view(message)), std::string(sdk::view(fields))});
    h.logged_more.notify_all();
}};

void add_metric(void* c, hf_str name, double by) {
    impl& h = impl::of(c);
    std::lock_guard lock(h.mutex);
    h.metrics[std::string(sdk::view(name))] += by;
}
constexpr hf_metrics metrics_table{
    sizeof(hf_metrics), 0, [](void* c, hf_str name, hf_bytes, double delta) { add_metric(c, name, delta); },
    [](void* c, hf_str name, hf_bytes, double value) {
        impl& h = impl::of(c);
        std::lock_guard lock(h.mutex);
        h.metrics[std::string(sdk::view(name))] = value;
    },
    [](void* c, hf_str name, hf_bytes, double) { add_metric(c, name, 1); }};

constexpr hf_config config_table{sizeof(hf_config), 0,
                                 [](void* c, hf_buf* out, hf_error* e) -> std::int32_t {
                                     return sdk::guard(e, [&] { sdk::give(out, impl::of(c).options.settings); });
                                 },
                                 [](void* c, hf_buf* out, hf_error* e) -> std::int32_t {
                                     return sdk::guard(e, [&] {
                                         const std::string& dir = impl::of(c).options.data_dir;
                                         sdk::give(out, sdk::json_object({{"path", dir}}));
                                     });
                                 }};

std::int32_t api_submit(void* c, const hf_call* raw, hf_error* err) {
    impl& h = impl::of(c);
    const hf_call call = sdk::read_struct(raw);
    const std::string method(sdk::view(call.method)), request(sdk::view(call.request));
    std::function<api_reply(const std::string&)> script;
    {
        std::lock_guard lock(h.mutex);
        h.api_calls.push_back(method);
        if (const auto it = h.scripts.find(method); it != h.scripts.end()) script = it->second;
    }
    if (!script) return sdk::fill(err, HF_E_UNSUPPORTED, "the fake host has no script for " + method);
    const api_reply reply = script(request);
    if (reply.code >= 0) {
        call.on_done(call.ctx, call.id, nullptr, sdk::bytes(reply.text));
    } else {
        hf_error e = sdk::empty_error();
        sdk::fill(&e, reply.code, reply.text);
        const std::string body = sdk::json_object({{"code", reply.code}, {"message", reply.text}});
        call.on_done(call.ctx, call.id, &e, sdk::bytes(body));
    }
    return HF_PENDING;
}
// Scripted as the methods "describe" and "authenticate".
std::int32_t api_ask(void* c, std::string_view method, const std::string& request, hf_buf* out, hf_error* err, std::int32_t otherwise) {
    impl& h = impl::of(c);
    std::function<api_reply(const std::string&)> script;
    {
        std::lock_guard lock(h.mutex);
        if (const auto it = h.scripts.find(method); it != h.scripts.end()) script = it->second;
    }
    if (!script) return sdk::fill(err, otherwise, "the fake host has no script for " + std::string(method));
    const api_reply reply = script(request);
    if (reply.code < 0) return sdk::fill(err, reply.code, reply.text);
    sdk::give(out, reply.text);
    return HF_OK;
}
constexpr hf_api api_table{sizeof(hf_api), 0, &api_submit, [](void*, std::uint64_t) {},
                           [](void* c, hf_buf* out, hf_error* e) -> std::int32_t {
                               return api_ask(c, "describe", "", out, e, HF_E_UNSUPPORTED);
                           },
                           [](void* c, hf_str token, hf_buf* out, hf_error* e) -> std::int32_t {
                               return api_ask(c, "authenticate", std::string(sdk::view(token)), out, e, HF_E_AUTH);
                           }};

const void* get_ext(void* c, hf_str raw_id) {
    impl& h = impl::of(c);
    const std::string_view id = sdk::view(raw_id);
    if (std::find(h.options.without.begin(), h.options.without.end(), id) != h.options.without.end()) return nullptr;
    if (id == HF_EXT_LOG) return &log_table;
    if (h.options.failing) return impl::failing_table(id);
    if (id == HF_EXT_METRICS) return &metrics_table;
    if (id == HF_EXT_CONFIG) return &config_table;
    if (id == HF_EXT_API) return &api_table;
    if (id == HF_EXT_WORKER) return fake_workers::table();
    if (id == HF_EXT_TIMER) return fake_timers::table();
    if (id == HF_EXT_PROCESS) return fake_processes::table();
    if (id == HF_EXT_EVENTS) return fake_events::table();
    if (id == HF_EXT_LISTEN) return fake_listeners::table();
    return nullptr;
}

}  // namespace

fake_host::impl::impl(fake_host_options o) : options(std::move(o)), level(options.log_level), timers(options.manual_time) {
    ::signal(SIGPIPE, SIG_IGN);  // as the host does: a child may close its stdin
    if (options.data_dir.empty()) {
        std::string dir = (std::filesystem::temp_directory_path() / "holdfast-test-XXXXXX").string();
        if (::mkdtemp(dir.data())) options.data_dir = dir, own_dir = true;
    }
    std::memset(abi.future, 0x5a, sizeof abi.future);
    abi.now.size = options.newer ? sizeof abi : sizeof abi.now;
    abi.now.abi = HF_ABI_VERSION;
    abi.now.ctx = this;
    abi.now.log_level = &level;
    abi.now.instance_id = sdk::str(options.instance_id);
    abi.now.get_ext = &get_ext;
}
fake_host::impl::~impl() {
    std::error_code ignored;
    if (own_dir) std::filesystem::remove_all(options.data_dir, ignored);
}

fake_host::fake_host(fake_host_options options) : impl_(std::make_unique<impl>(std::move(options))) {}
fake_host::~fake_host() { revoke(); }

const hf_host* fake_host::abi() const { return &impl_->abi.now; }
std::size_t fake_host::threads() const { return impl_->workers.threads() + impl_->timers.threads() + impl_->processes.threads(); }
const std::string& fake_host::data_dir() const { return impl_->options.data_dir; }
void fake_host::set_log_level(std::int32_t level) { impl_->level = level; }

fake_host::leftovers fake_host::revoke() {
    leftovers l;
    l.workers = impl_->workers.stop_all();
    l.timers = impl_->timers.cancel_all();
    l.subscriptions = impl_->events.close_all();
    l.processes = impl_->processes.kill_all();
    return l;
}

std::int64_t fake_host::now_ns() const { return impl_->timers.now(); }
void fake_host::advance(nanoseconds by) { impl_->timers.advance(by); }
std::size_t fake_host::pending_timers() const { return impl_->timers.pending(); }

std::vector<logged> fake_host::logs() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->logs;
}
bool fake_host::wait_for_log(std::string_view part, milliseconds timeout) const {
    std::unique_lock lock(impl_->mutex);
    return impl_->logged_more.wait_for(lock, timeout, [&] {
        return std::any_of(impl_->logs.begin(), impl_->logs.end(), [&](const logged& l) { return l.message.find(part) != std::string::npos; });
    });
}

std::vector<worker_report> fake_host::workers() const { return impl_->workers.reports(); }
bool fake_host::restart_worker(std::string_view name) { return impl_->workers.restart(name); }
bool fake_host::wait_for_worker(std::string_view name, const std::function<bool(const worker_report&)>& is, milliseconds timeout) const {
    return impl_->workers.wait_for(name, is, timeout);
}
void fake_host::stop_workers() { impl_->workers.stop_all(); }
std::size_t fake_host::processes_running() const { return impl_->processes.running(); }

std::vector<std::string> fake_host::published() const { return impl_->events.published(); }
void fake_host::emit(std::string_view topic, std::string_view event) { impl_->events.emit(topic, event); }
std::size_t fake_host::subscriptions() const { return impl_->events.subscriptions(); }

void fake_host::on_api(std::string_view method, std::function<api_reply(const std::string&)> script) {
    std::lock_guard lock(impl_->mutex);
    impl_->scripts[std::string(method)] = std::move(script);
}
std::vector<std::string> fake_host::api_calls() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->api_calls;
}
double fake_host::metric(std::string_view name) const {
    std::lock_guard lock(impl_->mutex);
    const auto it = impl_->metrics.find(name);
    return it == impl_->metrics.end() ? 0 : it->second;
}

}  // namespace holdfast::testing
