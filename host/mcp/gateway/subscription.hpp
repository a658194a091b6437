#pragma once
// One subscriptions/listen of a modern client. Pure.
#include <functional>

#include "mcp/gateway/types.hpp"

namespace holdfast::mcp::gateway {

class subscription {
  public:
    /// Acknowledges what can be honoured. `known`: whether this client may read a URI. Errors: a filter that is none, too many URIs.
    static std::variant<subscription, rpc_error> open(stream_id on, const json& id, const json& params, const limits& l,
                                                      const std::function<bool(const std::string&)>& known, actions& out);
    void changed(list_kind kind, actions& out) const;
    void updated(const std::string& uri, const std::string& watched, actions& out) const;  ///< watched: `uri` or what it lies below
    void close(actions& out) const;  ///< by us: a graceful end
    const std::set<std::string>& uris() const { return uris_; }

  private:
    void notify(std::string_view method, json params, actions& out) const;
    stream_id on_ = 0;
    json id_;
    bool tools_ = false, prompts_ = false, resources_ = false;
    std::set<std::string> uris_;
};

}  // namespace holdfast::mcp::gateway
