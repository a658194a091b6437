#pragma once
// The one catalogue everybody reads: put together from the servers' parts, swapped whole. [any thread]
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "kernel/supervise/runtime.hpp"
#include "servers/server_record.hpp"

namespace holdfast::servers {

class catalogue_board : public std::enable_shared_from_this<catalogue_board> {
  public:
    /// `records`: those that exist now, by name.
    catalogue_board(supervise::runtime& rt, std::function<std::vector<std::shared_ptr<server_record>>()> records)
        : rt_(rt), records_(std::move(records)), now_(std::make_shared<catalogue>()) {}

    std::shared_ptr<const catalogue> read() const;
    /// A part changed. The swap happens soon, once for many changes: a thousand servers failing together cost a few swaps.
    void changed();
    void on_change(std::function<void()> f);
    void end();  ///< after it returns the functions given are not called any more

  private:
    void rebuild();

    supervise::runtime& rt_;
    std::mutex building_;  // one rebuild at a time; records_ and listener_ are called under it
    std::function<std::vector<std::shared_ptr<server_record>>()> records_;
    std::function<void()> listener_;
    std::uint64_t version_ = 0;  // Owner: building_
    std::atomic<bool> dirty_{false};
    mutable std::mutex mutex_;   // leaf: now_
    std::shared_ptr<const catalogue> now_;
};

}  // namespace holdfast::servers
