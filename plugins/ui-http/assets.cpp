#include "ui-http/assets.hpp"

namespace holdfast::ui_http {
namespace {
std::string type_of(std::string_view name) {
    const auto ends = [&](std::string_view suffix) { return name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix; };
    if (ends(".html")) return "text/html; charset=utf-8";
    if (ends(".css")) return "text/css; charset=utf-8";
    if (ends(".js")) return "text/javascript; charset=utf-8";
    if (ends(".svg")) return "image/svg+xml";
    return "application/octet-stream";
}
}  // namespace

std::map<std::string, web::static_file, std::less<>> load_assets() {
    std::map<std::string, web::static_file, std::less<>> out;
    for (std::size_t i = 0; i < embedded_file_count; ++i) {
        const embedded_file& f = embedded_files[i];
        const std::string name = f.name;
        web::static_file file;
        file.content_type = type_of(name);
        file.etag = "\"" + std::string(f.sha256).substr(0, 32) + "\"";
        file.content = std::make_shared<const std::string>(reinterpret_cast<const char*>(f.data), f.size);
        if (name == "index.html") out.emplace("/", file);
        if (name == "icon.svg") out.emplace("/favicon.ico", file);
        out.emplace("/" + name, std::move(file));
    }
    return out;
}

}  // namespace holdfast::ui_http
