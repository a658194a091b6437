#include "kernel/plugins/handover.hpp"

#include "kernel/plugins/abi_errors.hpp"

namespace holdfast::plugins {

result<std::string> export_state(const hf_ui& ui, void* self) {
    if (!ui.export_state) return fail(errc::unavailable, "it has no state to hand over");
    struct buffer {
        hf_buf buf{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
        ~buffer() {
            if (buf.release) buf.release(&buf);
        }
    } out;
    hf_error err = empty_hf_error();
    if (const auto rc = ui.export_state(self, &out.buf, &err); rc != HF_OK) return tl::unexpected<error>(from_abi(rc, &err));
    return std::string(static_cast<const char*>(out.buf.data), out.buf.length);
}

result<void> import_state(const hf_ui& ui, void* self, const std::string& state) {
    hf_error err = empty_hf_error();
    if (!ui.import_state || ui.import_state(self, as_bytes(state), &err) == HF_OK) return {};
    return fail(errc::plugin_failed, std::string("it cannot take over: ") + err.message);
}

}  // namespace holdfast::plugins
