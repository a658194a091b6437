// The tree as JSON, and the children that are actors or supervisors.
#include "kernel/supervise/detail/supervisor_shell.hpp"
#include "kernel/supervise/supervisor.hpp"

namespace holdfast::supervise {
namespace {

json reason_json(const exit_reason& r) {
    return {{"kind", std::string(to_string(r.kind))}, {"code", r.code}, {"text", r.text()}};
}

std::int64_t ms_between(steady_time from, steady_time to) {
    return std::max<std::int64_t>(0, std::chrono::duration_cast<milliseconds>(to - from).count());
}

class actor_handle final : public child {
  public:
    explicit actor_handle(actor_ref who) : who_(std::move(who)) {}
    void stop() override { who_->request_stop(); }
    void kill() override { who_->request_kill(); }
    void describe(json& node) const override { node["mailbox"] = who_->mailbox_size(); }
    actor_ref as_actor() const override { return who_; }

  private:
    actor_ref who_;
};

class supervisor_handle final : public child {
  public:
    explicit supervisor_handle(ref<supervisor> who) : who_(std::move(who)) {}
    void stop() override { who_->request_stop(); }
    void kill() override { who_->request_kill(); }
    void describe(json& node) const override {
        auto own = who_->tree();
        node["mailbox"] = who_->mailbox_size();
        for (const char* field : {"strategy", "children", "omitted"})
            if (own.contains(field)) node[field] = std::move(own[field]);
    }
    actor_ref as_actor() const override { return who_; }

  private:
    ref<supervisor> who_;
};

class child_lifecycle final : public lifecycle {
  public:
    child_lifecycle(child_context ctx, std::shared_ptr<child> handle) : ctx_(std::move(ctx)), handle_(std::move(handle)) {}
    void ready(actor&) override { ctx_.started(std::move(handle_)); }
    void exited(actor&, const exit_reason& why) noexcept override {
        if (why.kind == exit_kind::start_failure)
            ctx_.failed({why.code ? static_cast<errc>(why.code) : errc::internal, why.detail});
        else
            ctx_.exited(why);
    }

  private:
    child_context ctx_;
    std::shared_ptr<child> handle_;
};

}  // namespace

json supervision_report::to_json() const {
    return {{"report", std::string(to_string(kind))}, {"supervisor", supervisor}, {"id", id}, {"kind", child_kind},
            {"incarnation", incarnation}, {"reason", reason_json(reason)},
            {"spec", {{"restart", std::string(to_string(restart))}, {"significant", significant}}}};
}

void supervisor::impl::describe(json& node, std::size_t max_children) const {
    struct row {
        child_view view;
        std::shared_ptr<child> handle;
    };
    std::vector<row> rows;
    bool stopping = false, over = false;
    std::size_t total = 0;
    {
        std::lock_guard lock(mutex);
        auto views = decision.children();
        total = views.size();
        if (views.size() > max_children) views.resize(max_children);
        for (auto& v : views) {
            const auto e = entries.find(v.key);
            rows.push_back({std::move(v), e == entries.end() ? nullptr : e->second.handle});
        }
        stopping = decision.stopping();
        over = ended || decision.finished();
    }
    const auto now = self->rt().now();
    node["state"] = over ? "stopped" : stopping ? "stopping" : "running";
    node["strategy"] = options.rules.dynamic ? "dynamic" : std::string(to_string(options.rules.how));
    node["uptime_ms"] = over ? 0 : ms_between(started_at, now);
    auto& list = node["children"] = json::array();
    for (auto& r : rows) {
        const auto& v = r.view;
        json one{{"id", v.id},
                 {"kind", v.kind},
                 {"state", std::string(to_string(v.state))},
                 {"restart", std::string(to_string(v.restart))},
                 {"restarts", v.restarts},
                 {"incarnation", v.incarnation},
                 {"last_exit", v.last_exit ? reason_json(*v.last_exit) : json()},
                 {"uptime_ms", v.state == child_state::running ? ms_between(v.running_since, now) : 0},
                 {"children", json::array()}};
        if (r.handle) {
            try {
                r.handle->describe(one);
            } catch (...) {  // T1: a tree without one child's extras is still a tree
            }
        }
        list.push_back(std::move(one));
    }
    if (total > rows.size()) node["omitted"] = total - rows.size();
}

json supervisor::tree(std::size_t max_children) const {
    json node{{"id", impl_->id}, {"kind", "supervisor"}, {"restarts", 0}, {"incarnation", 1}, {"last_exit", json()}};
    impl_->describe(node, max_children);
    return node;
}

child_spec actor_child(std::string id, std::string kind, unique_function<result<actor_ref>(const child_context&)> factory) {
    child_spec spec;
    spec.id = std::move(id);
    spec.kind = std::move(kind);
    spec.start = [factory = std::move(factory)](child_context ctx) mutable {
        auto made = factory(ctx);
        if (!made) return ctx.failed(std::move(made.error()));
        if (auto* names = ctx.names())
            if (auto added = names->add(ctx.id(), *made); !added) return ctx.failed(std::move(added.error()));
        auto handle = std::make_shared<actor_handle>(*made);
        ctx.attach(handle);
        (*made)->start(std::make_unique<child_lifecycle>(ctx, handle));
    };
    return spec;
}

child_spec supervisor_child(std::string id, std::function<supervisor_options()> options,
                            std::function<std::vector<child_spec>()> children, std::function<void(ref<supervisor>)> announce) {
    child_spec spec;
    spec.id = std::move(id);
    spec.kind = "supervisor";
    spec.shutdown = shutdown_policy::infinity();
    spec.start = [options = std::move(options), children = std::move(children), announce = std::move(announce)](child_context ctx) {
        ctx.start_supervisor(options(), children ? children() : std::vector<child_spec>{}, announce);
    };
    return spec;
}

void child_context::start_supervisor(supervisor_options options, std::vector<child_spec> children,
                                     const std::function<void(ref<supervisor>)>& announce) const {
    const auto& parent = *owner_->impl_;
    if (!options.reports) options.reports = parent.options.reports;
    if (!options.names) options.names = parent.options.names;
    auto made = supervisor::impl::make(rt(), id(), parent.path + "/" + id(), std::move(options), std::move(children), {});
    auto handle = std::make_shared<supervisor_handle>(made);
    attach(handle);
    if (announce) announce(made);
    made->actor::start(std::make_unique<child_lifecycle>(*this, handle));
}

}  // namespace holdfast::supervise
