#include "kernel/plugins/metrics.hpp"

#include <cmath>

namespace holdfast::plugins {
namespace {

constexpr std::array<double, 14> second_bounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};
constexpr std::array<double, 11> byte_bounds{1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456, 1073741824};
constexpr std::size_t max_name = 128, max_label_value = 256, max_labels = 16;

std::vector<double> bounds_of(std::string_view name) {
    if (name.ends_with("_bytes")) return {byte_bounds.begin(), byte_bounds.end()};
    return {second_bounds.begin(), second_bounds.end()};
}

/// Names as Prometheus wants them; other characters become '_'.
std::string clean(std::string_view name, bool colon) {
    std::string out(name.substr(0, max_name));
    for (char& c : out)
        if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && !(colon && c == ':')) c = '_';
    if (out.empty() || std::isdigit(static_cast<unsigned char>(out[0]))) out.insert(out.begin(), '_');
    return out;
}

void escape(std::string& out, std::string_view text, bool quotes) {
    for (const char c : text) {
        if (c == '\\') out += "\\\\";
        else if (c == '\n') out += "\\n";
        else if (c == '"' && quotes) out += "\\\"";
        else out += c;
    }
}

std::string number(double v) {
    if (std::isnan(v)) return "NaN";
    if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
    char buf[40];
    std::snprintf(buf, sizeof buf, "%.15g", v);
    return buf;
}

std::string labels_text(const metric_labels& labels, std::string_view le = {}) {
    if (labels.empty() && le.empty()) return {};
    std::string out = "{";
    for (const auto& [k, v] : labels) {
        if (out.size() > 1) out += ',';
        out += k + "=\"";
        escape(out, v, true);
        out += '"';
    }
    if (!le.empty()) {
        if (out.size() > 1) out += ',';
        out += "le=\"" + std::string(le) + '"';
    }
    return out + "}";
}

}  // namespace

metrics_registry::series* metrics_registry::find(std::string_view name, metric_labels& labels, kind what) {
    const std::string key = clean(name, true);
    auto f = families_.find(key);
    if (f == families_.end()) {
        if (series_ >= max_metric_series) return ++dropped_, nullptr;
        f = families_.emplace(key, family{what, {}, {}}).first;
    }
    if (f->second.all.empty()) f->second.what = what;  // described before its first value
    if (f->second.what != what || labels.size() > max_labels) return ++dropped_, nullptr;
    for (auto& [k, v] : labels) {
        k = clean(k, false);
        if (v.size() > max_label_value) v.resize(max_label_value);
    }
    std::sort(labels.begin(), labels.end());
    auto s = f->second.all.find(labels);
    if (s == f->second.all.end()) {
        if (series_ >= max_metric_series) return ++dropped_, nullptr;
        ++series_;
        s = f->second.all.emplace(labels, series{}).first;
        if (what == kind::histogram) s->second.buckets.resize(bounds_of(key).size());
    }
    return &s->second;
}

void metrics_registry::add(std::string_view name, metric_labels labels, double delta) {
    std::lock_guard lock(mutex_);
    if (!(delta >= 0) || std::isinf(delta)) {
        ++dropped_;
        return;
    }
    if (auto* s = find(name, labels, kind::counter)) s->value += delta;
}
void metrics_registry::set(std::string_view name, metric_labels labels, double value) {
    std::lock_guard lock(mutex_);
    if (auto* s = find(name, labels, kind::gauge)) s->value = value;
}
void metrics_registry::set_all(std::string_view prefix, const metric_labels& labels, const json& figures) {
    if (!figures.is_object()) return;
    for (const auto& [name, value] : figures.items())
        if (value.is_number()) set(std::string(prefix) + name, labels, value.get<double>());
}
void metrics_registry::observe(std::string_view name, metric_labels labels, double value) {
    std::lock_guard lock(mutex_);
    if (!std::isfinite(value)) {
        ++dropped_;
        return;
    }
    auto* s = find(name, labels, kind::histogram);
    if (!s) return;
    s->value += value;
    ++s->count;
    const auto bounds = bounds_of(clean(name, true));
    for (std::size_t i = 0; i < bounds.size(); ++i)
        if (value <= bounds[i]) ++s->buckets[i];
}
void metrics_registry::describe(std::string_view name, std::string_view help) {
    std::lock_guard lock(mutex_);
    families_.try_emplace(clean(name, true), family{kind::gauge, {}, {}}).first->second.help = help;
}

std::string metrics_registry::prometheus() const {
    std::lock_guard lock(mutex_);
    std::string out;
    for (const auto& [name, f] : families_) {
        if (f.all.empty()) continue;
        if (!f.help.empty()) {
            out += "# HELP " + name + ' ';
            escape(out, f.help, false);
            out += '\n';
        }
        out += "# TYPE " + name + (f.what == kind::counter ? " counter\n" : f.what == kind::gauge ? " gauge\n" : " histogram\n");
        for (const auto& [labels, s] : f.all) {
            if (f.what != kind::histogram) {
                out += name + labels_text(labels) + ' ' + number(s.value) + '\n';
                continue;
            }
            const auto bounds = bounds_of(name);
            for (std::size_t i = 0; i < bounds.size(); ++i)
                out += name + "_bucket" + labels_text(labels, number(bounds[i])) + ' ' + std::to_string(s.buckets[i]) + '\n';
            out += name + "_bucket" + labels_text(labels, "+Inf") + ' ' + std::to_string(s.count) + '\n';
            out += name + "_sum" + labels_text(labels) + ' ' + number(s.value) + '\n';
            out += name + "_count" + labels_text(labels) + ' ' + std::to_string(s.count) + '\n';
        }
    }
    out += "# TYPE holdfast_metrics_dropped_total counter\nholdfast_metrics_dropped_total " + std::to_string(dropped_) + '\n';
    return out;
}

json metrics_registry::to_json() const {
    std::lock_guard lock(mutex_);
    json out = json::array();
    for (const auto& [name, f] : families_) {
        for (const auto& [labels, s] : f.all) {
            json one{{"name", name}, {"labels", json::object()}};
            for (const auto& [k, v] : labels) one["labels"][k] = v;
            if (f.what == kind::histogram) {
                one["type"] = "histogram";
                one["count"] = s.count;
                one["sum"] = s.value;
            } else {
                one["type"] = f.what == kind::counter ? "counter" : "gauge";
                one["value"] = s.value;
            }
            out.push_back(std::move(one));
        }
    }
    return out;
}

void metrics_registry::remove(std::string_view label, std::string_view value) {
    std::lock_guard lock(mutex_);
    for (auto f = families_.begin(); f != families_.end();) {
        series_ -= std::erase_if(f->second.all, [&](const auto& s) {
            return std::any_of(s.first.begin(), s.first.end(), [&](const auto& l) { return l.first == label && l.second == value; });
        });
        f = f->second.all.empty() && f->second.help.empty() ? families_.erase(f) : std::next(f);
    }
}

}  // namespace holdfast::plugins
