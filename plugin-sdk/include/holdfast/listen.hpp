#pragma once
// Listening sockets that outlive the plugin (hf.listen/1).
#include <cstdint>
#include <string_view>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/listen.h"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

class listeners {
  public:
    listeners(const hf_host* host, const hf_listen* table) : host_(host), table_(table) {}

    /// [any & created..active] A descriptor to accept from, non-blocking; the caller closes it. See hf_listen.open.
    /// Throws plugin_error, with a sentence that names the address and what to do.
    [[nodiscard]] int open(std::string_view address, std::uint16_t port) const {
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.listen/1");
        std::int32_t fd = -1;
        hf_error err = empty_error();
        check(table_->open(host_->ctx, str(address), port, &fd, &err), err);
        return fd;
    }

  private:
    const hf_host* host_;
    const hf_listen* table_;
};

}  // namespace holdfast::sdk
