#include "api/login_methods.hpp"

#include "api/schema.hpp"
#include "servers/logins.hpp"

namespace holdfast::api {

void register_login_methods(method_table& table, std::shared_ptr<servers::server_set> set) {
    const auto logins = std::make_shared<servers::logins>(std::move(set));
    table.add({"server.login", role::admin, "The address where a person logs in to a server that wants OAuth; with \"wait\": the end of that login",
               object_schema({{"name", "string", true}, {"wait", "boolean"}}), {},
               [logins](const identity&, json p, reply done) {
                   if (bool_or(p, "wait", false)) logins->wait(p["name"], std::move(done));
                   else logins->begin(p["name"], std::move(done));
               }});
    table.add({"server.logout", role::admin, "Forgets what a server granted", object_schema({{"name", "string", true}}), {},
               [logins](const identity&, json p, reply done) { logins->logout(p["name"], std::move(done)); }});
}

}  // namespace holdfast::api
