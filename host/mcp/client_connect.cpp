// Which era the server belongs to, and the legacy handshake.
#include "mcp/client_impl.hpp"

namespace holdfast::mcp {
namespace {

/// HTTP answers that mean "I do not speak this protocol", as opposed to "not you" or "not now".
bool means_legacy(int status) {
    return status >= 400 && status < 500 && status != 401 && status != 403 && status != 407 && status != 408 && status != 429;
}

std::string list_of(const json& versions) {
    std::string out;
    for (const json& v : versions)
        if (v.is_string() && out.size() < 200) out += (out.empty() ? "" : ", ") + quote(v.get_ref<const std::string&>());
    return out.empty() ? "none" : out;
}

}  // namespace

void client_machine::impl::probe_era(steady_time now, actions& out) {
    at = phase::probing;
    ++probes;
    // Over HTTP silence proves nothing: there the status code decides, so it gets the full time.
    const auto limit = options.http ? options.limits.handshake_timeout : options.limits.probe_timeout;
    send(purpose::discover, 0, "server/discover", json::object(), json::object(), limit, now, out);
}

void client_machine::impl::initialize(std::string version, steady_time now, actions& out) {
    at = phase::initializing;
    ++initializes;
    asked_version = std::move(version);
    send(purpose::initialize, 0, "initialize",
         {{"protocolVersion", asked_version}, {"capabilities", options.capabilities}, {"clientInfo", options.client_info}}, {},
         options.limits.handshake_timeout, now, out);
}

/// Picks a version both sides know after the modern one was refused: the newest legacy one.
void client_machine::impl::choose(const json& supported, steady_time now, actions& out) {
    for (auto version : legacy_versions)
        for (const json& v : supported)
            if (v.is_string() && v.get_ref<const std::string&>() == version) return initialize(std::string(version), now, out);
    for (const json& v : supported)  // it refused what it supports: asked once more, no longer
        if (v.is_string() && is_modern(v.get_ref<const std::string&>()) && probes < 2) return probe_era(now, out);
    give_up({errc::protocol_error, "no common protocol version: the server supports " + list_of(supported) +
                                       "; update the server or this host"}, now, out);
}

void client_machine::impl::on_discovered(rpc_response& r, steady_time now, actions& out) {
    if (at != phase::probing && at != phase::initializing) return;  // came late and the handshake has succeeded since
    if (r.error) {
        if (r.error->code == rpc_code::unsupported_version) return choose(member(r.error->data, "supported"), now, out);
        if (rpc_code::is_modern(r.error->code)) return give_up(peer_error(*r.error), now, out);
        if (at == phase::initializing) return;  // the fallback is under way already
        return initialize(std::string(legacy_versions.front()), now, out);
    }
    const json& supported = member(r.result, "supportedVersions");
    if (!supported.is_array() || supported.empty()) {  // not a DiscoverResult: whatever answered, it is not modern
        if (at == phase::probing) initialize(std::string(legacy_versions.front()), now, out);
        return;
    }
    bool modern = false;
    for (const json& v : supported) modern = modern || (v.is_string() && is_modern(v.get_ref<const std::string&>()));
    if (!modern) {
        if (at == phase::probing) choose(supported, now, out);
        return;
    }
    identity.detected = era::modern;
    identity.version = modern_version;
    identity.info = member(member(r.result, "_meta"), meta::server_info);
    identity.instructions = string_or(r.result, "instructions");
    for (auto it = pending.begin(); it != pending.end();) {  // an initialize that was sent meanwhile
        const auto id = it->first;
        ++it;
        if (pending[id].what == purpose::initialize) forget(id);
    }
    established(member(r.result, "capabilities"), now, out);
}

void client_machine::impl::on_initialized(rpc_response& r, steady_time now, actions& out) {
    if (at != phase::initializing) return;
    if (r.error) {
        const json& supported = member(r.error->data, "supported");
        bool modern = false;
        for (const json& v : supported) {
            if (!v.is_string()) continue;
            const auto& text = v.get_ref<const std::string&>();
            modern = modern || is_modern(text);
            if (initializes < 2 && is_legacy(text) && text != asked_version) return initialize(text, now, out);
        }
        for (const auto& [id, w] : pending)
            if (w.what == purpose::discover) {  // a slow modern server refuses initialize and still owes the probe's answer
                at = phase::probing;
                pending[id].deadline = now + options.limits.handshake_timeout;
                return;
            }
        if ((hinted && probes == 0) || (modern && probes < 2)) return probe_era(now, out);
        error why = peer_error(*r.error);
        why.message = "initialize was refused: " + why.message;
        return give_up(std::move(why), now, out);
    }
    const std::string version = string_or(r.result, "protocolVersion");
    if (!is_legacy(version))
        return give_up({errc::protocol_error, "the server chose protocol version '" + quote(version) +
                                                  "', which this host does not speak"}, now, out);
    identity.detected = era::legacy;
    identity.version = version;
    identity.info = member(r.result, "serverInfo");
    identity.instructions = string_or(r.result, "instructions");
    for (auto it = pending.begin(); it != pending.end();) {
        const auto id = it->first;
        ++it;
        if (pending[id].what == purpose::discover) forget(id);
    }
    out.push_back(out::send{encode_notification("notifications/initialized", {}), {}});
    established(member(r.result, "capabilities"), now, out);
}

void client_machine::impl::on_connect_lost(purpose what, const error& why, int status, steady_time now, actions& out) {
    if (what == purpose::discover && at == phase::probing && options.http && means_legacy(status))
        return initialize(std::string(legacy_versions.front()), now, out);
    if (what == purpose::initialize && at == phase::initializing && hinted && probes == 0 && options.http && means_legacy(status))
        return probe_era(now, out);  // it was legacy before; perhaps it was upgraded
    // What could not be written to a process: its end follows and says why it does not read.
    if (!options.http && why.code == errc::transport_lost) return;
    if (at == phase::probing || at == phase::initializing) give_up(why, now, out);
}

void client_machine::impl::established(const json& capabilities, steady_time now, actions& out) {
    identity.capabilities = capabilities.is_object() ? capabilities : json::object();
    at = phase::listing;
    start_lists(now, out);
}

}  // namespace holdfast::mcp
