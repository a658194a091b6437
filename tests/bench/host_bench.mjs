// What a person notices of a running host, measured on the program itself through its control socket: cold start, `chat -m`, death of
// the host, death of an MCP server under load, memory of idle and of hibernated sessions.
//   node host_bench.mjs BUILD_DIR [--short] [--part REGEX]
// Prints RESULT lines. Ends with 1 when something did not happen at all; never because of a time.
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Control, Lost } from "../crash/control.mjs";
import { children, kill9 } from "../crash/processes.mjs";
import { now, sleep } from "../crash/tally.mjs";

const build = fs.realpathSync(process.argv[2] ?? "build/release");
const short = process.argv.includes("--short");
const size = short
  ? { starts: 3, chats: 3, deaths: 3, server_deaths: 3, warm_up: 50, sessions: 100 }
  : { starts: 15, chats: 11, deaths: 15, server_deaths: 11, warm_up: 1500, sessions: 1000 };
const rest_s = 0.5;
const program = path.join(build, "holdfast");
const deadline_ms = 60_000;

function result(name, samples, more = "") {
  const s = [...samples].sort((a, b) => a - b);
  const at = (q) => s[Math.min(s.length - 1, Math.floor(q * s.length))].toFixed(1);
  console.log(`RESULT ${name} n=${s.length} p50_ms=${at(0.5)} p90_ms=${at(0.9)} max_ms=${at(1)}${more && " " + more}`);
}

async function until(what, probe, poll_ms = 2) {
  const end = now() + deadline_ms;
  for (;;) {
    const got = await probe();
    if (got) return got;
    if (now() > end) throw new Error(`did not happen within ${deadline_ms} ms: ${what}`);
    await sleep(poll_ms);
  }
}

class Host {
  static all = new Set();

  constructor(sessions = {}) {
    Host.all.add(this);
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "hf-bench-"));
    fs.chmodSync(this.dir, 0o700);
    this.config = path.join(this.dir, "holdfast.json");
    // As the default configuration, but with a free port, a model without pauses, and what `sessions` says.
    fs.writeFileSync(this.config, JSON.stringify({
      host: { data_dir: path.join(this.dir, "data"), log: { level: "warn" } },
      plugins: { model: { use: "llm-demo", settings: { delay_ms: 0 } }, web: { use: "ui-http", settings: { listen: "127.0.0.1:0" } } },
      llm: { default: "model" },
      store: { use: "store-sqlite" },
      breaker: { use: "breaker-consecutive" },
      health: { use: "health-threshold" },
      sessions: { permission_timeout_s: 3600, ...sessions },
      mcpServers: { demo: { command: path.join(build, "holdfast-demo-server"), args: ["--root", this.dir] } },
    }));
    this.env = { ...process.env, HOLDFAST_RESTARTS: "100000/60/0", HOLDFAST_PLUGIN_PATH: path.join(build, "plugins") };
    delete this.env.HOLDFAST_DATA_DIR;
  }

  start() {
    const log = fs.openSync(path.join(this.dir, "host.log"), "a");
    this.guardian = spawn(program, ["run", "--config", this.config], { stdio: ["ignore", log, log], env: this.env, cwd: this.dir });
    fs.closeSync(log);
    this.ended = new Promise((done) => this.guardian.once("exit", done));
  }

  /** A connection on which host.info has been answered by another process than `before`. */
  async connect(before = 0) {
    return until("host.info", async () => {
      if (this.guardian.exitCode !== null) throw new Error("the host ended: " + fs.readFileSync(path.join(this.dir, "host.log"), "utf8").slice(-2000));
      let control = null;
      try {
        control = await Control.open(path.join(this.dir, "data", "control.sock"));
        const info = await control.call("host.info");
        if (info.pid !== before) {
          this.pid = info.pid;
          return control;
        }
      } catch (e) {
        if (!(e instanceof Lost)) throw e;
      }
      control?.close();
      return null;
    }, 1);
  }

  /** Bytes resident that belong to the host's process alone. */
  memory() {
    const text = fs.readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8");
    return 1024 * Number(/^Private_Dirty: *(\d+)/m.exec(text)[1]);
  }

  async end() {
    Host.all.delete(this);
    this.guardian?.kill("SIGTERM");
    await this.ended;
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

const echo = (control) => control.call("tool.call", { server: "demo", tool: "echo", arguments: { text: "x" }, timeout_ms: 5000 });
/** Resolves when a call of the tool has succeeded that was begun after this moment. */
const answered = (control) => until("a tool call is answered", () => echo(control).then((r) => !r.isError, (e) => {
  if (e instanceof Lost) throw e;
  return false;
}), 1);

async function cold_start() {
  const info = [], tool = [];
  for (let i = 0; i < size.starts; ++i) {
    const host = new Host();
    const begun = now();
    host.start();
    const control = await host.connect();
    info.push(now() - begun);
    await answered(control);
    tool.push(now() - begun);
    control.close();
    await host.end();
  }
  result("cold_start_to_host_info", info);
  result("cold_start_to_tool_answer", tool);
}

async function chat() {
  const host = new Host();
  host.start();
  const control = await host.connect();
  await answered(control);
  const ms = [], bare = [];
  for (let i = 0; i < size.chats; ++i) {
    let begun = now();
    const r = spawnSync(program, ["chat", "--config", host.config, "-m", "hello", "--yes"], { env: host.env, encoding: "utf8", timeout: deadline_ms });
    ms.push(now() - begun);
    if (r.status !== 0 || !r.stdout.trim()) throw new Error(`chat -m: ${r.status} ${r.stdout} ${r.stderr}`);
    begun = now();
    spawnSync(program, ["--version"], { env: host.env });
    bare.push(now() - begun);
  }
  result("chat_m_on_running_host", ms);
  result("program_start_alone", bare);
  control.close();
  await host.end();
}

/** A session with `turns` messages of a person and as many answers. Returns when the last turn is over. */
async function talk(control, id, turns, text) {
  await control.call("session.create", { session_id: id });
  for (let k = 0; k < turns; ++k) {
    await control.call("session.send", { session_id: id, content: text });
    await until("the end of a turn", async () => {
      const s = await control.call("session.get", { session_id: id });
      return s.state === "idle" && s.messages.length === 2 * (k + 1) && s;
    }, 1);
  }
}

/** Runs `work(i)` for first ≤ i < end, eight at a time. */
async function eight_at_a_time(first, end, work) {
  let next = first;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (next < end) await work(next++);
  }));
}

async function host_killed() {
  const host = new Host();
  host.start();
  let control = await host.connect();
  await answered(control);
  const ids = Array.from({ length: 20 }, (_, i) => `s${i}`);
  for (const id of ids) await talk(control, id, 2, "hello");
  const info = [], back = [], tool = [];
  for (let i = 0; i < size.deaths; ++i) {
    await sleep(20);
    control.close();
    const victim = children(host.guardian.pid).find((p) => p.pid === host.pid);
    const begun = now();
    kill9(victim.pid);
    control = await host.connect(victim.pid);
    info.push(now() - begun);
    await Promise.all(ids.map((id) => until("a session is back", () => control.call("session.get", { session_id: id }).then((s) => s.messages.length === 4, (e) => {
      if (["unavailable", "overloaded"].includes(e.code)) return false;
      throw e;
    }))));
    back.push(now() - begun);
    await answered(control);
    tool.push(now() - begun);
  }
  result("host_killed_to_host_info", info);
  result("host_killed_to_sessions_back", back, "sessions=20");
  result("host_killed_to_tool_answer", tool);
  control.close();
  await host.end();
}

/** A server killed `deaths` times, a little apart, while eight clients call it all the time. */
async function kill_server(deaths, ms, counts) {
  const host = new Host();
  host.start();
  const control = await host.connect();
  await answered(control);
  let done = false;
  const clients = Array.from({ length: 8 }, async () => {
    while (!done) {
      ++counts.calls;
      await echo(control).catch(async (e) => {
        if (e instanceof Lost) throw e;
        ++counts.failed;
        await sleep(2);
      });
    }
  });
  for (let i = 0; i < deaths; ++i) {
    await sleep(300);
    const { pid } = await control.call("server.get", { name: "demo" });
    if (!pid) throw new Error("the server has no process");
    const begun = now();
    kill9(pid);
    // A success of another process than the killed one.
    let row;
    await until("a new process of the server", async () => (row = await control.call("server.get", { name: "demo" })).pid !== pid);
    await answered(control);
    ms.push(now() - begun);
    if (ms.at(-1) > 1000) {
      row = await control.call("server.get", { name: "demo" });
      console.log(`slow: death ${i + 1} of ${deaths}, ${ms.at(-1).toFixed(0)} ms, restarts ${row.restarts}, last attempt ${row.last_recovery_attempt}, breaker ${JSON.stringify(row.breaker)}`);
    }
  }
  done = true;
  await Promise.all(clients);
  control.close();
  await host.end();
}

async function server_killed() {
  const once = [], again = [], counts = { calls: 0, failed: 0 };
  for (let i = 0; i < size.server_deaths; ++i) await kill_server(1, once, counts);
  result("upstream_killed_to_answered", once, `clients=8 calls=${counts.calls} failed=${counts.failed}`);
  await kill_server(3, again, counts);
  result("upstream_killed_repeatedly", again.slice(1), "apart_ms=300");
}

/**
 * Memory that one more session costs: between `warm_up` sessions and `warm_up + sessions`, so that what is needed once is not counted
 * (the warm-up fills the topics that all sessions share, of 1,024 events each).
 * replay: live, straight after four turns, with what the event bus keeps of them for those who attach again. idle: live after four
 * turns, at rest: that is given back (after keep_events_s, here half a second instead of a minute). restored: live and at rest, but brought
 * back from the store by a new process. hibernated: not live.
 */
async function session_memory(mode) {
  const host = new Host({ hibernate_after_s: mode === "hibernated" ? 0.5 : 0, keep_events_s: mode === "replay" ? 3600 : rest_s });
  host.start();
  let control = await host.connect();
  await answered(control);
  const turns = 4, text = "hello ".repeat(100);
  const name = (i) => "sess-" + String(i).padStart(11, "0");
  const end = size.warm_up + size.sessions;
  const at_rest = async (n) => {
    await until("the sessions are at rest", async () => {
      const { known, live } = (await control.call("host.health")).sessions;
      return known >= n && live === (mode === "hibernated" ? 0 : n);
    }, 50);
    await sleep(1000 * rest_s + 500);
    return host.memory();
  };
  let visit = (i) => talk(control, name(i), turns, text);
  if (mode === "restored") {
    await eight_at_a_time(0, end, visit);
    const before = host.pid;
    control.close();
    kill9(before);
    control = await host.connect(before);
    await answered(control);
    visit = (i) => control.call("session.get", { session_id: name(i) });
  }
  await eight_at_a_time(0, size.warm_up, visit);
  const before = await at_rest(size.warm_up);
  await eight_at_a_time(size.warm_up, end, visit);
  const after = await at_rest(end);
  const state = Buffer.byteLength(JSON.stringify((await control.call("session.get", { session_id: name(end - 1) })).messages));
  console.log(`RESULT host_session_memory mode=${mode} n=${size.sessions} bytes_per=${Math.round((after - before) / size.sessions)} messages_json_bytes=${state} host_private_bytes=${after}`);
  control.close();
  await host.end();
}

const wanted = process.argv.includes("--part") ? new RegExp(process.argv[process.argv.indexOf("--part") + 1]) : /./;
const parts = { cold_start, chat, host_killed, server_killed };
for (const mode of ["replay", "idle", "restored", "hibernated"]) parts[`session_memory ${mode}`] = () => session_memory(mode);
for (const [name, part] of Object.entries(parts)) {
  if (!wanted.test(name)) continue;
  try {
    await part();
  } catch (e) {
    console.log(`FAILED ${name}: ${e.stack}`);
    process.exitCode = 1;
    for (const host of Host.all) await host.end();
  }
}
process.exit();
