// A real host for end-to-end tests: its own temporary folder, its own data directory, a free port, the control socket, the command line.
// Nothing here sleeps for a fixed time: everything waits for a condition with a deadline.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';

export const build = path.resolve(process.env.HOLDFAST_BUILD ?? 'build');
export const program = path.join(build, 'holdfast');
/// Test plugins and bad servers; another build's when HOLDFAST_TEST_PARTS says so.
export const testParts = path.resolve(process.env.HOLDFAST_TEST_PARTS ?? path.join(build, 'tests'));
export const badServer = path.join(testParts, 'fakes', 'bad_mcp_server');
export const testPlugins = path.join(testParts, 'plugins');
export const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
export const peers = process.env.HOLDFAST_PEERS || path.join(os.homedir(), '.cache', 'holdfast-peers');

/// Machines differ, and so do builds with sanitizers. Multiplies deadlines of "must happen", never limits that are promises.
export const patience = Number(process.env.HOLDFAST_PATIENCE ?? 1);
/// "address,undefined", "thread" or empty: what watches this build.
export const sanitizer = fs.readFileSync(path.join(build, 'CMakeCache.txt'), 'utf8').match(/^HOLDFAST_SANITIZE:\w+=(.*)$/m)?.[1] ?? '';
const poll_ms = 10;

const pause = (ms) => new Promise((r) => setTimeout(r, ms));

/// Resolves to the first truthy value of `probe`; rejects with what was waited for. `probe` may throw: that counts as not yet,
/// unless the error is marked final.
export async function until(what, probe, ms = 15000) {
  const deadline = Date.now() + ms * patience;
  let last = null;
  for (;;) {
    if (last?.final) throw last;
    try {
      const value = await probe();
      if (value) return value;
      last = null;
    } catch (e) {
      last = e;
    }
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${typeof what === 'function' ? what() : what}${last ? ` (${last.message})` : ''}`);
    await pause(poll_ms);
  }
}

export function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error(`not within ${ms} ms: ${what}`)), ms * patience)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// ---- processes --------------------------------------------------------------------------------------------------------

const stat = (pid) => {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { pid, state: rest[0], parent: Number(rest[1]), started: rest[19], tells: Number(rest[35]), name: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')) };
  } catch {
    return null;
  }
};
const allPids = () => fs.readdirSync('/proc').filter((n) => /^\d+$/.test(n)).map(Number);

/// A process that still runs (zombies do not).
export const alive = (pid) => {
  const s = stat(pid);
  return s !== null && s.state !== 'Z' && s.state !== 'X';
};

/// Every process below `pid`, zombies included. A child whose end is no SIGCHLD is none of the program's own: LeakSanitizer reads the
/// memory of a program that ends from one.
export function descendants(pid) {
  const all = allPids().map(stat).filter(Boolean);
  const out = [];
  const more = [pid];
  while (more.length > 0) {
    const parent = more.pop();
    for (const s of all)
      if (s.parent === parent && s.tells === os.constants.signals.SIGCHLD) {
        out.push(s);
        more.push(s.pid);
      }
  }
  return out;
}
export const zombiesOf = (pid) => descendants(pid).filter((s) => s.state === 'Z');
export const fdCount = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

/// Processes that name the folder in their command line or have it as working directory: what a host could have left behind.
export function processesAbout(folder) {
  return allPids().filter((pid) => {
    if (pid === process.pid || !alive(pid)) return false;
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(folder) || fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false;
    }
  });
}

/// Runs a program to its end. A signal ends it at the deadline and the promise fails.
export function execute(file, args, { env = {}, cwd, input = '', ms = 60000 } = {}) {
  return new Promise((yes, no) => {
    const child = spawn(file, args, { env: { ...process.env, ...env }, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    let stdout = '', stderr = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      no(new Error(`${path.basename(file)} ${args.join(' ')} did not end within ${ms} ms; so far:\n${stdout}${stderr}`));
    }, ms * patience);
    child.stdout.on('data', (d) => (stdout += d));
    child.stderr.on('data', (d) => (stderr += d));
    child.on('error', no);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      yes({ code, signal, stdout, stderr });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

export const freePort = () =>
  new Promise((yes) => {
    const s = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => yes(port));
    });
  });

export const sha256 = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

// ---- the control socket -----------------------------------------------------------------------------------------------

export class HostError extends Error {
  constructor(e) {
    super(e.message);
    Object.assign(this, e);
  }
}

/// One JSON object to a line, both ways. The WebSocket client of websocket.mjs speaks the same through `Wire`.
export class Wire {
  constructor(send) {
    this.send_ = send;
    this.next_ = 1;
    this.waiting_ = new Map();
    this.subscriptions_ = new Map();
    this.early_ = new Map();
    this.closed = false;
  }
  receive(message) {
    if (message.subscription !== undefined && message.event !== undefined) {
      const to = this.subscriptions_.get(message.subscription);
      if (to) return to.push_(message.event);
      if (!this.early_.has(message.subscription)) this.early_.set(message.subscription, []);
      return this.early_.get(message.subscription).push(message.event);
    }
    const w = this.waiting_.get(message.id);
    if (!w) return;
    this.waiting_.delete(message.id);
    if (message.error) w.no(new HostError(message.error));
    else w.yes(message.result);
  }
  lost() {
    this.closed = true;
    for (const w of this.waiting_.values()) w.no(new HostError({ code: 'transport_lost', message: 'the connection is lost' }));
    this.waiting_.clear();
  }
  request(message, ms = 30000) {
    if (this.closed) return Promise.reject(new HostError({ code: 'transport_lost', message: 'the connection is lost' }));
    const id = this.next_++;
    const answer = new Promise((yes, no) => this.waiting_.set(id, { yes, no }));
    answer.catch(() => {});
    this.send_({ id, ...message });
    return within(answer, ms, JSON.stringify(message).slice(0, 200));
  }
  call(method, params = {}, ms) {
    return this.request({ method, params }, ms);
  }
  async subscribe(options) {
    const events = new Events(typeof options === 'string' ? { topic: options } : options);
    const r = await this.request({ subscribe: events.options });
    events.id = r.subscription;
    events.seq = r.seq;
    this.subscriptions_.set(r.subscription, events);
    for (const e of this.early_.get(r.subscription) ?? []) events.push_(e);
    this.early_.delete(r.subscription);
    return events;
  }
}

/// What a subscription has delivered so far, in order.
export class Events {
  constructor(options) {
    this.options = options;
    this.list = [];
    this.wake_ = new Set();
  }
  push_(event) {
    this.list.push(event);
    for (const w of this.wake_) w();
  }
  /// The first event from index `from` on that matches: a type name, an object of fields, or a function.
  wait(match, { ms = 15000, from = 0 } = {}) {
    const fits = typeof match === 'function' ? match : (e) => Object.entries(typeof match === 'string' ? { type: match } : match).every(([k, v]) => e[k] === v);
    return new Promise((yes, no) => {
      const look = () => {
        const found = this.list.slice(from).find(fits);
        if (!found) return;
        clearTimeout(timer);
        this.wake_.delete(look);
        yes(found);
      };
      const timer = setTimeout(() => {
        this.wake_.delete(look);
        no(new Error(`no event ${typeof match === 'function' ? match : JSON.stringify(match)} within ${ms} ms; there were ${this.list.map((e) => e.type).join(' ')}`));
      }, ms * patience);
      this.wake_.add(look);
      look();
    });
  }
  types() {
    return this.list.map((e) => e.type);
  }
}

export class Control extends Wire {
  static connect(file) {
    return new Promise((yes, no) => {
      const socket = net.connect(file);
      const control = new Control((m) => socket.write(JSON.stringify(m) + '\n'));
      control.socket = socket;
      let text = '';
      socket.setEncoding('utf8');
      socket.on('data', (d) => {
        text += d;
        for (let end; (end = text.indexOf('\n')) >= 0; text = text.slice(end + 1)) control.receive(JSON.parse(text.slice(0, end)));
      });
      socket.once('connect', () => yes(control));
      socket.on('error', no);
      socket.on('close', () => control.lost());
    });
  }
  close() {
    this.socket.destroy();
  }
}

// ---- the host ---------------------------------------------------------------------------------------------------------

/// A configuration like the default one, on a free port and with a model that answers at once. Sections given replace whole sections.
export function configuration(sections = {}) {
  return {
    host: { log: { level: 'info', format: 'text' } },
    auth: { mode: 'token' },
    plugins: {
      demo: { use: 'llm-demo', settings: { delay_ms: 0 } },
      web: { use: 'ui-http', settings: { listen: '127.0.0.1:0' } },
      tui: { use: 'ui-tui', start: 'on_demand' },
    },
    mcpServers: { demo: demoServer() },
    ...sections,
  };
}
export const demoServer = (more = {}) => ({ command: path.join(build, 'holdfast-demo-server'), args: ['--root', '.'], ...more });

const running = new Set();
process.on('exit', () => {
  for (const h of running) for (const pid of [h.child?.pid, h.pid]) if (pid) try { process.kill(pid, 'SIGKILL'); } catch { /* gone */ }
});

/// A folder of its own: configuration, data directory, temporary files. Removed by close().
export class Place {
  constructor(config = configuration()) {
    this.dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'hf-e2e-')));
    this.data = path.join(this.dir, 'data');
    this.tmp = path.join(this.dir, 'tmp');
    this.file = path.join(this.dir, 'holdfast.json');
    fs.mkdirSync(this.tmp);
    if (config !== null) this.write(config);
  }
  write(config) {
    fs.writeFileSync(this.file, typeof config === 'string' ? config : JSON.stringify(config, null, 2) + '\n');
  }
  get env() {
    return { HOLDFAST_DATA_DIR: this.data, TMPDIR: this.tmp, HOLDFAST_CONFIG: '', HOLDFAST_PLUGIN_PATH: '', OPENAI_API_KEY: '' };
  }
  get socket() {
    return path.join(this.data, 'control.sock');
  }
  get token() {
    return fs.readFileSync(path.join(this.data, 'token'), 'utf8').trim();
  }
  /// `holdfast --config FILE …args`
  cli(args, options = {}) {
    return execute(program, ['--config', this.file, ...args], { cwd: this.dir, ...options, env: { ...this.env, ...options.env } });
  }
  async json(args, options) {
    const r = await this.cli(['--json', ...args], options);
    assert.equal(r.code, 0, `${args.join(' ')} failed: ${r.stderr}`);
    return JSON.parse(r.stdout);
  }
  remove() {
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export class Host extends Place {
  /// Starts `holdfast run` and waits until it serves and every server has had its first attempt.
  static async start(config, options = {}) {
    const h = new this(config);
    try {
      await options.before?.(h);
      await h.launch(options);
    } catch (e) {
      await h.close().catch(() => {});
      throw e;
    }
    return h;
  }
  /// `under`: a command that ends in becoming the program given as its arguments, such as `nice`.
  async launch({ env = {}, ready = true, under = [] } = {}) {
    this.log = '';
    const [first, ...rest] = [...under, program, 'run', '--config', this.file];
    this.child = spawn(first, rest, { cwd: this.dir, env: { ...process.env, ...this.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this);
    const keep = (d) => (this.log += d);
    this.child.stdout.on('data', keep);
    this.child.stderr.on('data', keep);
    this.ended = new Promise((yes) => this.child.on('close', (code, signal) => yes({ code, signal })));
    this.ended.then((e) => (this.end = e));
    this.end = null;
    await this.connect();
    if (ready) await this.ready();
    return this;
  }
  /// Every plugin and server has come up or failed its first attempt.
  async ready() {
    await this.control.call('host.wait_ready', {}, 60000);
    this.info = await this.control.call('host.info');
  }
  /// Connects anew, to the host there is now.
  async connect(ms = 30000) {
    this.control?.close();
    this.control = await until(() => `a host on ${this.socket}; it said:\n${this.log}`, async () => {
      if (this.end) throw Object.assign(new Error(`the host ended with ${JSON.stringify(this.end)}; it said:\n${this.log}`), { final: true });
      // A host that is just dying may still accept: it is there when it answers.
      const control = await Control.connect(this.socket);
      this.info = await control.call('host.info');
      return control;
    }, ms);
    this.pid = this.info.pid;
    return this.control;
  }
  call(method, params, ms) {
    return this.control.call(method, params, ms);
  }
  another() {
    return Control.connect(this.socket);
  }
  get url() {
    return this.info.urls[0].replace(/\/$/, '');
  }
  get guardian() {
    return this.child.pid;
  }
  async server(name) {
    return (await this.call('server.list')).servers.find((s) => s.name === name);
  }
  async plugin(id) {
    return (await this.call('plugin.list')).plugins.find((p) => p.id === id);
  }
  /// The node of the tree with this id, below the one named `above` if given.
  async node(id, above) {
    const find = (n, name) => (n.id === name ? n : n.children?.map((c) => find(c, name)).find(Boolean));
    const root = await this.call('host.tree');
    return find(above ? find(root, above) : root, id);
  }
  echo(server, text = 'hi', ms) {
    return this.call('tool.call', { server, tool: 'echo', arguments: { text } }, ms).then((r) => r.content[0].text);
  }
  /// One message, approved or not, to the end of its turn; what happened.
  async chat(content, { session, decision = 'allow_once', ms = 30000 } = {}) {
    const id = session ?? (await this.call('session.create')).session_id;
    const events = await this.control.subscribe(`session:${id}`);
    const { seq } = await this.call('session.send', { session_id: id, content });
    let answered = 0;
    const done = (e) => e.seq > seq && e.type === 'SessionStateChanged' && e.new_state === 'idle';
    for (;;) {
      const asked = events.list.filter((e) => e.type === 'PermissionRequired');
      if (asked.length > answered) {
        await this.call('session.resolve', { session_id: id, request_id: asked[answered++].request_id, decision });
        continue;
      }
      const n = answered;
      const e = await events.wait((x) => done(x) || events.list.filter((y) => y.type === 'PermissionRequired').length > n, { ms });
      if (done(e) || events.list.some(done)) break;
    }
    const of = (type) => events.list.filter((e) => e.seq > seq && e.type === type);
    return { session: id, events, answer: of('StreamCompleted').at(-1)?.final_content ?? '', executed: of('MCPToolExecuted'), errors: of('ErrorOccurred') };
  }
  /// SIGTERM to the guardian, as a service manager does. Asserts an orderly end that leaves nothing behind.
  async stop({ ms = 10000 } = {}) {
    const below = descendants(this.guardian);
    process.kill(this.guardian, 'SIGTERM');
    const e = await within(this.ended, ms, () => `the host to stop; it said:\n${this.log}`);
    this.control?.close();
    running.delete(this);
    assert.deepEqual(e, { code: 0, signal: null }, `the host's end; it said:\n${this.log}`);
    const left = below.filter((s) => alive(s.pid) && stat(s.pid)?.started === s.started);
    assert.deepEqual(left, [], 'processes that outlived the host');
    assert.deepEqual(processesAbout(this.dir), [], 'processes that belong to the host and outlived it');
    assert.deepEqual(fs.readdirSync(this.tmp), [], 'temporary files left behind');
    assert.ok(!fs.existsSync(this.socket), 'the control socket is left behind');
  }
  /// stop() and the folder is gone. Safe after a failed start.
  async close() {
    try {
      if (this.child && !this.end) await this.stop();
    } finally {
      this.control?.close();
      if (this.child && !this.end) this.child.kill('SIGKILL');
      running.delete(this);
      this.remove();
    }
  }
}

/// Runs `body` with a host, which is stopped and checked for leftovers afterwards, also when the body fails.
export async function withHost(config, body, options = {}) {
  let host;
  let failed = null;
  try {
    host = await Host.start(config, options);
    await body(host);
  } catch (e) {
    failed = e;
    if (host?.log) e.message += `\n--- the host said ---\n${host.log.slice(-4000)}`;
  }
  try {
    await host?.close();
  } catch (e) {
    failed ??= e;
  }
  if (failed) throw failed;
}
