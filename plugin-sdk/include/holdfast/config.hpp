#pragma once
// The instance's settings and data directory (hf.config/1).
#include <string>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/config.h"
#include "holdfast/json.hpp"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

class config {
  public:
    config(const hf_host* host, const hf_config* table) : host_(host), table_(table) {}

    /// [any] The resolved settings object, as given to the constructor. Throws plugin_error.
    std::string settings() const { return ask(need()->settings); }
    /// [any] The directory of this instance, created on first use. Throws plugin_error.
    std::string data_dir() const { return json_text(ask(need()->data_dir), "path"); }

  private:
    const hf_config* need() const {
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.config/1");
        return table_;
    }
    std::string ask(std::int32_t (*f)(void*, hf_buf*, hf_error*)) const {
        buffer out;
        hf_error err = empty_error();
        check(f(host_->ctx, out.out(), &err), err);
        return std::string(out.text());
    }
    const hf_host* host_;
    const hf_config* table_;
};

}  // namespace holdfast::sdk
