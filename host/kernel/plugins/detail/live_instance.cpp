#include "kernel/plugins/detail/live_instance.hpp"

#include <fcntl.h>

#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/detail/tables.hpp"

namespace holdfast::plugins {
namespace detail {
namespace {

constexpr auto unpin_patience = milliseconds(2000);   // pinned calls take nanoseconds; a policy that takes longer is broken
constexpr auto stop_pin_patience = milliseconds(100);
constexpr auto thread_patience = milliseconds(300);
constexpr std::size_t max_watchers_before_sweep = 64;

/// The step's answer to what the plugin answered.
step_result answer(std::int32_t rc, const hf_error& err) {
    if (rc == HF_OK) return {};
    return {step_outcome::failed, from_abi(rc, &err).message};
}

}  // namespace

live_instance::live_instance(std::string id, std::shared_ptr<crash_marks> marks) : id_(std::move(id)), marks_(std::move(marks)) {
    if (marks_) marks_->name(key(), id_);
}

live_instance::~live_instance() {
    if (gen) gen->leave();
    if (apart) apart->end();
    if (!marks_) return;
    marks_->forget(key());
    for (const auto& i : interfaces) marks_->forget(reinterpret_cast<std::uint64_t>(&i->at));
}

const ext_binding* live_instance::find(std::string_view ext) const {
    for (const auto& i : interfaces)
        if (i->ext == ext) return i.get();
    return nullptr;
}

step_result live_instance::load(loader& l) {
    call_mark mark(key());  // static constructors are the plugin's code, too
    if (apart) {
        auto copy = l.stage(verified, id_);
        if (!copy) return {step_outcome::failed, copy.error().message, copy.error().code == errc::plugin_refused};
        // From now on its file is the copy, which nobody overwrites: it can be started again whatever happens to the original.
        if (const int fd = ::open(copy->path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); fd >= 0) verified.file = shared_descriptor(fd);
        auto up = apart->launch(*copy, std::make_shared<private_copy>(copy->path));
        if (!up) return {step_outcome::failed, up.error().message, up.error().code == errc::plugin_refused};
        return {};
    }
    auto g = l.load(verified, id_);
    if (!g) return {step_outcome::failed, g.error().message, g.error().code == errc::plugin_refused};
    gen = std::move(*g);
    gen->enter();
    auto ok = gen->initialise();
    if (!ok) return {step_outcome::failed, ok.error().message};
    return {};
}

step_result live_instance::create(const std::string& settings) {
    call_mark mark(key());
    hf_error err = empty_hf_error();
    const hf_instance* made = nullptr;
    const auto rc = apart ? apart->make(host->host(), as_bytes(settings), &made, &err) : gen->entry().create(host->host(), as_bytes(settings), &made, &err);
    if (rc != HF_OK) return answer(rc, err);
    auto complete = complete_instance(made);
    if (!complete) return {step_outcome::failed, complete.error().message};
    table = *complete;
    return {};
}

step_result live_instance::init() {
    call_mark mark(key());
    hf_error err = empty_hf_error();
    if (const auto rc = table.init(table.self, &err); rc != HF_OK) return answer(rc, err);
    const auto& promised = verified.about.interfaces;
    for (const auto& ext : known_interfaces()) {
        const bool must = std::find(promised.begin(), promised.end(), ext) != promised.end();
        if (!must && !promised.empty()) continue;
        const void* theirs = table.get_ext(table.self, as_str(ext));
        if (theirs == nullptr) {
            if (must) return {step_outcome::failed, "its manifest promises " + ext + ", get_ext has none"};
            continue;
        }
        std::string why;
        auto b = std::make_unique<ext_binding>();
        b->ext = ext;
        b->table = complete_ext(ext, theirs, why);
        if (!b->table) return {step_outcome::failed, ext + ": " + why};
        b->at = {b->table.get(), table.self};
        if (marks_) marks_->name(reinterpret_cast<std::uint64_t>(&b->at), id_);
        interfaces.push_back(std::move(b));
    }
    return {};
}

step_result live_instance::start() {
    call_mark mark(key());
    hf_error err = empty_hf_error();
    return answer(table.start(table.self, &err), err);
}

step_result live_instance::quiesce(milliseconds time) {
    call_mark mark(key());
    hf_error err = empty_hf_error();
    const auto deadline = std::chrono::steady_clock::now() + time;
    return answer(table.quiesce(table.self, deadline.time_since_epoch().count(), &err), err);
}

step_result live_instance::stop() {
    // Withdrawn already: what is pinned now are the last calls, nanoseconds from their end.
    for (const auto& i : interfaces) (void)wait_unpinned(reinterpret_cast<std::uint64_t>(&i->at), stop_pin_patience);
    call_mark mark(key());
    hf_error err = empty_hf_error();
    return answer(table.stop(table.self, &err), err);
}

step_result live_instance::revoke(nanoseconds deadline) {
    std::string why;
    if (!host->revoke(deadline, why)) return {step_outcome::timed_out, why};
    leaked_threads = host->foreign(thread_patience);
    return {};
}

step_result live_instance::destroy() {
    for (const auto& i : interfaces)
        if (!wait_unpinned(reinterpret_cast<std::uint64_t>(&i->at), unpin_patience))
            return {step_outcome::timed_out, "a call of " + i->ext + " has not returned"};
    if (!leaked_threads.empty()) {
        bury(shared_from_this());  // that thread may use the instance: memory is lost, but nothing is freed under its feet
        return {};
    }
    call_mark mark(key());
    table.destroy(table.self);
    if (apart) leaked_threads = apart->leaked_threads();
    return {};
}

std::shared_ptr<const void> live_instance::lease() {
    {
        std::lock_guard lock(mutex_);
        ++leases_;
    }
    return {static_cast<const void*>(this), lease_deleter{shared_from_this()}};
}

void live_instance::lease_dropped() {
    std::function<void()> f;
    {
        std::lock_guard lock(mutex_);
        if (--leases_ == 0) f = std::move(gone_), gone_ = nullptr;
    }
    if (f) f();
}

void live_instance::on_leases_gone(std::function<void()> f) {
    {
        std::lock_guard lock(mutex_);
        if (leases_ != 0) {
            gone_ = std::move(f);
            return;
        }
    }
    f();
}

void live_instance::end_calls(const std::string& why) {
    std::vector<std::weak_ptr<end_entry>> all;
    {
        std::lock_guard lock(mutex_);
        if (ended_) return;
        ended_ = true;
        end_reason_ = why;
        all.swap(watchers_);
    }
    for (const auto& w : all)
        if (auto e = w.lock()) e->fire(why);
}

void live_instance::watch(const std::shared_ptr<end_entry>& e) {
    {
        std::lock_guard lock(mutex_);
        if (!ended_) {
            // Calls come and go by the thousand: forget those that have gone when the list has doubled.
            if (watchers_.size() >= max_watchers_before_sweep && watchers_.size() == watchers_.capacity())
                std::erase_if(watchers_, [](const auto& w) { return w.expired(); });
            watchers_.push_back(e);
            return;
        }
    }
    e->fire(end_reason_);
}

void live_instance::bury(std::shared_ptr<live_instance> inc) {
    static std::mutex mutex;
    static auto* graveyard = new std::vector<std::shared_ptr<live_instance>>;
    if (inc->gen) inc->gen->keep_for_ever();
    if (inc->apart) {
        inc->apart->give_up();
        if (inc->apart->pid() == 0) return;  // its process has taken along what could still run
    }
    std::lock_guard lock(mutex);
    graveyard->push_back(std::move(inc));
}

live_instance* instance_of(const std::shared_ptr<const void>& lease) noexcept {
    const auto* d = std::get_deleter<lease_deleter>(lease);
    return d ? d->inc.get() : nullptr;
}

}  // namespace detail

end_watch::end_watch(const std::shared_ptr<const void>& lease, unique_function<void(const std::string&)> ended) {
    auto* inc = detail::instance_of(lease);
    if (inc == nullptr) return;
    entry_ = std::make_shared<end_entry>();
    entry_->ended = std::move(ended);
    inc->watch(entry_);
}
end_watch& end_watch::operator=(end_watch&& o) noexcept {
    if (this != &o) {
        reset();
        entry_ = std::move(o.entry_);
    }
    return *this;
}
end_watch::~end_watch() { reset(); }
void end_watch::reset() noexcept {
    if (!entry_) return;
    unique_function<void(const std::string&)> f;  // destroyed outside the lock
    {
        std::lock_guard lock(entry_->mutex);
        f = std::move(entry_->ended);
    }
    entry_.reset();
}

std::uint64_t mark_key(const std::shared_ptr<const void>& lease) noexcept {
    const auto* inc = detail::instance_of(lease);
    return inc ? inc->key() : 0;
}

void report_escape(const std::shared_ptr<const void>& lease, const char* what) noexcept {
    auto* inc = detail::instance_of(lease);
    if (inc == nullptr || !inc->crash) return;
    try {
        inc->crash(std::string("a call threw: ") + what);
    } catch (...) {  // out of memory while reporting
    }
}

}  // namespace holdfast::plugins
