#include "store-sqlite/writer.hpp"

#include <unistd.h>

#include <condition_variable>
#include <filesystem>

#include "holdfast/json.hpp"
#include "holdfast/log.hpp"

namespace store_sqlite {

using sdk::status;

void writer::open() {
    db_ = database::open(options_.file);
    if (db_->partly_checked()) hooks_.log(HF_LOG_INFO, "the store is large: only a part of it was checked at opening");
    if (db_->writable()) return set(true, HF_OK, {});
    set(false, HF_E_READ_ONLY, "the store '" + options_.file.path + "' or its directory is read-only");
}

void writer::refuse() {
    std::lock_guard lock(mutex_);
    refusing_ = true;
}

bool writer::wait_until_empty(sdk::time_point deadline) {
    std::unique_lock lock(mutex_);
    return empty_.wait_until(lock, deadline, [this] { return queue_.empty() && under_way_ == 0; });
}

void writer::close() {
    std::deque<item> left;
    {
        std::lock_guard lock(mutex_);
        refusing_ = true;
        left.swap(queue_);
        queued_bytes_ = 0;
    }
    for (item& i : left) i.c.fail(HF_E_UNAVAILABLE, "the store was stopped before it came to this call; nothing was written");
    const std::unique_lock turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return;  // a thread is stuck inside; the file is left as after a crash
    if (db_ && db_->writable()) sdk::guard(nullptr, [this] { db_->checkpoint(); });
    db_.reset();
}

writer::condition writer::now() const {
    std::lock_guard lock(mutex_);
    return condition_;
}

void writer::set(bool writable, std::int32_t code, const std::string& reason) {
    bool changed = false;
    {
        std::lock_guard lock(mutex_);
        changed = condition_.writable != writable;
        condition_.writable = writable;
        condition_.code = code;
        condition_.reason = reason;
        if (!writable) condition_.last_error = reason;
    }
    if (changed && writable) hooks_.log(HF_LOG_INFO, "the store can be written");
    if (changed && !writable) hooks_.log(HF_LOG_ERROR, "the store cannot be written: " + reason);
}

std::string writer::status_json() const {
    const condition c = now();
    return sdk::json_object({{"writable", c.writable}, {"durable", true}, {"reason", c.reason}, {"path", options_.file.path}, {"schema", schema_version},
                             {"last_error", c.last_error}});
}

void writer::submit(sdk::call c, ask::request r) {
    bool wake = false;
    {
        std::lock_guard lock(mutex_);
        if (refusing_) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the store is being stopped");
        const std::size_t bytes = c.request().size();
        if (queue_.size() >= max_queued || (!queue_.empty() && queued_bytes_ + bytes > max_queued_bytes))
            throw sdk::plugin_error(HF_E_OVERLOADED, "too many calls wait for the store");
        const bool write = ask::is_write(r);
        queue_.push_back(item{std::move(c), std::move(r), bytes, write, {}, {}});
        queued_bytes_ += bytes;
        wake = std::exchange(sleeping_, false);
    }
    if (wake) hooks_.wake();
}

/// False when there was nothing; the next submit then wakes.
bool writer::take(batch& into) {
    std::lock_guard lock(mutex_);
    const std::size_t before = into.size();
    while (!queue_.empty() && into.size() < options_.max_batch) {
        queued_bytes_ -= queue_.front().bytes;
        into.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    under_way_ = into.size();
    sleeping_ = queue_.empty();
    if (into.empty()) empty_.notify_all();
    return into.size() > before;
}

/// A lone writer never waits. Where the last commit had several, this one waits for as many, for the time allowed.
void writer::gather(batch& into, sdk::worker_ctl& ctl) {
    const auto writes = [&into] { return static_cast<std::size_t>(std::count_if(into.begin(), into.end(), [](const item& i) { return i.write; })); };
    const std::size_t wanted = std::min(last_writes_, options_.max_batch);
    const auto end = std::chrono::steady_clock::now() + options_.group_commit;
    std::size_t have = writes();
    while (have > 0 && have < wanted && into.size() < options_.max_batch) {
        const auto left = end - std::chrono::steady_clock::now();
        if (left <= left.zero() || ctl.wait(left)) break;
        take(into);
        have = writes();
    }
    if (have > 0) last_writes_ = have;
}

void writer::run(sdk::worker_ctl& ctl) {
    std::unique_lock turn(turn_, std::try_to_lock);
    while (!turn.owns_lock()) {
        if (ctl.wait(std::chrono::milliseconds(100))) return;
        turn.try_lock();
    }
    {
        std::lock_guard lock(mutex_);
        under_way_ = 0;
    }
    if (ctl.incarnation() > 1) db_.reset();  // the last run broke off anywhere
    while (true) {
        ctl.beat();
        const bool hopeful = !db_ || (!now().writable && now().code != HF_E_CORRUPT);
        if (hopeful && std::chrono::steady_clock::now() >= next_probe_) probe();
        batch b;
        if (!take(b)) {
            if (ctl.stop_requested()) return;
            if (hopeful) ctl.wait(probe_every);
            else ctl.wait();
            continue;
        }
        gather(b, ctl);
        perform(b);
        answer(b);
        tidy();
    }
}

void writer::perform(batch& b) {
    const auto time = std::chrono::steady_clock::now();
    for (item& i : b) {
        if (i.c.cancelled()) i.failure = {HF_E_CANCELLED, "cancelled before it was begun"};
        else if (i.c.deadline() <= time) i.failure = {HF_E_TIMEOUT, "its time was over before it was begun"};
    }
    try {
        const bool writes = std::any_of(b.begin(), b.end(), [](const item& i) { return i.write && i.failure.ok(); });
        if (writes) write_all(b);
        else
            for (item& i : b) read_one(i);
    } catch (const std::exception& e) {
        // Not of the file: out of memory, a mistake of ours. What was asked fails, the supervisor starts us anew.
        if (db_) db_->rollback();
        for (item& i : b) i.failure = status::internal(std::string("the store's thread failed and begins anew: ") + e.what());
        answer(b);
        throw;
    }
}

void writer::write_all(batch& b) {
    const condition c = now();
    const auto refuse_writes = [&b](std::int32_t code, const std::string& why) {
        for (item& i : b)
            if (i.write && i.failure.ok()) i.failure = {code, why, true};
    };
    if (!db_ || !c.writable) {
        refuse_writes(c.code, c.reason);
        for (item& i : b) read_one(i);
        return;
    }
    std::size_t written = 0;
    try {
        db_->begin();
        for (item& i : b) {
            if (!i.failure.ok()) continue;
            try {
                i.result = db_->run(i.r);
                written += i.write;
            } catch (const database_error& e) {
                if (e.kind() != trouble::request) throw;
                i.failure = e.status();
            }
        }
        db_->commit();
    } catch (const database_error& e) {
        db_->rollback();
        refuse_writes(e.status().code, e.status().message);
        suffer(e);
        // What the reads saw inside the transaction never came to be.
        for (item& i : b)
            if (!i.write) read_one(i);
        return;
    }
    hooks_.count("store_commits", 1);
    hooks_.count("store_writes", static_cast<double>(written));
}

void writer::read_one(item& i) {
    if (!i.failure.ok() || i.write) return;
    if (!db_) {
        const condition c = now();
        i.failure = {c.code == HF_E_READ_ONLY ? HF_E_IO : c.code, c.reason, true};
        return;
    }
    try {
        i.result = db_->run(i.r);
    } catch (const database_error& e) {
        i.failure = e.status();
        if (e.kind() != trouble::request) suffer(e);
    }
}

void writer::answer(batch& b) {
    for (item& i : b) {
        if (i.failure.ok()) i.c.done(i.result);
        else i.c.fail(i.failure);
    }
    std::lock_guard lock(mutex_);
    under_way_ = 0;
    if (queue_.empty()) empty_.notify_all();
}

void writer::suffer(const database_error& e) {
    next_probe_ = std::chrono::steady_clock::now() + probe_every;
    {
        std::lock_guard lock(mutex_);
        condition_.last_error = e.status().message;
    }
    switch (e.kind()) {
        case trouble::full:
        case trouble::read_only: return set(false, HF_E_READ_ONLY, e.status().message);
        case trouble::corrupt: return set(false, HF_E_CORRUPT, e.status().message);
        case trouble::io:
            // After a failed fsync nothing is known about what the disk has: never tried again on this connection.
            hooks_.log(HF_LOG_ERROR, "opening the store anew after: " + e.status().message);
            return reopen();
        default: return;
    }
}

void writer::reopen() {
    db_.reset();
    try {
        open();
    } catch (const database_error& e) {
        set(false, e.kind() == trouble::full ? HF_E_READ_ONLY : e.status().code, e.status().message);
    }
}

/// Brings back what was lost: the connection, the right to write, room on the disk.
void writer::probe() {
    next_probe_ = std::chrono::steady_clock::now() + probe_every;
    if (!db_) return reopen();
    if (!db_->writable()) {
        const auto parent = std::filesystem::path(options_.file.path).parent_path();
        if (::access(options_.file.path.c_str(), W_OK) == 0 && ::access(parent.empty() ? "." : parent.c_str(), W_OK) == 0) reopen();
        return;
    }
    try {
        db_->probe_room();
        set(true, HF_OK, {});
    } catch (const database_error& e) {
        if (e.kind() == trouble::io || e.kind() == trouble::corrupt) suffer(e);
    }
}

void writer::tidy() {
    if (!db_ || !db_->writable() || db_->log_pages() < checkpoint_at) return;
    try {
        db_->checkpoint();
    } catch (const database_error& e) {
        if (e.kind() != trouble::busy) suffer(e);
    }
}

}  // namespace store_sqlite
