#pragma once
// The pages, compiled in. They hold no data and are served to anyone who reaches the port.
#include <cstddef>
#include <map>
#include <string>

#include "net-server/static_file.hpp"

namespace holdfast::ui_http {

struct embedded_file {
    const char* name;
    const char* sha256;
    const unsigned char* data;
    std::size_t size;
};
extern const embedded_file embedded_files[];
extern const std::size_t embedded_file_count;

/// By path: "/" is index.html. Built once per instance.
std::map<std::string, web::static_file, std::less<>> load_assets();

}  // namespace holdfast::ui_http
