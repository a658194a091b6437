#!/usr/bin/env python3
"""Joins the RESULT lines that run.sh collected into one table; with --out also a report.

usage: table.py RAW_DIR [--out FILE]
RAW_DIR holds ROUND.SIDE.PROGRAM.VARIANT.txt (SIDE ours or peer; VARIANT spin or nospin for Erlang, else x), about.txt, notes.txt.
A figure is the median over the rounds of the median within a round. CPU figures of Erlang come from the rounds without spinning.
"""
import argparse
import pathlib
import re
import statistics
import sys

# Why a goal is missed, by the figure's key. Kept here so that every new report says it again, or stops when the goal is met.
from reasons import REASONS

MS, US, KB = 1e6, 1e3, 1024.0


class Raw:
    def __init__(self, folder):
        self.rows = []  # (round, program, variant, name, fields)
        self.loads = []
        for file in sorted(pathlib.Path(folder).glob("*.*.*.*.txt")):
            number, _side, program, variant, _ = file.name.split(".")
            for line in file.read_text(errors="replace").splitlines():
                words = line.split()
                if len(words) == 2 and words[0] == "LOAD":
                    self.loads.append(float(words[1]))
                if len(words) < 2 or words[0] != "RESULT":
                    continue
                fields = dict(w.split("=", 1) for w in words[1:] if "=" in w)
                name = " ".join(w for w in words[1:] if "=" not in w)
                self.rows.append((int(number), program, variant, name, fields))
        self.about = self._pairs(folder, "about.txt")
        notes = pathlib.Path(folder) / "notes.txt"
        self.notes = list(dict.fromkeys(notes.read_text().splitlines())) if notes.exists() else []

    @staticmethod
    def _pairs(folder, name):
        file = pathlib.Path(folder) / name
        return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line) if file.exists() else {}

    def get(self, program, name, field, **where):
        """The median of medians, or None when nobody measured it."""
        cpu = "cpu" in field
        rounds = {}
        for number, p, variant, n, fields in self.rows:
            if p != program or n != name or field not in fields or (cpu and variant == "spin"):
                continue
            if all(fields.get(k) == str(v) for k, v in where.items()):
                rounds.setdefault(number, []).append(float(fields[field]))
        return statistics.median(statistics.median(v) for v in rounds.values()) if rounds else None


def text(value, unit):
    if value is None:
        return "not measured"
    if unit == "/s":
        return f"{value / 1e6:.2f} M/s" if value >= 1e6 else f"{value / 1e3:.0f} k/s"
    if unit == "B":
        return f"{value:.0f} B" if value < 1024 else f"{value / KB:.1f} KiB"
    if unit == "ns" and value >= MS:
        return f"{value / MS:.2f} ms"
    if unit == "ns" and value >= US:
        return f"{value / US:.1f} µs"
    if unit == "ns":
        return f"{value:.1f} ns"
    if unit == "ms":
        return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.2f} s"
    return f"{value:.2f}{unit}"


class Row:
    """goal: None, ("most", limit), ("times", factor): so many times better than the peer."""

    def __init__(self, key, figure, ours, unit, goal=None, peer=None, peer_name=""):
        self.key, self.figure, self.ours, self.unit, self.goal, self.peer, self.peer_name = key, figure, ours, unit, goal, peer, peer_name

    @property
    def ratio(self):
        """How many times better than the peer."""
        if not self.ours or not self.peer:
            return None
        return self.ours / self.peer if self.unit == "/s" else self.peer / self.ours

    @property
    def met(self):
        if self.goal is None or self.ours is None:
            return None
        kind, limit = self.goal
        if kind == "most":
            return self.ours <= limit
        return None if self.ratio is None else self.ratio >= limit

    def cells(self):
        goal = "" if self.goal is None else ("≤ " + text(self.goal[1], self.unit) if self.goal[0] == "most" else f"≥ {self.goal[1]:g}×")
        peer = f"{text(self.peer, self.unit)} ({self.peer_name})" if self.peer is not None else ""
        met = {True: "yes", False: "**no**", None: "" if self.goal is None else "not measured"}[self.met]
        ratio = "" if self.ratio is None else f"{self.ratio:.2g}×" if self.ratio < 10 else f"{self.ratio:.0f}×"
        return [self.figure, text(self.ours, self.unit), goal, peer, ratio, met]


def goals(raw):
    """The figures of "numbers to reach"."""
    rows = []
    call = lambda case: raw.get("plugin_call_bench", "call", "ns", case=case)
    raw_call = call("raw_function_pointer/real_time/threads:1")
    rows.append(Row("plugin_call", "plugin call, pinned and crash-marked", call("pinned_and_marked/real_time/threads:1"), "ns", ("most", 10), raw_call, "raw function pointer"))
    isolated = lambda case, field="p50_ns": raw.get("isolation_bench", "isolation", field, case=case)
    go_plugin = lambda case, field="p50_ns": raw.get("goplugin", "isolation", field, case=case)
    rows.append(Row("isolated_call", "isolated plugin, round trip of a synchronous call, p50", isolated("roundtrip"), "ns", ("most", 10 * US), go_plugin("roundtrip"), "go-plugin, net/rpc"))
    rows.append(Row("isolated_death", "isolated plugin, SIGSEGV → next call answered, p50", isolated("death"), "ns", ("most", 20 * MS), go_plugin("death"), "go-plugin"))
    otp = lambda case, field="p50": raw.get("supervisor_restart", "restart_ns", field, case=case)
    own = lambda case, field="p50": raw.get("runtime_bench", "restart_ns", field, case=case)
    rows.append(Row("restart_actor", "actor restart, exception → replacement answers, p50", own("one_for_one_throw_burst"), "ns", ("most", 5 * US), otp("one_for_one_exit_short_history"), "OTP, short history"))
    rows.append(Row("restart_thread", "thread restart, likewise, p50", own("thread_throw_burst"), "ns", ("most", 100 * US), otp("one_for_one_exit_short_history"), "OTP process, short history"))
    first = raw.get("runtime_bench", "restart_history", "first_tenth_p10", case="one_for_one_throw_burst_w3600")
    last = raw.get("runtime_bench", "restart_history", "last_tenth_p10", case="one_for_one_throw_burst_w3600")
    short, long = otp("one_for_one_exit_short_history"), otp("one_for_one_exit_period3600s")
    rows.append(Row("restart_flat", "flat in history: last tenth of 100,000 restarts within one window ÷ first tenth, p10", last / first if first and last else None, "×", ("most", 1.25),
                    long / short if short and long else None, "OTP, p50 of 5,000 ÷ of 50"))
    phoenix = raw.get("pubsub_local", "pubsub", "delivered_per_s_median", mode="phx_local", topics=1, subs_per_topic=1, window=0) is not None
    peer_mode, peer_name = ("phx_local", "Phoenix.PubSub") if phoenix else ("reg", "Elixir Registry")
    for topics, subs, factor in ((1, 1, 8), (1, 100, 20), (1000, 1, 8)):
        peer = raw.get("pubsub_local", "pubsub", "delivered_per_s_median", mode=peer_mode, topics=topics, subs_per_topic=subs, window=0)
        what = f"event bus, {topics} topics" if topics > 1 else f"event bus, 1 → {subs}"
        for mode, how in (("holdfast_handle", "by topic handle"), ("holdfast", "by name")):
            ours = raw.get("events_bench", "pubsub", "delivered_per_s_median", mode=mode, topics=topics, subs_per_topic=subs, window=0)
            rows.append(Row(f"bus_{topics}_{subs}_{mode}", f"{what}, {how}", ours, "/s", ("times", factor), peer, peer_name))
    session = lambda mode: raw.get("host_bench", "host_session_memory", "bytes_per", mode=mode)
    otp_session = lambda mode: raw.get("sessions", "session", "rss_B_per", mode=mode, n=10000)
    rows.append(Row("session_actor", "idle actor with 5 KB of state (runtime alone, 100,000 of them)", raw.get("runtime_bench", "session_memory", "rss_bytes_per", mode="state", n=100000), "B", ("most", 8 * KB), otp_session("state"), "OTP"))
    rows.append(Row("session_idle", "idle session of the host, at rest after four turns", session("idle"), "B", ("most", 8 * KB), otp_session("state"), "OTP, state only"))
    rows.append(Row("session_restored", "idle session of the host, at rest after it was restored from the store", session("restored"), "B", ("most", 8 * KB), otp_session("state"), "OTP, state only"))
    rows.append(Row("session_hibernated", "hibernated session, by the allocator's count", raw.get("session_heap", "session_heap", "bytes_per", mode="hibernated"), "B", ("most", 400), otp_session("hib"), "OTP"))
    host = lambda name: raw.get("host_bench", name, "p50_ms")
    rows.append(Row("cold_start", "cold start → the control socket answers", host("cold_start_to_host_info"), "ms", ("most", 50)))
    rows.append(Row("cold_start_tool", "cold start → first tool call answered (the MCP server is started meanwhile)", host("cold_start_to_tool_answer"), "ms", ("most", 50)))
    rows.append(Row("chat", "`chat -m` on a running host: start of the program to its end", host("chat_m_on_running_host"), "ms", ("most", 50)))
    rows.append(Row("upstream", "MCP server killed under load (8 clients) → calls answered again", host("upstream_killed_to_answered"), "ms", ("most", 1000)))
    rows.append(Row("upstream_again", "… killed again 300 ms later, and again", host("upstream_killed_repeatedly"), "ms", ("most", 1000)))
    rows.append(Row("upstream_worst", "… worst of all first deaths", raw.get("host_bench", "upstream_killed_to_answered", "max_ms"), "ms", ("most", 1000)))
    rows.append(Row("host_killed", "host killed (-9) → 20 sessions back", host("host_killed_to_sessions_back"), "ms", ("most", 1000)))
    rows.append(Row("host_killed_tool", "host killed (-9) → a tool call is answered", host("host_killed_to_tool_answer"), "ms", ("most", 1000)))
    return rows


def bus(raw):
    rows = []
    for topics, subs in ((1, 1), (1, 10), (1, 100), (1, 1000), (1000, 1)):
        for window in (0, 100):
            where = dict(topics=topics, subs_per_topic=subs, window=window)
            cells = [f"{topics} × {subs}", str(window)]
            for program, mode in (("events_bench", "holdfast_handle"), ("events_bench", "holdfast"), ("pubsub_local", "phx_local"), ("pubsub_local", "reg")):
                rate = raw.get(program, "pubsub", "delivered_per_s_median", mode=mode, **where)
                cpu = raw.get(program, "pubsub", "cpu_ns_per_delivery", mode=mode, **where)
                cells.append("" if rate is None else f"{text(rate, '/s')}" + (f" ({cpu:.0f})" if cpu is not None else ""))
            rows.append(cells)
    return rows


def others(raw):
    """W2 to W6 in full: beaten or not, without a number to reach (a breaker's goal is to be faster than the fastest)."""
    rows = []
    own = lambda name, field, **w: raw.get("runtime_bench", name, field, **w)
    beat = ("times", 1)
    lat = lambda mode: raw.get("pubsub_local", "pubsub_latency_ns", "p50", mode=mode)
    rows.append(Row("bus_latency", "W1 publish → receive, one worker, p50", raw.get("events_bench", "pubsub_latency_ns", "p50", mode="holdfast"), "ns", beat, lat("phx_local") or lat("reg"), "Phoenix.PubSub" if lat("phx_local") else "Elixir Registry"))
    for case, theirs, what in (("one_for_one_throw_burst", "one_for_one_exit_period1s", "W2 actor, burst"), ("one_for_one_throw_burst_w3600", "one_for_one_exit_period3600s", "W2 actor, window of 3,600 s"),
                               ("one_for_all_10", "one_for_all_10_exit", "W2 one_for_all, 10 children"), ("dynamic_1", "dynamic_1_children_exit", "W2 dynamic, 1 child"),
                               ("dynamic_10000", "dynamic_10000_children_exit", "W2 dynamic, 10,000 children")):
        for q in ("p50", "p99"):
            rows.append(Row(f"w2_{case}_{q}", f"{what}, {q}", own("restart_ns", q, case=case), "ns", beat, raw.get("supervisor_restart", "restart_ns", q, case=theirs), "OTP"))
        rows.append(Row(f"w2_{case}_cpu", f"{what}, CPU for each crash", own("restart_ns", "cpu_ns", case=case), "ns", beat, raw.get("supervisor_restart", "restart_ns", "cpu_ns_per_crash", case=theirs), "OTP"))
    for mode in ("bare", "state"):
        w = dict(mode=mode, n=10000)
        theirs = lambda name, field: raw.get("sessions", name, field, **w)
        rows.append(Row(f"w3_{mode}_mem", f"W3 {mode}, resident memory for each", own("session_memory", "rss_bytes_per", **w), "B", beat, theirs("session", "rss_B_per"), "OTP"))
        rows.append(Row(f"w3_{mode}_start", f"W3 {mode}, starts", own("session_start", "per_s", **w), "/s", beat, theirs("session", "start_per_s"), "OTP"))
        rows.append(Row(f"w3_{mode}_cpu", f"W3 {mode}, CPU for each start", own("session_start", "cpu_ns", **w), "ns", beat, theirs("session", "start_cpu_ns"), "OTP"))
        rows.append(Row(f"w3_{mode}_call", f"W3 {mode}, calls by name", own("session_call_by_name", "per_s", **w), "/s", beat, theirs("session", "named_call_per_s"), "OTP"))
        if mode == "state":
            rows.append(Row("w3_fan", "W3 state, fan-out with acknowledgement", own("session_fanout", "msg_per_s", **w), "/s", beat, theirs("session_fanout", "msg_per_s"), "OTP"))
        rows.append(Row(f"w3_{mode}_stop", f"W3 {mode}, stop all 10,000", own("session_stop_all", "ms", **w), "ms", beat, theirs("session_stop_all", "ms"), "OTP"))
    m = lambda name, field="median", **w: raw.get("messaging", name, field, **w)
    rows.append(Row("w4_call", "W4 call round trip, rate", own("call_round_trip", "per_s"), "/s", beat, m("genserver_call_per_s"), "GenServer"))
    rows.append(Row("w4_call_cpu", "W4 call round trip, CPU", own("call_round_trip", "cpu_ns"), "ns", beat, m("genserver_call_per_s", "cpu_ns_per_op"), "GenServer"))
    for q in ("p50", "p99"):
        rows.append(Row(f"w4_call_{q}", f"W4 call round trip, {q}", own("call_rtt_ns", q), "ns", beat, m("genserver_call_rtt_ns", q), "GenServer"))
    rows.append(Row("w4_ping", "W4 ping-pong", own("raw_ping_pong", "per_s"), "/s", beat, m("raw_pingpong_per_s"), "BEAM"))
    for k in (1, 2, 8):
        rows.append(Row(f"w4_one_way_{k}", f"W4 one-way, {k} producer{'s' * (k > 1)}", own("one_way", "per_s", producers=k), "/s", beat, m("oneway_per_s", producers=k), "BEAM"))
    rows.append(Row("w4_ring", "W4 ring of 1,000, hops", own("ring_1000 hops", "per_s"), "/s", beat, m("ring_1000_hops_per_s"), "BEAM"))
    for name, what in (("os_child_kill_to_detect_ns", "kill → noticed"), ("os_child_start_to_echo_ns", "start → echo"), ("os_child_kill_to_echo_ns", "kill → echo")):
        for q in ("p50", "p99"):
            rows.append(Row(f"w5_{name}_{q}", f"W5 child process, {what}, {q}", own(name, q), "ns", beat, raw.get("os_process", name, q), "BEAM port"))
    b = lambda case: raw.get("breaker_bench", "call", "ns", case=case)
    go = lambda case, t: raw.get("gobreaker", "breaker", "ns_per_call_median", case=case, threads=t)
    node = lambda impl, case: raw.get("node_breakers", "breaker", "ns_per_call_median", impl=impl, case=case)
    for t in (1, 2):
        rows.append(Row(f"w6_closed_{t}", f"W6 closed, success, {t} thread{'s' * (t > 1)}", b(f"breaker_closed_success/real_time/threads:{t}"), "ns", beat, go("closed_success", t), "gobreaker"))
        rows.append(Row(f"w6_open_{t}", f"W6 open, rejected, {t} thread{'s' * (t > 1)}", b(f"breaker_open_rejecting/real_time/threads:{t}"), "ns", beat, go("open_rejected", t), "gobreaker"))
    for impl in ("opossum", "cockatiel"):
        rows.append(Row(f"w6_closed_{impl}", "W6 closed, success, 1 thread", b("breaker_closed_success/real_time/threads:1"), "ns", beat, node(impl, "closed_success"), impl))
        rows.append(Row(f"w6_open_{impl}", "W6 open, rejected, 1 thread", b("breaker_open_rejecting/real_time/threads:1"), "ns", beat, node(impl, "open_rejected"), impl))
    rows.append(Row("w6_window", "W6 closed, success, breaker-window", b("breaker_window_closed_success"), "ns", beat, go("closed_success", 1), "gobreaker"))
    call = lambda case: raw.get("plugin_call_bench", "call", "ns", case=case)
    rows.append(Row("call_2", "plugin call, pinned and marked, 2 threads", call("pinned_and_marked/real_time/threads:2"), "ns"))
    rows.append(Row("call_lease", "plugin call, marked, with a lease", call("marked_with_a_lease"), "ns"))
    rows.append(Row("call_port", "asynchronous plugin call with JSON, whole round trip", call("call_port_round_trip"), "ns"))
    isolated = lambda case, field: raw.get("isolation_bench", "isolation", field, case=case)
    go_plugin = lambda case, field: raw.get("goplugin", "isolation", field, case=case)
    rows.append(Row("isolated_call_p99", "isolated plugin, round trip of a synchronous call, p99", isolated("roundtrip", "p99_ns"), "ns", beat, go_plugin("roundtrip", "p99_ns"), "go-plugin, net/rpc"))
    rows.append(Row("isolated_port", "isolated plugin, asynchronous call with JSON, whole round trip, p50", isolated("call", "p50_ns"), "ns"))
    rows.append(Row("isolated_mb", "isolated plugin, a message of 1 MB there and back, p50", isolated("mb", "p50_ns"), "ns", beat, go_plugin("mb", "p50_ns"), "go-plugin, net/rpc"))
    rows.append(Row("isolated_death_p99", "isolated plugin, SIGSEGV → next call answered, p99", isolated("death", "p99_ns"), "ns", beat, go_plugin("death", "p99_ns"), "go-plugin"))
    rows.append(Row("host_info_back", "host killed (-9) → the control socket answers", raw.get("host_bench", "host_killed_to_host_info", "p50_ms"), "ms"))
    for mode, what in (("at_rest_after_four_turns", "after four turns"), ("restored_from_the_store", "restored from the store")):
        rows.append(Row(f"session_heap_{mode}", f"session at rest, {what}, by the allocator's count, without its supervisor's record; 4,800 bytes are text", raw.get("session_heap", "session_heap", "bytes_per", mode=mode), "B"))
    rows.append(Row("session_pages_hibernated", "hibernated session of the host, growth of private pages (it fits into holes that the sessions before left)", raw.get("host_bench", "host_session_memory", "bytes_per", mode="hibernated"), "B"))
    rows.append(Row("session_replay", "idle session of the host straight after four turns, its events kept for replay", raw.get("host_bench", "host_session_memory", "bytes_per", mode="replay"), "B"))
    return rows


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


HEAD = ["figure", "ours", "goal", "peer", "ratio", "met?"]


def missed(rows):
    lines = []
    for r in rows:
        if r.met is False:
            lines.append(f"- **{r.figure}** ({text(r.ours, r.unit)}{', ' + r.cells()[4] if r.goal[0] == 'times' else ''}; goal {r.cells()[2]}): "
                         + REASONS.get(r.key, "no reason is written down yet: look into it and add it to `reasons.py`."))
    return lines


def report(raw):
    main, rest = goals(raw), others(raw)
    about = raw.about
    # Written by hand: what a reader has to know beside the newest run.
    beside = pathlib.Path(__file__).with_name("history.md")
    history = [beside.read_text(encoding="utf-8")] if beside.exists() else []
    versions = ", ".join(about[k] for k in ("ours", "elixir", "phoenix", "gobreaker", "goplugin", "node") if k in about)
    loads = f"{min(raw.loads):.1f} to {max(raw.loads):.1f}, median {statistics.median(raw.loads):.1f}" if raw.loads else "not noted"
    parts = ["# Measured figures", "", "Written by `tests/bench/run.sh --out tests/bench/RESULTS.md`; run it again rather than editing this.", "",
             f"- Machine: {about.get('machine', '?')}", f"- Date: {about.get('date', '?')}, commit {about.get('commit', '?')}", f"- Versions: {versions}",
             f"- Load average when a program was started: {loads}"]
    parts += [f"- {n}" for n in raw.notes]
    parts += ["", "## Method", "", METHOD.format(rounds=about.get("rounds", "?")), "", "## Numbers to reach", "", markdown(HEAD, [r.cells() for r in main]), "", ELSEWHERE, "",
              *history, "## Goals missed", ""]
    lines = missed(main) + missed(rest)
    parts += lines or ["None."]
    parts += ["", "## W1 in full: deliveries per second (CPU ns for each delivery)", "",
              markdown(["topics × subscribers", "window", "ours, by handle", "ours, by name", "Phoenix.PubSub local", "Elixir Registry"], bus(raw)), "",
              "## W2 to W6 and more: the goal is to beat the peer", "", markdown(HEAD, [r.cells() for r in rest]), ""]
    return "\n".join(parts)


METHOD = """Ours and the peers' programs ran alternately on the same machine, workload by workload, {rounds} rounds; each figure is the
median of the rounds. The ratio says how many times better ours is. Workloads W1 to W6: `peers/README.md` and the comments at the
head of each `*_bench.cpp`. Erlang ran with scheduler spinning off in odd rounds and on in even ones: rates and latencies are medians
over both, CPU figures come from the odd ones. Two cores are few: the peer's schedulers and our workers both have two threads, so
whatever else runs on the machine is felt by both; trust ratios more than absolute figures.

- W1: publisher and subscribers are tasks on a pool of two threads that belongs to the benchmark (it spins briefly before it sleeps, as
  Erlang's schedulers do), not the host's actor runtime; every subscriber checks the order of every event, an error voids the run. A
  payload is shared between subscribers here and copied to each by Erlang. Our ring is bounded and lossless: the publisher waits for
  the slowest subscriber; Erlang's mailboxes grow.
- W2: short history is a fresh OTP supervisor for every 50 crashes, the best case of OTP. Ours is the burst of 10,000,
  whose p50 moves between two levels (about 2.5 and 4.2 µs); growth is therefore read from p10.
- Sessions of the host: `host_bench.mjs` creates sessions through the control socket of the real program with the SQLite store, has the
  demonstration model answer four messages of 600 bytes in each (about 5 KB of messages), and divides the growth of private dirty
  memory by 1,000 sessions, after 1,500 others (they fill the topics that all sessions share). The host gives free memory
  back twice a minute. At rest: after `keep_events_s`, half a second here and a minute by default, a session packs its messages and gives back
  its events; a client that attaches later takes the snapshot instead of a replay. Growth of pages is
  too small by the holes that earlier sessions left and later ones fill (the restored and the hibernated ones) and too large by those they
  leave themselves (the one after four turns); so `tests/unit/sessions/memory_test.cpp` counts what the allocator hands out, in simulated time, for the
  same sessions without the plugins and the supervisor around them, and the hibernated one, of which nothing but that is left, is judged by it.
- Cold start: a new data directory every time, from the start of `holdfast run` until the answer. Deaths: SIGKILL, through the
  real guardian and the real server manager; a new host for every MCP server that is killed. Medians of 11 to 15 in each round."""

ELSEWHERE = "Reads of the API while 1,000 servers are killed at once are judged by `tests/chaos/run.sh BUILD together --servers 1000`: see Long runs."


def main():
    args = argparse.ArgumentParser()
    args.add_argument("raw")
    args.add_argument("--out")
    a = args.parse_args()
    raw = Raw(a.raw)
    rows = goals(raw) + others(raw)
    cells = [[re.sub(r"\*", "", c) for c in r.cells()] for r in rows]
    width = [max(len(r[i]) for r in cells + [HEAD]) for i in range(len(HEAD))]
    for r in [HEAD] + cells:
        print("  ".join(c.ljust(w) for c, w in zip(r, width)).rstrip())
    for line in missed(rows):
        print(line.replace("**", ""))
    if a.out:
        pathlib.Path(a.out).write_text(report(raw), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
