#include "fakes/authorization_server.hpp"

#include "oauth/form.hpp"
#include "oauth/proof_key.hpp"

namespace holdfast::testing {
namespace {
using nlohmann::json;
std::map<std::string, std::string> read(const std::string& text) {
    std::map<std::string, std::string> out;
    for (auto& [name, value] : oauth::form_decode(text).value_or(oauth::fields())) out[name] = value;
    return out;
}
bool has(const std::string& scopes, const std::string& one) { return oauth::includes(oauth::words(scopes), oauth::words(one)); }
}  // namespace

authorization_server::authorization_server() : server_([this](const heard_request& q, script_server::peer& p) { serve(q, p); }) {}

authorization_server::~authorization_server() {
    std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
}

void authorization_server::set(const std::function<void(faults&)>& f) {
    std::lock_guard lock(mutex_);
    f(faults_);
    changed_.notify_all();
}
authorization_server::counts authorization_server::counted() const {
    std::lock_guard lock(mutex_);
    return counts_;
}
void authorization_server::forget_tokens() {
    std::lock_guard lock(mutex_);
    for (auto& [name, t] : access_) t.good = false;
}
std::vector<std::string> authorization_server::secrets() const {
    std::lock_guard lock(mutex_);
    return secrets_;
}
std::vector<std::string> authorization_server::problems() const {
    std::lock_guard lock(mutex_);
    return problems_;
}
std::string authorization_server::last_scope() const {
    std::lock_guard lock(mutex_);
    return last_scope_;
}
std::string authorization_server::fresh(const char* kind) {
    secrets_.push_back(std::string(kind) + "-secret-" + std::to_string(++last_));
    return secrets_.back();
}

void authorization_server::serve(const heard_request& q, script_server::peer& p) {
    std::unique_lock lock(mutex_);
    const std::string path = q.target.substr(0, q.target.find('?'));
    const std::string query = path.size() < q.target.size() ? q.target.substr(path.size() + 1) : "";
    if (path == "/mcp" || path == "/mcp/messages") return serve_mcp(q, p, lock);
    if (path == "/.well-known/oauth-protected-resource/mcp") {
        json o = {{"resource", url()}, {"authorization_servers", json::array({issuer()})}};
        if (!faults_.resource.is_null()) o.merge_patch(faults_.resource);
        p.answer(200, "application/json", o.dump());
    } else if (path == "/.well-known/oauth-authorization-server/as") {
        json o = {{"issuer", issuer()}, {"authorization_endpoint", issuer() + "/authorize"}, {"token_endpoint", issuer() + "/token"},
                  {"registration_endpoint", issuer() + "/register"}, {"code_challenge_methods_supported", json::array({"S256"})},
                  {"token_endpoint_auth_methods_supported", json::array({"none", "client_secret_post"})},
                  {"authorization_response_iss_parameter_supported", true}};
        if (!faults_.server.is_null()) o.merge_patch(faults_.server);
        p.answer(200, "application/json", o.dump());
    } else if (path == "/as/register") {
        ++counts_.registered;
        const json asked = json::parse(q.body, nullptr, false);
        if (asked.value("application_type", "") != "native") complain("no application_type");
        if (faults_.register_status != 201) p.answer(faults_.register_status, "application/json", R"({"error":"invalid_client_metadata"})");
        else p.answer(201, "application/json", json{{"client_id", "client-1"}, {"redirect_uris", asked["redirect_uris"]}, {"token_endpoint_auth_method", "none"}}.dump());
    } else if (path == "/as/authorize") {
        authorize(read(query), p);
    } else if (path == "/as/token") {
        give_token(q, p, lock);
    } else {
        p.answer(404, "text/plain", "");
    }
}

void authorization_server::stream(script_server::peer& p, std::unique_lock<std::mutex>& lock) {
    const int mine = ++streams_;  // the newest alone is told
    changed_.notify_all();
    events_ = {"event: endpoint\ndata: /mcp/messages\n\n"};
    lock.unlock();
    p.events();
    for (;;) {
        lock.lock();
        changed_.wait(lock, [&] { return ending_ || mine != streams_ || !events_.empty(); });
        if (ending_ || mine != streams_) break;
        const std::string next = events_.front();
        events_.pop_front();
        lock.unlock();
        p.chunk(next);
    }
    p.hang_up();
}

void authorization_server::serve_mcp(const heard_request& q, script_server::peer& p, std::unique_lock<std::mutex>& lock) {
    const json m = json::parse(q.body, nullptr, false);
    const std::string method = m.is_object() ? m.value("method", "") : "";
    const std::string given = q.header("authorization");
    const auto it = given.starts_with("Bearer ") ? access_.find(given.substr(7)) : access_.end();
    const std::string meta = "resource_metadata=\"" + server_.url("/.well-known/oauth-protected-resource/mcp") + "\"";
    if (it == access_.end() || !it->second.good || it->second.audience != url()) {
        ++counts_.refused;
        p.answer(401, "application/json", R"({"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no"}})",
                 "WWW-Authenticate: Bearer " + meta + (faults_.scope.empty() ? "" : ", scope=\"" + faults_.scope + "\"") + (given.empty() ? "" : ", error=\"invalid_token\"") + "\r\n");
    } else if (method == "tools/call" && !has(it->second.scope, faults_.write_scope)) {
        ++counts_.refused;
        p.answer(403, "text/plain", "", "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"" + faults_.write_scope + "\", " + meta + "\r\n");
    } else if (faults_.older) {
        if (q.method == "GET") return stream(p, lock);
        if (q.target == "/mcp") return void(p.answer(405, "", ""));
        ++counts_.served;
        events_.push_back("data: " + json{{"jsonrpc", "2.0"}, {"id", m["id"]}, {"result", {{"method", method}}}}.dump() + "\n\n");
        changed_.notify_all();
        p.answer(202, "", "");
    } else {
        ++counts_.served;
        if (method == "initialize")
            p.answer(200, "application/json", json{{"jsonrpc", "2.0"}, {"id", m["id"]}, {"result", {{"protocolVersion", "2025-11-25"}}}}.dump(), "Mcp-Session-Id: s\r\n");
        else if (m.is_object() && m.contains("id"))
            p.answer(200, "application/json", json{{"jsonrpc", "2.0"}, {"id", m["id"]}, {"result", {{"method", method}}}}.dump());
        else
            p.answer(q.method == "GET" ? 405 : 202, "", "");
    }
}

void authorization_server::authorize(const fields& query, script_server::peer& p) {
    ++counts_.authorized;
    pending_ = query;
    last_scope_ = query.count("scope") ? query.at("scope") : "";
    for (const char* needed : {"client_id", "redirect_uri", "state", "code_challenge", "resource"})
        if (!query.count(needed)) complain(std::string("authorization request without ") + needed);
    if (pending_["code_challenge_method"] != "S256") complain("not S256");
    if (pending_["resource"] != url()) complain("resource " + pending_["resource"]);
    code_ = fresh("code");
    oauth::fields back{{"state", pending_["state"]}};
    if (faults_.denies) back.emplace_back("error", "access_denied");
    else back.emplace_back("code", code_);
    if (faults_.iss != "none") back.emplace_back("iss", faults_.iss == "right" ? issuer() : faults_.iss);
    p.answer(302, "", "", "Location: " + pending_["redirect_uri"] + "?" + oauth::form_encode(back) + "\r\n");
}

void authorization_server::give_token(const heard_request& q, script_server::peer& p, std::unique_lock<std::mutex>& lock) {
    fields body = read(q.body);
    const std::string kind = body["grant_type"];
    const auto refuse = [&](int status, const std::string& error) {
        // Descriptions of this server repeat what must not be repeated.
        p.answer(status, "application/json", json{{"error", error}, {"error_description", q.body}}.dump());
    };
    token t{faults_.audience.empty() ? body["resource"] : faults_.audience, ""};
    if (kind == "authorization_code") {
        ++counts_.exchanged;
        if (body["code"] != code_ || code_.empty()) return complain("wrong code"), refuse(400, "invalid_grant");
        if (oauth::s256(body["code_verifier"]) != pending_["code_challenge"]) return complain("wrong verifier"), refuse(400, "invalid_grant");
        if (body["redirect_uri"] != pending_["redirect_uri"] || body["resource"] != pending_["resource"]) return complain("not the same request"), refuse(400, "invalid_grant");
        code_.clear();
        t.scope = pending_["scope"];
    } else if (kind == "refresh_token") {
        ++counts_.refreshed;
        changed_.wait(lock, [&] { return ending_ || !faults_.refresh_waits; });
        if (faults_.refresh_page != 0) return void(p.answer(faults_.refresh_page, "text/html", "<html>maintenance</html>"));
        if (faults_.refresh_status != 200) return refuse(faults_.refresh_status, faults_.refresh_error);
        const auto it = refresh_.find(body["refresh_token"]);
        if (it == refresh_.end() || !it->second.good) return refuse(400, "invalid_grant");
        if (body["resource"] != it->second.audience) complain("refresh for another resource");
        it->second.good = false;  // rotation: each is good once
        t.scope = it->second.scope;
    } else if (kind == "client_credentials") {
        ++counts_.by_itself;
        if (body["client_id"] != "machine" || body["client_secret"] != "hush") return refuse(401, "invalid_client");
        t.scope = body["scope"];
    } else {
        return refuse(400, "unsupported_grant_type");
    }
    if (!faults_.scopes_granted.empty()) t.scope = faults_.scopes_granted;
    const std::string access = fresh("access");
    access_[access] = t;
    json o = {{"access_token", access}, {"token_type", "Bearer"}, {"expires_in", faults_.token_lives_s}, {"scope", t.scope}};
    if (kind != "client_credentials") {
        const std::string again = fresh("refresh");
        refresh_[again] = {body["resource"], t.scope};
        o["refresh_token"] = again;
    }
    p.answer(200, "application/json", o.dump());
}

}  // namespace holdfast::testing
