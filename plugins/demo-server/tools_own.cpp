// The tools a person would want: the time, an echo, files under a directory, something slow, a counter.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "catalogue.hpp"
#include "local_time.hpp"

namespace holdfast::demo {
namespace {

struct hints {
    bool read_only = true, idempotent = true;
};

tool make(const char* name, const char* title, const char* description, hints h, bool blocking, const char* schema,
          std::function<outcome(call&)> run) {
    return {{{"name", name},
             {"title", title},
             {"description", description},
             {"inputSchema", json::parse(schema)},
             {"annotations",
              {{"title", title},
               {"readOnlyHint", h.read_only},
               {"destructiveHint", false},
               {"idempotentHint", h.idempotent},
               {"openWorldHint", false}}}},
            blocking,
            std::move(run)};
}

json with_structure(std::string text, json structure) {
    json result = text_result(std::move(text));
    result["structuredContent"] = std::move(structure);
    return result;
}

outcome get_time(call& c) {
    const auto zone = string_or(c.arguments(), "timezone");
    auto reading = read_clock(zone);
    if (!reading) return text_result(reading.error().message, true);
    return with_structure(reading->utc + "\n" + reading->sentence, {{"utc", reading->utc},
                                                                    {"local", reading->local},
                                                                    {"timezone", zone.empty() ? "UTC" : zone},
                                                                    {"unix_ms", reading->unix_ms}});
}

outcome list_files(call& c, const file_root& root) {
    const auto path = string_or(c.arguments(), "path", ".");
    auto found = root.list(path);
    if (!found) return text_result(found.error().message, true);
    std::string text;
    json entries = json::array();
    for (const auto& e : found->entries) {
        const char* kind = e.kind == 'f' ? "file" : e.kind == 'd' ? "directory" : e.kind == 'l' ? "link" : "other";
        text += e.name + (e.kind == 'd' ? "/" : e.kind == 'f' ? " (" + std::to_string(e.size) + " bytes)" : std::string(" (") + kind + ")") + "\n";
        json one = {{"name", e.name}, {"type", kind}};
        if (e.kind == 'f') one["size"] = e.size;
        entries.push_back(std::move(one));
    }
    if (text.empty()) text = "The directory is empty.\n";
    if (found->truncated) text += "… and more: only the first " + std::to_string(max_entries) + " entries are shown.\n";
    text.pop_back();
    return with_structure(std::move(text), {{"path", path}, {"entries", std::move(entries)}, {"truncated", found->truncated}});
}

outcome read_file(call& c, const file_root& root) {
    const auto path = string_or(c.arguments(), "path");
    auto piece = root.read(path, int_or(c.arguments(), "offset", 0), int_or(c.arguments(), "limit", default_read));
    if (!piece) return text_result(piece.error().message, true);
    const bool more = piece->next < piece->size;
    json structure = {{"path", path}, {"offset", piece->offset}, {"next_offset", piece->next}, {"size", piece->size}, {"end", !more}};
    json result = with_structure(std::move(piece->text), std::move(structure));
    if (more)
        result["content"].push_back(text_block("[This is a part: bytes " + std::to_string(piece->offset) + " to " +
                                               std::to_string(piece->next) + " of " + std::to_string(piece->size) +
                                               ". Read on with offset " + std::to_string(piece->next) + ".]"));
    return result;
}

outcome slow(call& c) {
    const auto duration = int_or(c.arguments(), "duration_ms", 3000);
    const auto steps = int_or(c.arguments(), "steps", 10);
    // One slice more than steps: the last report must not share a read with the answer, because clients built on the
    // TypeScript SDK 1.x handle the answer first and then no longer know the progress token.
    const auto until = [&](std::int64_t slice) { return duration * slice / (steps + 1); };
    for (std::int64_t step = 1; step <= steps + 1; ++step) {
        if (!c.wait(std::chrono::milliseconds(until(step) - until(step - 1)))) return c.interrupted();
        if (step <= steps)
            c.progress(static_cast<double>(step), static_cast<double>(steps),
                       "Step " + std::to_string(step) + " of " + std::to_string(steps));
    }
    return text_result("Took " + std::to_string(duration) + " ms in " + std::to_string(steps) + " steps.");
}

/// Appends one line and waits until it is on the disk; then counts the lines.
result<std::int64_t> count_line(const std::string& file, std::string line) {
    const auto failed = [&](const char* what) {
        return fail(errc::io_error, std::string(what) + " the count file '" + file + "' failed: " + std::strerror(errno));
    };
    const int fd = ::open(file.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return failed("Opening");
    struct closer {
        int fd;
        ~closer() { ::close(fd); }
    } const close_it{fd};
    line += '\n';
    // One write of an O_APPEND file is one line, whoever else appends.
    if (::write(fd, line.data(), line.size()) != static_cast<ssize_t>(line.size())) return failed("Writing");
    if (::fsync(fd) != 0) return failed("Syncing");
    std::int64_t lines = 0;
    char buffer[16 * 1024];
    for (off_t at = 0;;) {
        const ssize_t n = ::pread(fd, buffer, sizeof buffer, at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed("Reading");
        if (n == 0) return lines;
        lines += std::count(buffer, buffer + n, '\n');
        at += n;
    }
}

outcome count(call& c, const std::string& file) {
    if (file.empty())
        return text_result("There is no count file: start the server with --count-file FILE or set HOLDFAST_COUNT_FILE.", true);
    auto id = string_or(c.arguments(), "id", "-");
    if (id.empty() || id.find_first_of("\r\n") != std::string::npos)
        return text_result("argument 'id' must be one line that is not empty", true);
    auto lines = count_line(file, id);
    if (!lines) return text_result(lines.error().message, true);
    return with_structure(std::to_string(*lines), {{"id", id}, {"count", *lines}});
}

}  // namespace

std::vector<tool> own_tools(std::shared_ptr<file_root> root, std::string count_file) {
    std::vector<tool> list;
    list.push_back(make("get_time", "Current time",
                        "Tells what time it is: the current time in UTC (RFC 3339) and a sentence with the local time of a time zone.",
                        {true, false}, false, R"({"type": "object", "properties": {
                          "timezone": {"type": "string", "description": "IANA time zone name, for example Europe/Berlin; UTC if absent", "maxLength": 64}},
                          "additionalProperties": false})",
                        get_time));
    list.push_back(make("echo", "Echo", "Returns the text it is given.", {}, false, R"({"type": "object", "properties": {
                          "text": {"type": "string", "description": "The text to return"}},
                          "required": ["text"], "additionalProperties": false})",
                        [](call& c) -> outcome { return text_result(string_or(c.arguments(), "text")); }));
    list.push_back(make("list_files", "List files", "Lists the files and directories in a directory under the root directory.", {}, true,
                        R"({"type": "object", "properties": {
                          "path": {"type": "string", "description": "Directory, relative to the root; the root itself if absent", "default": ".", "maxLength": 4096}},
                          "additionalProperties": false})",
                        [root](call& c) { return list_files(c, *root); }));
    list.push_back(make("read_file", "Read a file",
                        "Reads a UTF-8 text file under the root directory, up to 256 KiB at a time; longer files in parts with offset.", {},
                        true, R"({"type": "object", "properties": {
                          "path": {"type": "string", "description": "File, relative to the root", "minLength": 1, "maxLength": 4096},
                          "offset": {"type": "integer", "description": "First byte to read", "minimum": 0, "default": 0},
                          "limit": {"type": "integer", "description": "How many bytes to read at most", "minimum": 1, "maximum": 262144, "default": 65536}},
                          "required": ["path"], "additionalProperties": false})",
                        [root](call& c) { return read_file(c, *root); }));
    list.push_back(make("slow", "Something slow", "Takes its time, reports progress at every step, and can be cancelled.", {}, true,
                        R"({"type": "object", "properties": {
                          "duration_ms": {"type": "integer", "description": "How long it takes", "minimum": 0, "maximum": 600000, "default": 3000},
                          "steps": {"type": "integer", "description": "How often it reports progress", "minimum": 1, "maximum": 1000, "default": 10}},
                          "additionalProperties": false})",
                        slow));
    list.push_back(make("count", "Count",
                        "Appends one line to a file, makes sure it is on the disk, and returns how many lines the file has. Every call counts.",
                        {false, false}, true, R"({"type": "object", "properties": {
                          "id": {"type": "string", "description": "What to write as the line", "minLength": 1, "maxLength": 200}},
                          "additionalProperties": false})",
                        [count_file = std::move(count_file)](call& c) { return count(c, count_file); }));
    return list;
}

}  // namespace holdfast::demo
