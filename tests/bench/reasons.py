"""One sentence for each goal that is missed, by the key of its row in table.py. Printed only while the goal is missed."""

BY_NAME = (
    "publishing by name costs a hash, a shard's lock and two reference counts for each event, which makes the publisher slower than the "
    "reader; the reader then waits at the newest event all the time and both cores fight for the same lines. {more} Sessions, which "
    "publish the most, hold a topic handle."
)

REASONS = {
    "bus_1_1_holdfast": BY_NAME.format(more="With a window of 100, where the reader takes whole batches, the same publisher is faster (W1 in full)."),
    "bus_1_100_holdfast": BY_NAME.format(more=""),
    "bus_1000_1_holdfast": BY_NAME.format(more="With a thousand topics it also suffers from what is said of the handles."),
    "bus_1000_1_holdfast_handle": "repetitions of the same program lie between 2.2 and 7.5 M/s: when the publisher stays ahead, a reader finds many events at once; when it does not, "
    "every event is fetched alone from the other core's cache, for each of a thousand logs. CPU per delivery beats the peer by more than the rate does (W1 in full).",
    "restart_flat": "the restart window is a ring of stamps with the same cost for every restart; the difference is that of the two levels described under Method, on a machine that was not quiet.",
    "session_idle": "the event bus keeps the last 1,024 events of every session's topic for those who attach again, word by word as they were streamed; that is most of it after "
    "four answers (compare the restored session), and nothing trims the topic of a session that has come to rest.",
    "session_restored": "5.2 KB are the messages and about 1.5 KiB the actor, its mailbox and its record in the supervisor (W3 bare); the rest has not been broken down yet: "
    "the session's topic log, its several deques and maps, its entry in the directory and what reading its journal leaves in the heap are the candidates.",
    "session_hibernated": "the actor is gone, but its topic on the event bus is not trimmed when a session hibernates (bus::trim_topic exists and is not called), so that "
    "its streamed events stay in memory; the goal cannot be reached before that, and then what is left is the directory's entry and an empty topic log.",
    "cold_start_tool": "the store creates its database file and waits for the disk before any other plugin is loaded, the transports and the model are loaded after it, and only then is the "
    "MCP server's process started and its protocol era found out; these steps follow one another.",
    "w3_bare_start": "a supervised start is three messages between caller, supervisor and child, and a record that allows a restart; what is gained by cheaper messages is spent there.",
    "w4_one_way_1": "with two free cores, producer and consumer fight for the mailbox's cache line and the consumer frees what the other thread allocated; when they share a core "
    "the same program reaches 10 M/s. Messages here are bounded and counted, the peer's queue is not.",
    "w5_os_child_start_to_echo_ns_p99": "both wait for exec of `cat` and for the scheduler on two busy cores; the p99 is that of the machine, not of the parent.",
}
REASONS["w3_bare_cpu"] = REASONS["w3_bare_start"]
for _what in ("start_to_echo", "kill_to_echo", "kill_to_detect"):
    REASONS[f"w5_os_child_{_what}_ns_p99"] = REASONS["w5_os_child_start_to_echo_ns_p99"]
