#pragma once
// Everything one role of clients sees of all servers: names, lists as ready text, and where each name leads. Immutable; made
// anew from the catalogue, so that a server which is dead or slow delays nobody.
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "mcp/gateway/types.hpp"

namespace holdfast::mcp::gateway {

/// Globs ('*', '?'), tried in order, the last that fits decides; "!…" leaves out. Absent: everything.
class patterns {
  public:
    patterns() = default;
    explicit patterns(const json& list);  ///< array of strings; null: everything
    bool admit(std::string_view name) const;

  private:
    bool all_ = true;
    std::vector<std::pair<bool, std::string>> rules_;
};
bool glob(std::string_view pattern, std::string_view text);

struct visibility {
    patterns tools, prompts, resources;
    bool expose = true;
};

struct offer_rules {
    bool prefix = true;            ///< server__name, or the names as they are
    std::size_t page_size = 1'000; ///< entries of one answer to a list request
    std::vector<std::pair<std::string, visibility>> servers;  ///< by glob of the server's name, the last that fits counts; names as the server says them
    visibility role;               ///< names as clients see them
    std::string instructions;
};

/// What there is to offer. Borrowed for the making.
struct offer_source {
    struct tool {
        const std::string* server;
        const std::string* name;
        std::shared_ptr<const json> definition;
        bool held = false;         ///< its definition changed and waits for approval
    };
    std::vector<tool> tools;       ///< any order
    const json* prompts = nullptr; ///< definitions with their "server"
    const json* resources = nullptr;
    const json* templates = nullptr;
    std::vector<std::string> servers;  ///< that are configured, present or not
};

/// A parameter that HTTP clients mirror into a header.
struct param_header {
    std::string header;             ///< lower case, without "mcp-param-"
    std::vector<std::string> path;  ///< of property names, from the arguments
};

class offer {
  public:
    struct entry {
        std::string server;
        std::string name;  ///< as the server calls it
        bool held = false;
        std::vector<param_header> headers;
    };
    /// One name, two servers: the first keeps it.
    struct collision {
        list_kind kind;
        std::string name, served_by, hidden_of;
    };

    /// `before`: a name stays with the server that had it as long as that server is configured, so that nobody can take over
    /// the name of one that is down.
    static std::shared_ptr<const offer> make(const offer_source& from, const offer_rules& rules, const offer* before = nullptr);

    const entry* tool(const std::string& name) const;
    const entry* prompt(const std::string& name) const;
    /// Who serves a URI: listed, by template, or the only server with URIs of that scheme.
    const std::string* resource_server(const std::string& uri) const;
    const std::string* template_server(const std::string& uri_template) const;

    /// The result of a list request as JSON text. Errors: invalid_argument (cursor).
    result<std::string> page(list_kind kind, const dialect& to, const std::string& cursor) const;
    std::string discover() const;
    const std::string& instructions() const { return rules_.instructions; }
    /// Equal digests: equal lists.
    std::size_t digest(list_kind kind) const { return lists_[static_cast<std::size_t>(kind)].digest; }
    std::size_t size(list_kind kind) const { return lists_[static_cast<std::size_t>(kind)].items.size(); }
    const std::vector<collision>& collisions() const { return collisions_; }

  private:
    struct item {
        std::string key, text;
        std::string legacy_text;  ///< where that era says it differently; else empty
    };
    struct list {
        std::vector<item> items;  ///< by key
        std::size_t digest = 0;
    };
    using owners = std::map<std::string, std::string>;  ///< name → server

    bool claim(list_kind kind, const std::string& name, const std::string& server);
    void add_tools(const offer_source& from, const offer_rules& rules);
    void add_labelled(list_kind kind, const json* from, const offer_rules& rules);
    void finish();

    std::array<list, list_kinds> lists_;
    std::array<owners, list_kinds> owners_;
    std::unordered_map<std::string, entry> tools_, prompts_;
    std::unordered_map<std::string, std::string> resources_;
    std::vector<std::pair<std::string, std::string>> templates_;  ///< template, server; the most particular first
    std::map<std::string, std::string> schemes_;                  ///< scheme → server, or "" if several
    std::vector<collision> collisions_;
    offer_rules rules_;
};

/// What the gateway can do, as both eras say it.
const json& server_capabilities();

}  // namespace holdfast::mcp::gateway
