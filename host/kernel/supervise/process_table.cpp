#include "kernel/supervise/detail/process_table.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

namespace holdfast::supervise::detail {

bool read_process(pid_t pid, process_row& out) {
    char path[64], buf[1024];
    std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const auto n = ::read(fd, buf, sizeof buf - 1);
    ::close(fd);
    if (n <= 0) return false;
    buf[n] = 0;
    const char* p = std::strrchr(buf, ')');  // the name may contain anything, also ')'
    if (!p) return false;
    unsigned long utime = 0, stime = 0;
    unsigned long long start = 0;
    long rss = 0;
    out.pid = pid;
    const int got = std::sscanf(p + 1, " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %llu %*u %ld",
                                &out.state, &out.ppid, &out.group, &out.session, &utime, &stime, &start, &rss);
    if (got != 8) return false;
    static const long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
    out.cpu_ms = (utime + stime) * 1000ull / static_cast<unsigned long>(ticks);
    out.rss_bytes = static_cast<std::uint64_t>(rss) * static_cast<unsigned long>(page);
    out.start_ticks = start;
    return true;
}

std::vector<process_row> read_process_table(bool* whole) {
    std::vector<process_row> rows;
    const auto exhausted = [] { return errno == EMFILE || errno == ENFILE || errno == ENOMEM; };
    const std::unique_ptr<DIR, int (*)(DIR*)> d(::opendir("/proc"), ::closedir);
    bool all = d != nullptr;
    while (const dirent* e = d ? ::readdir(d.get()) : nullptr) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
        process_row row;
        errno = 0;
        if (read_process(std::atoi(e->d_name), row)) rows.push_back(row);
        else if (exhausted()) all = false;
    }
    if (whole) *whole = all;
    return rows;
}

std::vector<process_row> descendants_of(const std::vector<process_row>& table, pid_t pid) {
    std::unordered_multimap<pid_t, const process_row*> by_parent;
    for (const auto& r : table) by_parent.emplace(r.ppid, &r);
    std::vector<process_row> out;
    std::vector<pid_t> next{pid};
    while (!next.empty() && out.size() <= table.size()) {
        const auto [from, to] = by_parent.equal_range(next.back());
        next.pop_back();
        for (auto it = from; it != to; ++it) {
            out.push_back(*it->second);
            next.push_back(it->second->pid);
        }
    }
    return out;
}

process_table::process_table(std::vector<process_row> rows) : rows_(std::move(rows)) {
    std::sort(rows_.begin(), rows_.end(), [](const auto& a, const auto& b) { return a.pid < b.pid; });
    by_parent_.resize(rows_.size());
    std::iota(by_parent_.begin(), by_parent_.end(), 0u);
    by_session_ = by_parent_;
    std::sort(by_parent_.begin(), by_parent_.end(), [&](auto a, auto b) { return rows_[a].ppid < rows_[b].ppid; });
    std::sort(by_session_.begin(), by_session_.end(), [&](auto a, auto b) { return rows_[a].session < rows_[b].session; });
}

const process_row* process_table::find(pid_t pid) const {
    const auto it = std::lower_bound(rows_.begin(), rows_.end(), pid, [](const auto& row, pid_t p) { return row.pid < p; });
    return it != rows_.end() && it->pid == pid ? &*it : nullptr;
}

std::vector<process_row> process_table::tree_of(pid_t pid, const std::vector<process_row>& known) const {
    std::vector<process_row> out;
    std::unordered_set<pid_t> in;
    const auto add = [&](const process_row& row) {
        if (in.insert(row.pid).second) out.push_back(row);
    };
    const auto add_all = [&](const std::vector<std::uint32_t>& order, pid_t process_row::*key, pid_t value) {
        auto it = std::lower_bound(order.begin(), order.end(), value, [&](auto at, pid_t v) { return rows_[at].*key < v; });
        for (; it != order.end() && rows_[*it].*key == value; ++it) add(rows_[*it]);
    };
    if (const auto* leader = find(pid)) add(*leader);
    add_all(by_session_, &process_row::session, pid);
    for (const auto& row : known)
        if (const auto* now = find(row.pid); now && now->start_ticks == row.start_ticks) add(*now);
    for (std::size_t i = 0; i < out.size(); ++i) add_all(by_parent_, &process_row::ppid, out[i].pid);
    return out;
}

std::uint64_t census::readings() const {
    std::lock_guard lock(mutex_);
    return readings_;
}

census::table census::latest(nanoseconds age) {
    const auto begun = rt_.now();
    {
        std::lock_guard lock(mutex_);
        if (last_ && age > nanoseconds(0) && begun - begun_ <= age) return last_;
        ++readings_;
    }
    bool whole = false;
    auto now = std::make_shared<const process_table>(read_process_table(&whole));
    std::lock_guard lock(mutex_);
    if (whole && begun >= begun_) last_ = now, begun_ = begun;
    return now;
}

void census::ask(unique_function<void(const table&)> then, nanoseconds age) {
    table recent;
    bool first = false;
    {
        std::lock_guard lock(mutex_);
        if (last_ && age > nanoseconds(0) && rt_.now() - begun_ <= age) {
            recent = last_;
        } else {
            waiting_.push_back(std::move(then));
            first = !std::exchange(under_way_, true);
        }
    }
    if (recent) then(recent);
    if (first) post();
}

void census::post() {
    if (!rt_.post([self = shared_from_this()] { self->read(); })) read();  // the pool has ended
}

void census::read() {
    std::vector<unique_function<void(const table&)>> all;
    {
        std::lock_guard lock(mutex_);
        all.swap(waiting_);
    }
    const auto begun = rt_.now();
    const auto now = std::make_shared<process_table>();
    bool whole = false, more = false;
    try {
        *now = process_table(read_process_table(&whole));
    } catch (const std::bad_alloc&) {
    }
    {
        std::lock_guard lock(mutex_);
        ++readings_;
        if (!whole && ++attempts_ < max_attempts) {
            all.insert(all.end(), std::make_move_iterator(waiting_.begin()), std::make_move_iterator(waiting_.end()));
            waiting_ = std::move(all);
            again_ = rt_.after(attempt_period, [weak = weak_from_this()] {
                if (const auto self = weak.lock()) self->read();
            });
            return;
        }
        attempts_ = 0;
        last_ = now;
        begun_ = begun;
        more = under_way_ = !waiting_.empty();
    }
    if (more) post();  // others have their turn in between
    for (auto& then : all) then(now);
}

void kill_if_same(const process_row& row) {
    process_row now;
    if (read_process(row.pid, now) && now.start_ticks == row.start_ticks) ::kill(row.pid, SIGKILL);
}

}  // namespace holdfast::supervise::detail
