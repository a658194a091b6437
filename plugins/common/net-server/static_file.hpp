#pragma once
// A file served as it is: revalidated by ETag, so that a new build is seen at the next load and an old one costs a 304.
#include <memory>
#include <string>

#include "net-server/http_types.hpp"

namespace holdfast::web {

struct static_file {
    std::string content_type;
    std::string etag;  ///< quoted, derived from the content
    std::shared_ptr<const std::string> content;
};

/// GET and HEAD: 200 or 304; anything else: 405. [any thread] Pure.
http_response serve_static(const http_request& request, const static_file& file);

}  // namespace holdfast::web
