// The slash commands of a session.
#include <algorithm>

#include "sessions/session_actor.hpp"

namespace holdfast::sessions {
namespace {

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& w : words) out += (out.empty() ? "" : ", ") + w;
    return out;
}

/// The change is durable: says so in a sentence.
reply saying(std::string text, reply done) {
    return [text = std::move(text), done = std::move(done)](result<json> r) mutable {
        if (!r) return done(std::move(r));
        done(json{{"text", text}});
    };
}

}  // namespace

void session_actor::command(std::shared_ptr<session_request> r) {
    const auto aliases = host_->aliases();
    auto line = expand(string_or(r->params, "command"), *aliases);
    if (!line) return r->done(unexpected<error>(line.error()));
    reply done = std::move(r->done);
    if (line->name.empty()) {
        // An alias for something to say.
        return submit(input::user_message{line->rest, {}, r->who.via}, [done = std::move(done)](result<json> sent) mutable {
            if (!sent) return done(std::move(sent));
            done(json{{"text", ""}, {"data", {{"sent", *sent}}}});
        }, false);
    }
    const std::string& n = line->name;
    if (n == "help") return done(json{{"text", help_text(*aliases)}});
    if (n == "model") return command_model(*line, std::move(done));
    if (n == "servers") return command_servers(*line, std::move(done));
    if (n == "tools") return command_tools(*line, std::move(done));
    if (n == "allow") return command_allow(*line, std::move(done));
    if (n == "alias" || n == "unalias") return command_alias(*line, std::move(done));
    if (n == "history") return command_history(*line, std::move(done));
    if (n == "stats") return done(json{{"text", dump(state_.stats.to_json())}, {"data", state_.stats.to_json()}});
    if (n == "cancel")
        return submit(input::cancel{r->who.via, {}}, [done = std::move(done)](result<json> out) mutable {
            if (out) out = json{{"text", bool_or(*out, "cancelled", false) ? "Cancelled." : "Nothing is under way."}, {"data", *out}};
            done(std::move(out));
        }, false);
    if (line->rest.empty()) return done(json{{"text", state_.config.title.empty() ? "This session has no title." : state_.config.title}});
    input::configure c;
    c.title = line->rest;
    submit(std::move(c), saying("The title is now: " + line->rest, std::move(done)), false);
}

void session_actor::command_model(const command_line& c, reply done) {
    if (!services_.llm) return done(fail(errc::unavailable, "no model is configured"));
    if (c.rest.empty()) {
        json list = services_.llm->list();
        const std::string mine = state_.config.llm;
        std::string text = mine.empty() ? "Default (" + string_or(list, "default") + "): " + string_or(list, "chosen") + ", because " + string_or(list, "reason")
                                        : "This session uses " + mine;
        for (const json& a : list["adapters"])
            text += "\n  " + string_or(a, "id") + "  " + string_or(a, "model") + (bool_or(a, "available", false) ? "" : "  not available: " + string_or(a, "reason"));
        list["session"] = mine;
        return done(json{{"text", text}, {"data", std::move(list)}});
    }
    const std::string wanted = c.words.front() == "default" ? std::string() : c.words.front();
    if (!wanted.empty() && !services_.llm->knows(wanted))
        return done(fail(errc::invalid_argument, "there is no model adapter named \"" + wanted + "\"; /model lists them"));
    input::configure change;
    change.llm = wanted;
    submit(std::move(change), saying("Model: " + c.words.front(), std::move(done)), false);
}

void session_actor::command_servers(const command_line& c, reply done) {
    if (!c.rest.empty()) {
        input::configure change;
        change.servers = c.rest == "all" ? std::vector<std::string>() : c.words;
        return submit(std::move(change), saying(c.rest == "all" ? "This session sees all servers." : "This session sees: " + joined(c.words), std::move(done)), false);
    }
    std::map<std::string, int> counts;
    if (services_.tools) {
        const auto tools = services_.tools->tools();
        for (const auto& t : tools->tools) ++counts[t.server];
    }
    std::string text = state_.config.servers.empty() ? "This session sees all servers." : "This session sees only: " + joined(state_.config.servers);
    for (const auto& [server, n] : counts) text += "\n  " + server + "  " + std::to_string(n) + " tools";
    done(json{{"text", text}, {"data", {{"servers", counts}, {"only", state_.config.servers}}}});
}

void session_actor::command_tools(const command_line& c, reply done) {
    std::string text;
    json data = json::array();
    const auto& only = state_.config.servers;
    if (services_.tools) {
        const auto tools = services_.tools->tools();
        for (const auto& t : tools->tools) {
            if (!c.rest.empty() && t.server != c.words.front()) continue;
            if (!only.empty() && std::find(only.begin(), only.end(), t.server) == only.end()) continue;
            text += (text.empty() ? "" : "\n") + t.server + "/" + t.name + "  " + t.description.substr(0, t.description.find('\n'));
            data.push_back({{"server", t.server}, {"name", t.name}, {"allowed", allows(state_.config.allow, t.server, t.name)}});
        }
    }
    done(json{{"text", text.empty() ? "No tools." : text}, {"data", std::move(data)}});
}

void session_actor::command_allow(const command_line& c, reply done) {
    const auto& now = state_.config.allow;
    if (c.rest.empty())
        return done(json{{"text", now.empty() ? "Every tool asks first." : "These run without asking: " + joined(now)}, {"data", now}});
    input::configure change;
    change.allow = c.rest == "none" ? std::vector<std::string>() : now;
    if (c.rest != "none")
        for (const std::string& w : c.words)
            if (std::find(now.begin(), now.end(), w) == now.end()) change.allow->push_back(w);
    std::string text = change.allow->empty() ? "Every tool asks first." : "These run without asking: " + joined(*change.allow);
    submit(std::move(change), saying(std::move(text), std::move(done)), false);
}

void session_actor::command_alias(const command_line& c, reply done) {
    if (c.name == "unalias") {
        if (c.words.size() != 1) return done(fail(errc::invalid_argument, "usage: /unalias name"));
        return host_->delete_alias(c.words.front(), saying("Forgotten: /" + c.words.front(), std::move(done)));
    }
    if (c.words.empty()) {
        const auto aliases = host_->aliases();
        std::string text;
        for (const auto& [name, expansion] : *aliases) text += (text.empty() ? "/" : "\n/") + name + "  " + expansion;
        return done(json{{"text", text.empty() ? "No aliases." : text}, {"data", *aliases}});
    }
    std::string name = c.words.front();
    std::string expansion = c.rest.substr(std::min(c.rest.size(), c.rest.find(name) + name.size()));
    expansion.erase(0, expansion.find_first_not_of(" \t"));
    if (!name.empty() && name.front() == '/') name.erase(0, 1);
    host_->set_alias(name, expansion, saying("/" + name + " stands for: " + expansion, std::move(done)));
}

void session_actor::command_history(const command_line& c, reply done) {
    std::int64_t n = 10;
    if (!c.words.empty()) n = std::atoi(c.words.front().c_str());
    history({{"limit", std::clamp<std::int64_t>(n, 1, 100)}}, [done = std::move(done)](result<json> r) mutable {
        if (!r) return done(std::move(r));
        std::string text;
        for (const json& m : (*r)["messages"]) text += (text.empty() ? "" : "\n") + string_or(m, "role") + ": " + string_or(m, "text");
        done(json{{"text", text.empty() ? "No messages yet." : text}, {"data", std::move(*r)}});
    });
}

}  // namespace holdfast::sessions
