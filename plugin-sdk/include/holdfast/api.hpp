#pragma once
// The host's one API (hf.api/1): what HTTP, WebSocket and the CLI call.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/api.h"
#include "holdfast/json.hpp"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

/// On failure `result_json` is the uniform error object, or empty when the host refused the call before it began.
using api_done = std::function<void(const status&, std::string_view result_json)>;

struct api_options {
    std::string_view identity_json;           ///< {"user","role","ui"}: on whose behalf; empty = the plugin itself
    std::chrono::milliseconds timeout{0};     ///< 0 = none
    /// Takes the pieces of a method that streams: [any thread] one at a time, before `done`. Empty: such methods refuse the call.
    std::function<void(std::string_view)> on_chunk;
};

/// [any & active]
class api {
  public:
    api(const hf_host* host, const hf_api* table) : host_(host), table_(table) {}

    /// Calls `done` exactly once, on any thread, perhaps before this returns. The returned id names the call in cancel().
    std::uint64_t call(std::string_view method, std::string_view params_json, api_done done, api_options options = {}) const {
        const std::uint64_t id = next_id();
        if (!table_) {
            done({HF_E_UNSUPPORTED, "the host offers no hf.api/1"}, {});
            return id;
        }
        std::string request = "{\"params\":";
        request += params_json.empty() ? "{}" : params_json;
        if (!options.identity_json.empty()) request.append(",\"identity\":").append(options.identity_json);
        request += '}';
        auto pending = std::make_unique<record>(record{std::move(done), std::move(options.on_chunk)});
        hf_call c{};
        c.size = sizeof c;
        c.id = id;
        if (options.timeout.count() > 0) c.deadline_ns = to_ns(std::chrono::steady_clock::now() + options.timeout);
        c.method = str(method);
        c.request = bytes(request);
        c.ctx = pending.get();
        if (pending->chunk) c.on_chunk = &on_chunk;
        c.on_done = &on_done;
        hf_error err = empty_error();
        record* const lent = pending.release();  // on_done frees it, perhaps before submit returns
        const std::int32_t code = table_->submit(host_->ctx, &c, &err);
        if (code == HF_PENDING) return id;
        pending.reset(lent);
        pending->done(code < 0 ? from_error(code, &err) : status{}, {});
        return id;
    }
    void cancel(std::uint64_t id) const {
        if (table_) table_->cancel(host_->ctx, id);
    }
    /// The method table, an OpenAPI 3.1 document. Throws plugin_error.
    std::string describe() const {
        buffer out;
        hf_error err = empty_error();
        check(need()->describe(host_->ctx, out.out(), &err), err);
        return std::string(out.text());
    }
    /// JSON {"user","role"} behind a bearer token. Throws plugin_error (HF_E_AUTH: refused).
    std::string authenticate(std::string_view token) const {
        buffer out;
        hf_error err = empty_error();
        check(need()->authenticate(host_->ctx, str(token), out.out(), &err), err);
        return std::string(out.text());
    }

  private:
    struct record {
        api_done done;
        std::function<void(std::string_view)> chunk;
    };
    static std::uint64_t next_id() {
        static std::atomic<std::uint64_t> last{0};
        return ++last;
    }
    static void on_chunk(void* ctx, std::uint64_t, hf_bytes chunk) noexcept {
        guard(nullptr, [&] {
            const record& r = *static_cast<record*>(ctx);
            if (r.chunk) r.chunk(view(chunk));
        });
    }
    static void on_done(void* ctx, std::uint64_t, const hf_error* err, hf_bytes result) noexcept {
        const std::unique_ptr<record> r(static_cast<record*>(ctx));
        guard(nullptr, [&] { r->done(from_error(err), view(result)); });
    }
    const hf_api* need() const {
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.api/1");
        return table_;
    }
    const hf_host* host_;
    const hf_api* table_;
};

}  // namespace holdfast::sdk
