"""One sentence for each goal that is missed, by the key of its row in table.py. Printed only while the goal is missed."""

BY_NAME = (
    "publishing by name takes a hash, a shard's lock and two reference counts for each event: in a profile the look-up costs about as much as the appending itself "
    "(12 % and 14 % of the samples; 38 % are the benchmark's pool waiting for work). {more} Sessions, which publish the most, hold a topic handle."
)

REASONS = {
    "bus_1_1_holdfast": BY_NAME.format(more="With a window of 100, where the reader takes whole batches, the same publisher is faster (W1 in full)."),
    "bus_1_100_holdfast": BY_NAME.format(more=""),
    "bus_1000_1_holdfast": BY_NAME.format(more="With a thousand topics it also suffers from what is said of the handles."),
    "bus_1_1_holdfast_handle": "runs of the same program lie far apart (see the earlier runs): publisher and reader share a few cache lines, so that the figure depends on where the two "
    "threads run and on what else does. CPU per delivery (W1 in full) beats the peer by more than the rate does.",
    "bus_1000_1_holdfast_handle": "a thousand messages stay below the ring of 1,024 events, so no event's memory is ever used again: each takes about 250 fresh bytes (malloc and page "
    "faults show up in a profile), and with a thousand logs a reader finds one or two events each time it looks. Events allocated by the chunk, without a count of their own, would help both; not done.",
    "isolated_call": "a round trip is two messages and two changes of thread; runs of the same program lie between 3.5 µs (both processes on one core) and 10 µs (a core each, both "
    "of which the machine puts to sleep in between). Shared memory with a short spin would be faster, and is not worth trusting the other side with.",
    "restart_flat": "the restart window is a ring of stamps with the same cost for every restart; the difference is that of the two levels described under Method, on a machine that was not quiet.",
    "session_idle": "the allocator hands out some 3 KB beside the text of the messages (memory_test); its supervisor's record is about 1 KB more. The rest is read as "
    "what streaming and committing leave behind: pages with holes between what lives on.",
    "session_restored": "see the session after four turns.",
    "cold_start_tool": "plugins load side by side now, but verifying and loading six of them takes about 45 ms of two busy cores (log of a start: verified after 10 to 45 ms, each loaded 2 to 20 ms "
    "later), and only then is the MCP server started and its era found out, while the web interface is loaded beside it.",
    "w3_bare_start": "a supervised start is three messages between caller, supervisor and child, and a record that allows a restart; what is gained by cheaper messages is spent there.",
    "w4_one_way_1": "with two free cores, producer and consumer fight for the mailbox's cache line and the consumer frees what the other thread allocated; when they share a core "
    "the same program reaches 10 M/s. Messages here are bounded and counted, the peer's queue is not.",
    "w5_os_child_start_to_echo_ns_p99": "both wait for exec of `cat` and for the scheduler on two busy cores; the p99 is that of the machine, not of the parent.",
}
REASONS["w3_bare_cpu"] = REASONS["w3_bare_start"]
REASONS["w5_os_child_kill_to_echo_ns_p50"] = "level with the peer within the spread of the runs: nearly all of it is the kernel ending one process and executing another."
for _what in ("start_to_echo", "kill_to_echo", "kill_to_detect"):
    REASONS[f"w5_os_child_{_what}_ns_p99"] = REASONS["w5_os_child_start_to_echo_ns_p99"]
