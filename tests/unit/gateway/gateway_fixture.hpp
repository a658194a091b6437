#pragma once
// Makes offers from a few lines, and reads what machines want done.
#include <gtest/gtest.h>

#include "mcp/gateway/offer.hpp"
#include "mcp/gateway/text.hpp"

namespace holdfast::mcp::gateway::test {

/// Owns what an offer_source borrows.
struct world {
    struct one {
        std::string server, name;
        std::shared_ptr<const json> definition;
        bool held = false;
    };
    std::vector<one> tools;
    json prompts = json::array(), resources = json::array(), templates = json::array();
    std::vector<std::string> servers{"a", "b"};

    void tool(const std::string& server, const std::string& name, json schema = {{"type", "object"}}) {
        tools.push_back({server, name, std::make_shared<const json>(json{{"name", name}, {"inputSchema", std::move(schema)}})});
    }
    void resource(const std::string& server, const std::string& uri) { resources.push_back({{"server", server}, {"uri", uri}, {"name", uri}}); }
    void uri_template(const std::string& server, const std::string& t) { templates.push_back({{"server", server}, {"uriTemplate", t}, {"name", t}}); }
    void prompt(const std::string& server, const std::string& name) { prompts.push_back({{"server", server}, {"name", name}}); }

    std::shared_ptr<const offer> make(const offer_rules& rules = {}, const offer* before = nullptr) const {
        offer_source from;
        for (const auto& t : tools) from.tools.push_back({&t.server, &t.name, t.definition, t.held});
        from.prompts = &prompts;
        from.resources = &resources;
        from.templates = &templates;
        from.servers = servers;
        return offer::make(from, rules, before);
    }
};

inline std::vector<std::string> names(const std::string& page, const char* key, const char* by) {
    std::vector<std::string> out;
    const json parsed = json::parse(page);
    for (const json& item : parsed.at(key)) out.push_back(item[by]);
    return out;
}

template <class T>
std::vector<T> all(const actions& from) {
    std::vector<T> out;
    for (const auto& a : from)
        if (const auto* t = std::get_if<T>(&a)) out.push_back(*t);
    return out;
}
/// The only message to that stream, parsed.
inline json sent(const actions& from, stream_id on) {
    json found;
    int n = 0;
    for (const auto& e : all<act::emit>(from))
        if (e.on == on && !e.text.empty()) found = json::parse(e.text), ++n;
    EXPECT_EQ(n, 1) << "messages on stream " << on;
    return found;
}

inline const dialect modern{};
inline const dialect legacy{era::legacy, "2025-11-25"};

}  // namespace holdfast::mcp::gateway::test
