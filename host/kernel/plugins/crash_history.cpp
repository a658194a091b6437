#include "kernel/plugins/crash_history.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/pin.hpp"

namespace holdfast::plugins {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t max_trace_bytes = 256u << 10;

std::string start_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string out(max_trace_bytes, '\0');
    in.read(out.data(), static_cast<std::streamsize>(out.size()));
    out.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
    return out;
}

/// Whole or not at all: a host that dies meanwhile leaves the old file.
bool write_file(const std::string& path, const std::string& text) {
    const std::string fresh = path + ".new";
    {
        std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
        out << text << "\n";
        if (!out.flush()) return false;
    }
    std::error_code ec;
    fs::permissions(fresh, fs::perms::owner_read | fs::perms::owner_write, ec);
    fs::rename(fresh, path, ec);
    return !ec;
}

/// Names begin with the time, so that their order is the order of the crashes.
void keep_newest(const std::string& dir) {
    std::vector<fs::path> reports;
    std::error_code ec;
    for (const auto& f : fs::directory_iterator(dir, ec))
        if (f.path().filename().string().starts_with("crash-")) reports.push_back(f.path());
    std::sort(reports.begin(), reports.end());
    for (std::size_t i = 0; i + kept_crash_reports < reports.size(); ++i) fs::remove(reports[i], ec);
}

}  // namespace

crash_verdict verdict_on(const crash_record& r) noexcept {
    if (r.crashes == 0) return crash_verdict::none;
    return r.crashes >= crashes_until_quarantine ? crash_verdict::quarantine : crash_verdict::isolate;
}

result<std::shared_ptr<crash_history>> crash_history::open(const std::string& data_dir) {
    const std::string dir = data_dir + "/crashes";
    if (auto made = detail::private_directory(dir); !made) return tl::unexpected<error>(made.error());
    auto out = std::shared_ptr<crash_history>(new crash_history(dir));
    const std::string file = dir + "/verdicts.json";
    std::error_code ec;
    if (!fs::exists(file, ec)) return out;
    auto parsed = parse_json(start_of(file), 8);
    if (!parsed || !parsed->is_object()) {
        fs::rename(file, file + ".damaged", ec);
        out->warnings_.push_back(file + " was damaged and is kept as verdicts.json.damaged: plugins that had been isolated or quarantined start as configured");
        return out;
    }
    for (const auto& [plugin, r] : parsed->items()) {
        crash_record record;
        record.crashes = static_cast<std::uint32_t>(std::clamp<std::int64_t>(int_or(r, "crashes", 0), 0, 1'000'000));
        record.last = string_or(r, "last");
        record.at = wall_time(seconds(int_or(r, "at_s", 0)));
        out->records_[plugin] = std::move(record);
    }
    return out;
}

std::optional<crash_report> crash_history::learn(const std::string& trace, const std::string& marks, const std::string& ended, wall_time now) {
    std::error_code ec;
    auto report = fs::exists(trace, ec) ? parse_crash_trace(start_of(trace)) : std::nullopt;
    fs::remove(trace, ec);
    if (!report && ended.empty()) return std::nullopt;
    const bool traced = report.has_value();
    if (!traced) report.emplace().signal = ended;
    report->at = now;
    std::set<std::string> suspects;
    symbolise(*report);
    if (found_by_the_allocator(*report)) {
        report->why_not = "the heap was found damaged; whoever damaged it did so earlier";
    } else if (auto active = crash_marks::read(marks)) {
        for (const auto& m : *active)
            if ((m.tid == report->thread || !traced) && !m.plugins.empty()) suspects.insert(m.plugins.back());
        if (suspects.size() == 1) report->plugin = *suspects.begin();
        else if (traced) report->why_not = "no plugin was active on the thread that crashed";
        else report->why_not = suspects.empty() ? "no plugin was active" : "several plugins were active";
    } else {
        report->why_not = active.error().message;
    }
    write(*report);
    count(*report);
    return report;
}

void crash_history::write(const crash_report& report) {
    std::lock_guard lock(mutex_);
    std::string stamp = rfc3339(report.at);
    std::replace(stamp.begin(), stamp.end(), ':', '-');
    const std::string name = dir_ + "/crash-" + stamp + "-" + (report.plugin.empty() ? "unknown" : report.plugin) + ".json";
    if (!write_file(name, dump(report.to_json()))) warnings_.push_back("the crash report " + name + " could not be written");
    keep_newest(dir_);
}

crash_verdict crash_history::count(const crash_report& report) {
    std::lock_guard lock(mutex_);
    if (report.plugin.empty()) return crash_verdict::none;
    auto& r = records_[report.plugin];
    ++r.crashes;
    r.last = report.summary();
    r.at = report.at;
    save();
    return verdict_on(r);
}

void crash_history::save() const {
    json all = json::object();
    for (const auto& [plugin, r] : records_)
        all[plugin] = {{"crashes", r.crashes}, {"last", r.last}, {"at_s", std::chrono::duration_cast<seconds>(r.at.time_since_epoch()).count()}};
    write_file(dir_ + "/verdicts.json", dump(all));
}

crash_verdict crash_history::verdict(const std::string& plugin) const { return verdict_on(record(plugin)); }

crash_record crash_history::record(const std::string& plugin) const {
    std::lock_guard lock(mutex_);
    auto it = records_.find(plugin);
    return it == records_.end() ? crash_record{} : it->second;
}

bool crash_history::release(const std::string& plugin) {
    std::lock_guard lock(mutex_);
    if (records_.erase(plugin) == 0) return false;
    save();
    return true;
}

std::vector<std::string> crash_history::warnings() const {
    std::lock_guard lock(mutex_);
    return warnings_;
}

}  // namespace holdfast::plugins
