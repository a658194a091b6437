#include "app/logging.hpp"

#include "kernel/core/clock.hpp"

#include <spdlog/sinks/dist_sink.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace holdfast::app {
namespace {

constexpr std::size_t file_bytes = 10u << 20;
constexpr std::size_t files_kept = 3;

std::shared_ptr<spdlog::logger> logger;
std::shared_ptr<spdlog::sinks::dist_sink_mt> front;  // stderr, or the file that stands in for it. Second owner: the logger
bool as_json = false;

const char* pattern() { return as_json ? "%v" : "%H:%M:%S.%e %^%-5l%$ %v"; }

result<spdlog::sink_ptr> file_sink(const std::string& file) {
    try {
        return spdlog::sink_ptr(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file, file_bytes, files_kept));
    } catch (const spdlog::spdlog_ex& e) {
        return fail(errc::io_error, "the log file " + file + " cannot be opened: " + e.what());
    }
}

}  // namespace

result<void> open_log(const log_options& options) {
    front = std::make_shared<spdlog::sinks::dist_sink_mt>(std::vector<spdlog::sink_ptr>{std::make_shared<spdlog::sinks::stderr_color_sink_mt>()});
    std::vector<spdlog::sink_ptr> sinks{front};
    if (!options.file.empty()) {
        auto sink = file_sink(options.file);
        if (!sink) return tl::unexpected<error>(sink.error());
        sinks.push_back(std::move(*sink));
    }
    as_json = options.format == "json";
    logger = std::make_shared<spdlog::logger>("holdfast", sinks.begin(), sinks.end());
    logger->set_pattern(pattern());
    logger->flush_on(spdlog::level::info);  // whoever follows the file sees what happened
    set_log_level(options.level);
    return {};
}

result<void> divert_log(const std::string& file) {
    if (!front) return {};
    auto sink = file.empty() ? result<spdlog::sink_ptr>(std::make_shared<spdlog::sinks::stderr_color_sink_mt>()) : file_sink(file);
    if (!sink) return tl::unexpected<error>(sink.error());
    (*sink)->set_pattern(pattern());
    front->set_sinks({std::move(*sink)});
    return {};
}

void set_log_level(const std::string& name) {
    if (logger) logger->set_level(spdlog::level::from_str(name == "warn" ? "warning" : name));
}

int log_level_number() { return logger ? static_cast<int>(logger->level()) : static_cast<int>(spdlog::level::info); }

void write_log(level l, std::string_view who, std::string_view message, const json& fields) {
    const auto lvl = static_cast<spdlog::level::level_enum>(l);
    if (!logger || !logger->should_log(lvl)) return;
    if (as_json) {
        const auto name = spdlog::level::to_string_view(lvl);
        json line{{"time", rfc3339(std::chrono::system_clock::now())}, {"level", std::string(name.data(), name.size())}, {"who", std::string(who)}, {"message", std::string(message)}};
        if (fields.is_object()) line.update(fields);
        logger->log(lvl, "{}", dump(line));
        return;
    }
    std::string line = "[" + std::string(who) + "] " + std::string(message);
    if (fields.is_object())
        for (const auto& [key, value] : fields.items()) line += " " + key + "=" + (value.is_string() ? value.get<std::string>() : dump(value));
    logger->log(lvl, "{}", line);
}

}  // namespace holdfast::app
