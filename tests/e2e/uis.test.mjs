// Several user interfaces on one session: the same numbered events, swaps in the middle of an answer, approvals answered elsewhere; and
// the interactive chat in a real terminal (tmux).
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Host, alive, configuration, descendants, execute, program, until, withHost } from './host.mjs';
import { WebSocketClient } from './websocket.mjs';

const slowModel = (delay_ms) => configuration({ plugins: { demo: { use: 'llm-demo', settings: { delay_ms } }, web: { use: 'ui-http', settings: { listen: '127.0.0.1:0' } }, tui: { use: 'ui-tui', start: 'on_demand' } } });

/// A terminal of its own: a tmux server of its own with one window. Everything in it ends with close().
class Terminal {
  static async open(place, command, { width = 200, height = 50 } = {}) {
    const t = new Terminal();
    t.socket = path.join(place.dir, 'tmux.sock');
    t.env = { ...place.env, TMUX: '' };
    const keep = path.join(place.dir, 'tmux.conf');
    fs.writeFileSync(keep, 'set -g history-limit 50000\nset -g remain-on-exit on\nset -g exit-empty off\n');
    const r = await execute('tmux', ['-S', t.socket, '-f', keep, 'new-session', '-d', '-s', 't', '-x', String(width), '-y', String(height), command], { env: t.env, cwd: place.dir });
    assert.equal(r.code, 0, r.stderr);
    return t;
  }
  async tmux(...args) {
    const r = await execute('tmux', ['-S', this.socket, ...args], { env: this.env });
    if (r.code !== 0) throw new Error(`tmux ${args[0]}: ${r.stderr}`);
    return r.stdout;
  }
  type(text) {
    return this.tmux('send-keys', '-t', 't', '-l', text);
  }
  key(name) {
    return this.tmux('send-keys', '-t', 't', name);
  }
  async line(text) {
    await this.type(text);
    await this.key('Enter');
  }
  /// All that was shown, lines that were wrapped joined again.
  shown() {
    return this.tmux('capture-pane', '-p', '-J', '-S', '-', '-t', 't');
  }
  async sees(pattern, ms = 15000) {
    let last = '';
    return until(() => `${pattern} on the screen; there is:\n${last}`, async () => (last = await this.shown()).match(pattern), ms);
  }
  async close() {
    await execute('tmux', ['-S', this.socket, 'kill-server'], { env: this.env });
  }
}

/// A host whose terminal is a tmux window.
class TerminalHost extends Host {
  static async start(config, level = 'off') {
    const h = new TerminalHost({ ...config, host: { log: { level } } });
    h.terminal = await Terminal.open(h, `exec ${program} run --quiet --config ${h.file}`);
    h.log = '';
    h.end = null;
    await h.connect();
    await h.ready();
    await until('tools are offered', async () => (await h.call('tool.list')).tools.length > 0);
    return h;
  }
  async close() {
    const pids = [];
    try {
      pids.push(Number(fs.readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ')[1].split(' ')[1]));
      pids.push(...descendants(pids[0]).map((s) => s.pid));
      process.kill(pids[0], 'SIGTERM');
      await until('the host has ended', () => pids.every((p) => !alive(p)), 10000);
    } finally {
      this.control?.close();
      await this.terminal.close();
      this.remove();
    }
  }
}

const story = (words) => {
  const text = 'Once upon a time a small host kept its plugins safe through every storm, and when one of them fell it was started again.'.split(' ');
  return Array.from({ length: words }, (_, i) => text[i % text.length]);
};
/// The words of one answer as the terminal shows them, other rows left out.
const words = (screen) => screen.split(/\s+/).filter(Boolean);

test('a client of the control socket and one of the WebSocket see identical numbered events', () =>
  withHost(slowModel(6), async (host) => {
    const ws = await WebSocketClient.open(host.url, { token: host.token });
    const { session_id } = await host.call('session.create');
    const a = await host.control.subscribe(`session:${session_id}`);
    const b = await ws.subscribe(`session:${session_id}`);
    assert.equal(a.seq, b.seq);
    await host.call('session.send', { session_id, content: 'echo one' });
    const asked = await a.wait('PermissionRequired');
    await ws.call('session.resolve', { session_id, request_id: asked.request_id, decision: 'allow_once' });
    await a.wait({ type: 'SessionStateChanged', new_state: 'idle' });
    const n = a.list.length;
    await ws.call('session.send', { session_id, content: 'tell a long story of 200 words' });
    const last = await a.wait({ type: 'SessionStateChanged', new_state: 'idle' }, { from: n });
    await b.wait({ seq: last.seq });
    assert.ok(a.list.length > 100);
    assert.deepEqual(b.list, a.list);
    assert.ok(a.list.every((e, i) => i === 0 || e.seq === a.list[i - 1].seq + 1), 'no gap');
    // Whoever comes later and asks for the old numbers gets the same events.
    const late = await (await host.another()).subscribe({ topic: `session:${session_id}`, from: a.list[0].seq, epoch: a.list[0].epoch });
    await late.wait({ seq: last.seq });
    assert.deepEqual(late.list, a.list);
    // What is stored is what was told.
    const stored = (await host.call('events.read', { topic: `session:${session_id}`, limit: 500 })).events;
    for (const e of stored) {
      const live = a.list.find((x) => x.seq === e.seq);
      if (live) assert.deepEqual([e.type, e.topic, e.epoch], [live.type, live.topic, live.epoch]);
    }
    ws.close();
  }));

test('an approval asked in two interfaces is answered once; the other one is told by whom', () =>
  withHost(slowModel(0), async (host) => {
    const ws = await WebSocketClient.open(host.url, { token: host.token });
    const { session_id } = await host.call('session.create');
    const a = await host.control.subscribe(`session:${session_id}`);
    const b = await ws.subscribe(`session:${session_id}`);
    await host.call('session.send', { session_id, content: 'echo asked' });
    const asked = await a.wait('PermissionRequired');
    assert.deepEqual(await b.wait('PermissionRequired'), asked);
    assert.equal((await ws.call('session.get', { session_id })).pending[0].request_id, asked.request_id);
    const answers = await Promise.all([
      host.call('session.resolve', { session_id, request_id: asked.request_id, decision: 'allow_once' }),
      ws.call('session.resolve', { session_id, request_id: asked.request_id, decision: 'deny' }),
    ]);
    assert.equal(answers.filter((r) => r.first).length, 1, JSON.stringify(answers));
    const winner = answers.find((r) => r.first), loser = answers.find((r) => !r.first);
    assert.equal(loser.decision, winner.decision);
    assert.equal(loser.resolved_by, winner.resolved_by);
    const told = await b.wait('PermissionResolved');
    assert.deepEqual([told.request_id, told.decision, told.resolved_by], [asked.request_id, winner.decision, winner.resolved_by]);
    assert.ok(told.resolved_by);
    await a.wait({ type: 'SessionStateChanged', new_state: 'idle' });
    assert.equal(a.list.filter((e) => e.type === 'PermissionResolved').length, 1);
    ws.close();
  }));

describe('the terminal of the host', () => {
  test('swaps between terminal and web in the middle of an answer lose and repeat nothing', async () => {
    const host = await TerminalHost.start(slowModel(20));
    try {
      const started = await host.json(['ui', 'start', 'tui']);
      assert.equal(started.state, 'active');
      await host.terminal.sees(/session s_\w+/);
      const [, session_id] = (await host.terminal.shown()).match(/session (s_\w+)/);
      const events = await host.control.subscribe(`session:${session_id}`);
      await host.terminal.line('tell a long story of 300 words');
      await events.wait((e) => e.type === 'StreamChunkReceived' && e.index >= 40);
      const swapped = await host.json(['ui', 'swap', 'tui', 'web']);
      assert.deepEqual([swapped.from.state, swapped.to.state], ['stopped', 'active']);
      const at = events.list.filter((e) => e.type === 'StreamChunkReceived').length;
      assert.ok(at < 250, `the answer still streams (${at})`);
      await events.wait((e) => e.type === 'StreamChunkReceived' && e.index >= at + 30);
      assert.equal((await host.plugin('tui')).state, 'stopped');
      await host.json(['ui', 'swap', 'web', 'tui']);
      assert.ok(events.list.filter((e) => e.type === 'StreamChunkReceived').length < 290, 'the answer still streams');
      await events.wait({ type: 'SessionStateChanged', new_state: 'idle' }, { ms: 30000 });
      const final = events.list.find((e) => e.type === 'StreamCompleted').final_content;
      assert.deepEqual(words(final), story(300));
      assert.equal(events.list.filter((e) => e.type === 'StreamChunkReceived').map((e) => e.chunk).join(''), final, 'an event observer lost nothing');
      assert.ok(events.list.every((e, i) => i === 0 || e.seq === events.list[i - 1].seq + 1));
      // What the person saw: every word once and in order.
      await until('the screen shows the whole answer', async () => words(await host.terminal.shown()).filter((w) => w === 'again.').length === Math.floor(300 / 24), 5000).catch(() => {});
      const screen = words((await host.terminal.shown()).split('300 words').slice(1).join(' '));
      const shown = screen.filter((w) => new Set(story(24)).has(w));
      assert.deepEqual(shown, story(300), (await host.terminal.shown()).slice(-3000));
      await host.json(['ui', 'start', 'web']);
    } finally {
      await host.close();
    }
  });

  test('the terminal in a process of its own serves as in the host; killed, it comes back', async () => {
    const c = slowModel(0);
    Object.assign(c.plugins.tui, { isolation: 'process', supervision: { backoff: { initial_ms: 1, max_ms: 5, multiplier: 1, jitter: 0 } } });
    Object.assign(c.plugins.web, { isolation: 'process' });
    const host = await TerminalHost.start(c);
    try {
      const started = await host.json(['ui', 'start', 'tui']);
      assert.deepEqual([started.state, started.isolation], ['active', 'process']);
      await host.terminal.sees(/session s_\w+/);
      await host.terminal.line('echo apart');
      await host.terminal.sees(/allow\? \[y\/a\/n\]/);
      await host.terminal.line('y');
      await host.terminal.sees(/returned: apart/);
      const before = await host.plugin('tui');
      assert.ok(alive(before.pid));
      process.kill(before.pid, 'SIGKILL');
      await until('it is back', async () => {
        const now = await host.plugin('tui');
        return now.state === 'active' && now.pid !== before.pid;
      });
      await host.terminal.line('echo again');
      await until('it is asked again', async () => /allow\? \[y\/a\/n\]/.test((await host.terminal.shown()).trim().split('\n').at(-1)));
      await host.terminal.line('y');
      await host.terminal.sees(/returned: again/);
      // A new version takes the terminal over.
      const reloaded = await host.json(['plugin', 'reload', 'tui']);
      assert.deepEqual([reloaded.state, reloaded.replaced], ['active', 1]);
      await host.terminal.line('echo reloaded');
      await until('it is asked again', async () => /allow\? \[y\/a\/n\]/.test((await host.terminal.shown()).trim().split('\n').at(-1)));
      await host.terminal.line('y');
      await host.terminal.sees(/returned: reloaded/);
    } finally {
      await host.close();
    }
  });

  test('an approval asked in the terminal is answered by a WebSocket client, and the terminal says by whom', async () => {
    const host = await TerminalHost.start(slowModel(0));
    try {
      await host.json(['ui', 'start', 'tui']);
      await host.terminal.sees(/session s_\w+/);
      const [, session_id] = (await host.terminal.shown()).match(/session (s_\w+)/);
      const ws = await WebSocketClient.open(host.url, { token: host.token });
      const events = await ws.subscribe(`session:${session_id}`);
      await host.terminal.line('echo first');
      let asked = await events.wait('PermissionRequired');
      await host.terminal.sees(/allow\? \[y\/a\/n\]/);
      const r = await ws.call('session.resolve', { session_id, request_id: asked.request_id, decision: 'allow_once' });
      assert.equal(r.first, true);
      await host.terminal.sees(/allow_once by \S+/);
      await host.terminal.sees(/returned: first/);
      // And the other way round.
      const n = events.list.length;
      await ws.call('session.send', { session_id, content: 'echo second' });
      asked = await events.wait('PermissionRequired', { from: n });
      await host.terminal.sees(/> echo second/);
      await until('it is asked in the terminal', async () => /allow\? \[y\/a\/n\]/.test((await host.terminal.shown()).trim().split('\n').at(-1)));
      await host.terminal.line('y');
      const told = await events.wait('PermissionResolved', { from: n });
      assert.equal(told.request_id, asked.request_id);
      assert.match(told.resolved_by, /tui|local/);
      await host.terminal.sees(/returned: second/);
      ws.close();
    } finally {
      await host.close();
    }
  });
});

/// A server of the older protocol whose only tool asks for a visit to an address and says what came of it.
const visiting = `
const say = (m) => console.log(JSON.stringify({ jsonrpc: '2.0', ...m }));
let call;
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const m = JSON.parse(line);
  if (m.method === 'initialize') say({ id: m.id, result: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'v', version: '1' } } });
  else if (m.method === 'tools/list') say({ id: m.id, result: { tools: [{ name: 'visit', inputSchema: { type: 'object' } }] } });
  else if (m.method === 'tools/call') {
    call = m.id;
    say({ id: 'q' + call, method: 'elicitation/create', params: { mode: 'url', elicitationId: 'e', message: 'Sign in, please', url: 'https://a.example@site.example/in?x=' + 'y'.repeat(300) + 'z' } });
  } else if (m.method) m.id !== undefined && say({ id: m.id, error: { code: -32601, message: 'unknown' } });
  else say({ id: call, result: { content: [{ type: 'text', text: 'visit ' + JSON.stringify(m.result ?? m.error) }] } });
});`;

test('an address a server wants opened is shown whole in the terminal, and answered with one key', async () => {
  const host = await TerminalHost.start({ ...slowModel(0), mcpServers: { mail: { command: process.execPath, args: ['-e', visiting] } } });
  try {
    await host.json(['ui', 'start', 'tui']);
    await host.terminal.sees(/session s_\w+/);
    const ways = [['Enter', '{"action":"accept"}'], ['n', '{"action":"decline"}'], ['Escape', '{"action":"cancel"}']];
    for (const [n, [key, outcome]] of ways.entries()) {
      await host.terminal.line('call visit {}');
      await until('the tool is asked about', async () => /allow\? \[y\/a\/n\]/.test((await host.terminal.shown()).trim().split('\n').at(-1)));
      await host.terminal.line('y');
      await until('the address is asked about', async () => /will you open it\? \[Y\/n\/c\]/.test((await host.terminal.shown()).trim().split('\n').at(-1)));
      if (n === 0) {
        const screen = (await host.terminal.shown()).replaceAll('\n', '');
        assert.match(screen, /mail asks: Sign in, please/);
        assert.match(screen, /https:\/\/a\.example@site\.example\/in\?x=y{300}z/);
        assert.match(screen, /site: site\.example;/);
      }
      if (key === 'n') await host.terminal.line('n');
      else await host.terminal.key(key);
      await host.terminal.sees(new RegExp(`returned: visit ${outcome.replace(/[{}]/g, '\\$&')}`));
    }
  } finally {
    await host.close();
  }
});

test('the log leaves the terminal while an interface has it, and comes back', async () => {
  const host = await TerminalHost.start(slowModel(0), 'info');
  try {
    await host.terminal.sees(/plugin active/);
    await host.json(['ui', 'start', 'tui']);
    const file = path.join(host.data, 'holdfast.log');
    await host.terminal.sees(/the terminal is in use: the log goes on in \S+holdfast\.log/);
    const { pid } = await host.server('demo');
    process.kill(pid, 'SIGKILL');
    await until('the file has the lines', () => /\[demo\] healthy → disconnected[\s\S]*disconnected → healthy/.test(fs.readFileSync(file, 'utf8')));
    assert.ok(!/healthy → disconnected/.test(await host.terminal.shown()), await host.terminal.shown());
    await host.json(['ui', 'stop', 'tui']);
    await host.terminal.sees(/the terminal is free again/);
    process.kill((await host.server('demo')).pid, 'SIGKILL');
    await host.terminal.sees(/healthy → disconnected/);
  } finally {
    await host.close();
  }
});

describe('holdfast chat in a terminal', () => {
  let host;
  before(async () => (host = await Host.start(slowModel(2))));
  after(() => host.close());

  /// A shell that notes the terminal's settings before and after.
  const chat = async (more = '') => {
    const notes = fs.mkdtempSync(path.join(host.dir, 'notes-'));
    const t = await Terminal.open({ ...host, env: host.env, dir: notes }, `sh -c 'stty -a > ${notes}/before; ${program} --config ${host.file} chat ${more}; echo "exit code $?" > ${notes}/code; stty -a > ${notes}/after'`);
    t.finished = async () => {
      await until('the chat has ended', () => fs.existsSync(`${notes}/after`) && fs.readFileSync(`${notes}/after`, 'utf8').includes('speed'));
      assert.equal(fs.readFileSync(`${notes}/after`, 'utf8'), fs.readFileSync(`${notes}/before`, 'utf8'), 'the terminal is as it was');
      return fs.readFileSync(`${notes}/code`, 'utf8').trim();
    };
    return t;
  };

  test('types, approves, asks for help, quits; the terminal is restored', async () => {
    const t = await chat();
    try {
      await t.sees(/^> ?$/m);
      await t.line('what time is it?');
      await t.sees(/allow\? \[y\/a\/n\]/);
      await t.line('maybe');
      await t.sees(/please answer y/);
      await t.line('y');
      await t.sees(/returned: \d{4}-\d\d-\d\dT/);
      await t.sees(/allow_once by/);
      await t.line('/help');
      await t.sees(/\/quit/);
      await t.line('echo typed with ünïcode');
      await t.sees(/allow\? \[y\/a\/n\] ?$/m);
      await t.line('n');
      await t.sees(/did not succeed: Denied/);
      await t.key('Up');
      await t.sees(/> echo typed with ünïcode$/m);
      await t.key('C-u');
      await t.line('/quit');
      assert.equal(await t.finished(), 'exit code 0');
    } finally {
      await t.close();
    }
  });

  test('Ctrl-C stops the answer, Ctrl-D leaves', async () => {
    const t = await chat();
    try {
      await t.sees(/^> ?$/m);
      await t.line('tell a long story of 5000 words');
      await t.sees(/started again\./);
      await t.key('C-c');
      await until('the answer is stopped', async () => (await host.call('session.list')).sessions.every((s) => s.state === 'idle'));
      await t.key('C-d');
      assert.equal(await t.finished(), 'exit code 0');
    } finally {
      await t.close();
    }
  });

  test('a host that dies: the chat says so, ends, and restores the terminal', async () => {
    const t = await chat();
    try {
      await t.sees(/^> ?$/m);
      process.kill(host.pid, 'SIGKILL');
      await t.sees(/the host has gone away/);
      await t.finished();
    } finally {
      await t.close();
      await host.connect();
      await host.ready();
    }
  });

  test('a piped conversation ends with its last answer', async () => {
    const r = await host.cli(['chat', '--yes'], { input: 'echo piped one\necho piped two\n' });
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, /returned: piped one[\s\S]*returned: piped two/);
  });
});
