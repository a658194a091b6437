#include "net-server/static_file.hpp"

namespace holdfast::web {
namespace {
/// Weak comparison over the list of If-None-Match (RFC 9110, 13.1.2).
bool matches(std::string_view list, std::string_view etag) {
    if (list == "*") return true;
    while (!list.empty()) {
        const auto comma = list.find(',');
        auto item = list.substr(0, comma);
        list = comma == list.npos ? std::string_view{} : list.substr(comma + 1);
        while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
        while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
        if (item.substr(0, 2) == "W/") item.remove_prefix(2);
        if (item == etag) return true;
    }
    return false;
}
}  // namespace

http_response serve_static(const http_request& request, const static_file& file) {
    if (request.method != "GET" && request.method != "HEAD") {
        auto r = http_response::failure(405, "invalid_argument", "this path is read with GET");
        r.headers.emplace_back("Allow", "GET, HEAD");
        return r;
    }
    http_response r;
    r.headers = {{"ETag", file.etag}, {"Cache-Control", "no-cache"}, {"X-Content-Type-Options", "nosniff"}};
    if (matches(request.header("if-none-match"), file.etag)) {
        r.status = 304;
        return r;
    }
    r.headers.emplace_back("Content-Type", file.content_type);
    r.body = file.content;
    return r;
}

}  // namespace holdfast::web
