#include "kernel/plugins/detail/tables.hpp"

#include <cmath>
#include <cstring>

#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"
#include "holdfast/ext/transport.h"
#include "holdfast/ext/ui.h"
#include "kernel/plugins/abi_errors.hpp"

namespace holdfast::plugins::detail {
namespace {

constexpr std::uint32_t max_table = 64u << 10;

std::int32_t missing(hf_error* err) { return fill(err, {errc::plugin_failed, "the plugin does not offer this function"}), HF_E_UNSUPPORTED; }

const hf_llm llm_stub{sizeof(hf_llm), 0, [](void*, const hf_call*, hf_error* e) { return missing(e); }, [](void*, uint64_t) {}};
const hf_store store_stub{sizeof(hf_store), 0, [](void*, const hf_call*, hf_error* e) { return missing(e); }, [](void*, uint64_t) {}};
const hf_transport transport_stub{sizeof(hf_transport), 0,
                                  [](void*, uint64_t, hf_bytes, const hf_transport_sink*, hf_error* e) { return missing(e); },
                                  [](void*, uint64_t, hf_bytes, hf_error* e) { return missing(e); }, [](void*, uint64_t, hf_bytes) {},
                                  [](void*, uint64_t, int64_t) {}};
// A breaker without permit never refuses; one without state is closed. Both are what "no breaker" means.
const hf_breaker breaker_stub{sizeof(hf_breaker), 0,
                              [](void*, hf_bytes, uint64_t, int64_t, void**, hf_error* e) { return missing(e); }, [](void*, void*) {},
                              [](void*, void*, int64_t, hf_permit* out) { out->granted = 1, out->generation = 0, out->retry_after_ns = 0; },
                              [](void*, void*, uint64_t, int32_t, int64_t, int64_t) {},
                              [](void*, void*, int64_t, hf_breaker_state* out) { out->state = HF_BREAKER_CLOSED; },
                              [](void*, void*, int32_t, int64_t) {}};
const hf_health health_stub{sizeof(hf_health), 0,
                            [](void*, hf_bytes, uint64_t, int64_t, void**, hf_error* e) { return missing(e); }, [](void*, void*) {},
                            [](void*, void*, const hf_health_sample*) {},
                            [](void*, void*, int64_t now, hf_health_verdict* out) {
                                out->state = HF_HEALTH_UNKNOWN;
                                out->next_check_ns = now + 30'000'000'000;
                                out->probe_timeout_ns = 5'000'000'000;
                            },
                            [](void*, void*, int64_t) {}};
const hf_ui ui_stub{sizeof(hf_ui), 0, [](void*, hf_buf*, hf_error* e) { return missing(e); }, [](void*, hf_buf*, hf_error* e) { return missing(e); },
                    [](void*, hf_bytes, hf_error* e) { return missing(e); }};
const hf_instance instance_stub{sizeof(hf_instance), 0, nullptr, [](void*, hf_error*) -> int32_t { return HF_OK; },
                                [](void*, hf_error*) -> int32_t { return HF_OK; }, [](void*, int64_t, hf_error*) -> int32_t { return HF_OK; },
                                [](void*, hf_error*) -> int32_t { return HF_OK; }, [](void*) {},
                                [](void*, hf_str) -> const void* { return nullptr; }};
const hf_entry entry_stub{sizeof(hf_entry), HF_ABI_VERSION, [](hf_error*) -> int32_t { return HF_OK; }, [] {}, nullptr};

struct known {
    const char* id;
    const void* stub;
    std::size_t size;
};
const known all[] = {{HF_EXT_LLM, &llm_stub, sizeof(hf_llm)},             {HF_EXT_STORE, &store_stub, sizeof(hf_store)},
                     {HF_EXT_TRANSPORT, &transport_stub, sizeof(hf_transport)}, {HF_EXT_BREAKER, &breaker_stub, sizeof(hf_breaker)},
                     {HF_EXT_HEALTH, &health_stub, sizeof(hf_health)},    {HF_EXT_UI, &ui_stub, sizeof(hf_ui)}};

constexpr std::size_t head = 2 * sizeof(std::uint32_t);  // size and one more number: never a slot

/// Copies what the plugin has and the host knows; a slot that is absent or null gets the stub's.
bool complete(std::byte* to, const void* from, const void* stub, std::size_t size, std::string& why) {
    std::uint32_t theirs = 0;
    std::memcpy(&theirs, from, sizeof theirs);
    if (theirs < head || theirs > max_table) return why = "its size field says " + std::to_string(theirs) + " bytes", false;
    std::memcpy(to, stub, size);
    const std::size_t n = std::min<std::size_t>(theirs, size);
    std::memcpy(to, from, head);
    for (std::size_t at = head; at + sizeof(void*) <= n; at += sizeof(void*)) {
        void* slot = nullptr;
        std::memcpy(&slot, static_cast<const std::byte*>(from) + at, sizeof slot);
        if (slot != nullptr) std::memcpy(to + at, &slot, sizeof slot);
    }
    const auto ours = static_cast<std::uint32_t>(size);
    std::memcpy(to, &ours, sizeof ours);
    return true;
}

}  // namespace

std::unique_ptr<std::byte[]> complete_ext(std::string_view ext, const void* table, std::string& why) {
    for (const auto& k : all) {
        if (ext != k.id) continue;
        // operator new[] aligns for every table: they hold pointers and 32-bit numbers.
        auto out = std::make_unique<std::byte[]>(k.size);
        if (!complete(out.get(), table, k.stub, k.size, why)) return nullptr;
        return out;
    }
    why = "this host does not know it";
    return nullptr;
}

result<hf_entry> complete_entry(const hf_entry* from) {
    hf_entry out;
    std::string why;
    if (!complete(reinterpret_cast<std::byte*>(&out), from, &entry_stub, sizeof out, why)) return fail(errc::plugin_refused, "hf_plugin_entry_v1: " + why);
    if (out.create == nullptr) return fail(errc::plugin_refused, "hf_plugin_entry_v1 has no create function");
    return out;
}

result<hf_instance> complete_instance(const hf_instance* from) {
    if (from == nullptr) return fail(errc::plugin_failed, "create answered OK without an instance");
    hf_instance out;
    std::string why;
    if (!complete(reinterpret_cast<std::byte*>(&out), from, &instance_stub, sizeof out, why)) return fail(errc::plugin_failed, "the instance's table: " + why);
    return out;
}

const std::vector<std::string>& known_interfaces() {
    static const std::vector<std::string> ids = [] {
        std::vector<std::string> out;
        for (const auto& k : all) out.emplace_back(k.id);
        return out;
    }();
    return ids;
}

}  // namespace holdfast::plugins::detail
