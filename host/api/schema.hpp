#pragma once
// Shorthand for the parameter schemas of methods: an object that knows its members and no others.
#include <initializer_list>

#include "kernel/core/json.hpp"

namespace holdfast::api {

struct field {
    const char* name;
    json type;          ///< "string", "integer" …, or a schema
    bool required = false;
};

inline json object_schema(std::initializer_list<field> fields) {
    json out{{"type", "object"}, {"additionalProperties", false}, {"properties", json::object()}};
    for (const field& f : fields) {
        out["properties"][f.name] = f.type.is_string() ? json{{"type", f.type}} : f.type;
        if (f.required) out["required"].push_back(f.name);
    }
    return out;
}

}  // namespace holdfast::api
