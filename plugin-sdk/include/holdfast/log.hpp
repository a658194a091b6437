#pragma once
// Structured log lines (hf.log/1).
#include <initializer_list>
#include <string_view>
#include <type_traits>

#include "holdfast/ext/log.h"
#include "holdfast/json.hpp"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

/// [any] Never put secrets or prompt text into a line. Lines below the host's level cost one load.
class log {
  public:
    log(const hf_host* host, const hf_log* table) : host_(host), table_(table) {}

    bool enabled(std::int32_t level) const noexcept { return table_ && host_->log_level && level >= *host_->log_level; }
    void write(std::int32_t level, std::string_view message, std::string_view fields_json = {}) const noexcept {
        if (enabled(level)) table_->write(host_->ctx, level, str(message), bytes(fields_json));
    }
    /// `log.info("listening", {{"port", port}})`
    void write(std::int32_t level, std::string_view message, std::initializer_list<field> fields) const {
        if (enabled(level)) write(level, message, json_object(fields));
    }
    void trace(std::string_view m, std::initializer_list<field> f = {}) const { write(HF_LOG_TRACE, m, f); }
    void debug(std::string_view m, std::initializer_list<field> f = {}) const { write(HF_LOG_DEBUG, m, f); }
    void info(std::string_view m, std::initializer_list<field> f = {}) const { write(HF_LOG_INFO, m, f); }
    void warn(std::string_view m, std::initializer_list<field> f = {}) const { write(HF_LOG_WARN, m, f); }
    void error(std::string_view m, std::initializer_list<field> f = {}) const { write(HF_LOG_ERROR, m, f); }
    void critical(std::string_view m, std::initializer_list<field> f = {}) const { write(HF_LOG_CRITICAL, m, f); }

  private:
    const hf_host* host_;
    const hf_log* table_;
};

}  // namespace holdfast::sdk
