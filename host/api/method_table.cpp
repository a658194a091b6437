#include "api/method_table.hpp"

#include <cassert>
#include <cstdlib>

#include "kernel/core/nearest.hpp"
#include "kernel/config/schema.hpp"

namespace holdfast::api {

std::string_view to_string(role r) noexcept {
    switch (r) {
        case role::viewer: return "viewer";
        case role::op: return "operator";
        case role::admin: return "admin";
    }
    return "viewer";
}

result<role> role_from(std::string_view name) {
    for (role r : {role::viewer, role::op, role::admin})
        if (to_string(r) == name) return r;
    return fail(errc::invalid_argument, "unknown role '" + std::string(name) + "': expected viewer, operator or admin");
}

void method_table::add(method m) {
    assert(!m.handler != !m.stream);
    const std::string name = m.name;
    if (!methods_.emplace(name, std::move(m)).second) std::abort();  // two owners of one name: a broken composition
}

const method* method_table::find(const std::string& name) const {
    auto it = methods_.find(name);
    return it == methods_.end() ? nullptr : &it->second;
}

std::vector<const method*> method_table::all() const {
    std::vector<const method*> out;
    for (const auto& [name, m] : methods_) out.push_back(&m);
    return out;
}

const method* method_table::admit(const identity& who, const std::string& name, json& params, reply& done) const {
    auto refuse = [&](error e) {
        done(tl::unexpected<error>(std::move(e)));
        return nullptr;
    };
    const method* m = find(name);
    if (!m) {
        std::vector<std::string> names;
        for (const auto& [n, ignored] : methods_) names.push_back(n);
        const std::string close = nearest(name, names);
        return refuse({errc::not_found, "no method '" + name + "'" + (close.empty() ? ": GET /api/v1/openapi.json lists them" : ": did you mean '" + close + "'?")});
    }
    const auto forbidden = [&](role needs) {
        return refuse({errc::forbidden, name + " needs the role " + std::string(to_string(needs)) + (needs == m->needs ? "" : " for this") + ", " + who.user + " has " + std::string(to_string(who.rights))});
    };
    if (who.rights < m->needs) return forbidden(m->needs);
    if (params.is_null()) params = json::object();
    if (auto wrong = config::validate(m->params_schema, params, ""); !wrong.empty())
        return refuse({errc::invalid_argument, name + ": " + (wrong[0].pointer.empty() ? "params" : wrong[0].pointer) + ": " + wrong[0].message});
    if (const role needs = m->needs_for ? m->needs_for(params) : m->needs; who.rights < needs) return forbidden(needs);
    return m;
}

void method_table::call(const identity& who, const std::string& name, json params, reply done) const {
    const method* m = admit(who, name, params, done);
    if (!m) return;
    if (m->stream) return done(fail(errc::invalid_argument, name + " answers in pieces: call it through a plugin or the control socket"));
    try {
        m->handler(who, std::move(params), std::move(done));
    } catch (const std::exception& e) {
        // `done` may have been moved into the handler: then its owner answers, or its destruction is the caller's timeout.
        if (done) done(fail(errc::internal, name + " failed: " + e.what()));
    }
}

cancel_fn method_table::stream(const identity& who, const std::string& name, json params, chunk_fn chunk, reply done) const {
    const method* m = find(name);
    if (!m || !m->stream) return call(who, name, std::move(params), std::move(done)), nullptr;
    if (!admit(who, name, params, done)) return nullptr;
    try {
        return m->stream(who, std::move(params), std::move(chunk), std::move(done));
    } catch (const std::exception& e) {
        if (done) done(fail(errc::internal, name + " failed: " + e.what()));
        return nullptr;
    }
}

json method_table::openapi() const {
    json paths = json::object();
    for (const auto& [name, m] : methods_) {
        if (m.stream) continue;
        json errors = {{"description", "The uniform error"}, {"content", {{"application/json", {{"schema", {{"$ref", "#/components/schemas/error"}}}}}}}};
        paths["/api/v1/call/" + name]["post"] = {
            {"operationId", name},
            {"summary", m.summary},
            {"tags", {name.substr(0, name.find('.'))}},
            {"x-role", std::string(to_string(m.needs))},
            {"requestBody", {{"content", {{"application/json", {{"schema", m.params_schema}}}}}}},
            {"responses", {{"200", {{"description", "Result"}, {"content", {{"application/json", {{"schema", m.result_schema.is_null() ? json{{"type", "object"}} : m.result_schema}}}}}}}, {"default", errors}}}};
    }
    json schemas;
    schemas["error"] = {{"type", "object"},
                        {"required", {"error"}},
                        {"properties", {{"error", {{"type", "object"}, {"required", {"code", "message"}}, {"properties", {{"code", {{"type", "string"}}}, {"message", {{"type", "string"}}}, {"retry_after_ms", {{"type", "integer"}}}}}}}}}};
    return {{"openapi", "3.1.0"},
            {"info", {{"title", "Holdfast"}, {"version", "0.1.0"}, {"description", "One API for every user interface. See host/doc/api.md."}}},
            {"paths", paths},
            {"components", {{"schemas", schemas}, {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}},
            {"security", json::array({{{"token", json::array()}}})}};
}

}  // namespace holdfast::api
