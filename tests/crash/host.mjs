// The host under test: its files, its guardian, its connection.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Control, Lost } from "./control.mjs";
import { alive, children, family } from "./processes.mjs";
import { now, patience, sleep, until } from "./tally.mjs";

export class Host {
  constructor(build) {
    this.build = build;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "hf-crash-"));
    fs.chmodSync(this.dir, 0o700);
    this.count_file = path.join(this.dir, "count.txt");
    this.config = path.join(this.dir, "holdfast.json");
    this.socket = path.join(this.dir, "data", "control.sock");
    this.log = path.join(this.dir, "host.log");
    fs.writeFileSync(this.count_file, "");
    fs.writeFileSync(this.config, JSON.stringify({
      host: { data_dir: path.join(this.dir, "data"), log: { level: "info" } },
      plugins: { model: { use: "llm-demo", settings: { delay_ms: 2 } } },
      llm: { default: "model" },
      store: { use: "store-sqlite" },
      sessions: { permission_timeout_s: 3600 },
      mcpServers: { demo: { command: path.join(build, "holdfast-demo-server"), args: ["--root", this.dir, "--count-file", this.count_file] } },
    }, null, 2));
    this.guardian = null;
    this.control = null;
    this.listeners = new Set(); // each: {event(e), attached(control)}
  }

  start() {
    const log = fs.openSync(this.log, "a");
    const env = { ...process.env, HOLDFAST_RESTARTS: "100000/60/0", HOLDFAST_PLUGIN_PATH: path.join(this.build, "plugins") };
    delete env.HOLDFAST_DATA_DIR;
    this.guardian = spawn(path.join(this.build, "holdfast"), ["run", "--config", this.config], { stdio: ["ignore", log, log], env, cwd: this.dir });
    fs.closeSync(log);
    this.guardian_ended = new Promise((done) => this.guardian.once("exit", (code, signal) => done({ code, signal })));
    this.guardian.once("error", (e) => console.error(e.message));
  }

  /** The process that answered last, if it is still directly below the guardian. */
  host_process() {
    return children(this.guardian.pid).find((p) => p.pid === this.pid && p.state !== "Z") ?? null;
  }

  family() {
    return family(this.guardian.pid);
  }

  /** A connection on which `host.info` has been answered by another process than `before`. */
  async connect(deadline_ms, before = 0) {
    const end = now() + deadline_ms * patience;
    for (;;) {
      let control = null;
      try {
        control = await Control.open(this.socket);
        const info = await control.call("host.info");
        if (info.pid !== before) {
          this.pid = info.pid;
          return control;
        }
      } catch (e) {
        if (!(e instanceof Lost)) throw e;
      }
      control?.close();
      if (this.guardian.exitCode !== null || now() > end) throw new Error(`no host answers on ${this.socket}; see ${this.log}`);
      await sleep(4);
    }
  }

  /** Makes `control` the connection everyone uses, and tells them. Events first, so that nobody misses one. */
  async attach(control) {
    control.on_event = (e) => {
      for (const l of this.listeners) l.event(e);
    };
    await control.subscribe("session:*");
    this.control = control;
    for (const l of this.listeners) l.attached(control);
  }

  detach() {
    this.control?.close();
    this.control = null;
  }

  /** The connection in use, once there is one. */
  async online() {
    return until("a connection to the host", 60_000, 3, () => (this.control?.open ? this.control : null));
  }

  async end() {
    const left = this.guardian.exitCode === null ? this.family() : [];
    this.detach();
    this.guardian.kill("SIGTERM");
    const how = await Promise.race([this.guardian_ended, sleep(30_000 * patience).then(() => null)]);
    if (how === null) for (const p of left) if (alive(p)) process.kill(p.pid, "SIGKILL");
    return { how, left: left.filter(alive) };
  }

  forget_files() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
