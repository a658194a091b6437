#pragma once
// One connection of a server and the protocol that is spoken on it. Owner: the server's actor; second owner of the
// shared_ptr: a feed under way, whose actions may make the actor let go of the link.
#include <memory>
#include <optional>

#include "kernel/supervise/runtime.hpp"
#include "mcp/client_machine.hpp"
#include "servers/connection.hpp"
#include "servers/server_spec.hpp"

namespace holdfast::servers {

struct link {
    link(mcp::client_options o, std::shared_ptr<const server_spec> s) : machine(std::move(o)), spec(std::move(s)) {}

    std::uint64_t id = 0;                ///< the connection's, also after its end; 0: it never opened
    std::unique_ptr<connection> wire;    ///< null: closed or lost
    mcp::client_machine machine;
    const std::shared_ptr<const server_spec> spec;  ///< it was made from. Second owners: see server_record
    std::optional<std::int64_t> pid;
    std::optional<steady_time> armed;    ///< for which of the machine's deadlines
    supervise::timer_handle timer;
    const hf_transport* table = nullptr; ///< with `instance`: which generation of the transport carries it
    void* instance = nullptr;
    std::uint64_t greeting = 0;          ///< the probe that is its init message, while it is under way
    bool greeted = false;                ///< … and was answered as it should
    std::optional<mcp::out::ready> welcome;  ///< what it offers, until it is judged
    bool looked_again = false;           ///< at its tools, after the greeting
    bool ended_normally = false;         ///< by itself, and in order
    bool draining = false;               ///< another one serves; this stays for the calls that were sent on it
    supervise::timer_handle deadline;    ///< of draining

    /// [wire != null] The wire's lease keeps the generation, so nothing else can have got its addresses.
    bool is_through(const plugins::bound<hf_transport>& t) const { return t.table == table && t.self == instance; }
};

}  // namespace holdfast::servers
