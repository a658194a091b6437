// `holdfast chat -m` on a running host and on one started for it, the listings, the exit codes, the completion scripts.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Host, Place, configuration, execute, processesAbout, program, source, withHost } from './host.mjs';

const time = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;
const lines = (text) => text.trim().split('\n').map((l) => JSON.parse(l));

describe('chat on a running host', () => {
  let host;
  before(async () => (host = await Host.start(configuration())));
  after(() => host.close());

  test('prints an answer that holds what the tool returned, and the event log tells how', async () => {
    const { session_id } = await host.call('session.create');
    const r = await host.cli(['chat', '-s', session_id, '-m', 'what time is it?', '--yes']);
    assert.equal(r.code, 0, r.stderr);
    const told = r.stdout.match(time)?.[0];
    assert.ok(told, r.stdout);
    const log = lines((await host.cli(['events', '--topic', `session:${session_id}`])).stdout);
    const at = (type) => log.findIndex((e) => e.type === type);
    const order = ['MessageAdded', 'PermissionRequired', 'PermissionResolved', 'ToolCallIntent', 'MCPToolExecuted'].map(at);
    assert.ok(order.every((n, i) => n >= 0 && (i === 0 || n > order[i - 1])), log.map((e) => e.type).join(' '));
    const asked = log[order[1]], answered = log[order[2]], intent = log[order[3]], executed = log[order[4]];
    assert.equal(asked.server_name, 'demo');
    assert.equal(answered.request_id, asked.request_id);
    assert.equal(answered.decision, 'allow_once');
    assert.equal(answered.resolved_by, 'cli');
    assert.equal(intent.call_id, executed.call_id);
    assert.equal(intent.tool_name, 'get_time');
    assert.ok(JSON.stringify(executed.result).includes(told), 'the answer holds what the tool returned');
    assert.ok(log.every((e, i) => i === 0 || e.seq > log[i - 1].seq), 'numbers rise');
    assert.ok(log.every((e) => e.epoch === log[0].epoch && !Number.isNaN(Date.parse(e.timestamp))));
  });

  test('without --yes and without a terminal every call is denied: exit code 5', async () => {
    const { session_id } = await host.call('session.create');
    const r = await host.cli(['chat', '-s', session_id, '-m', 'echo denied-text']);
    assert.equal(r.code, 5);
    assert.match(r.stderr, /denied a tool call.*--yes/);
    const log = (await host.call('events.read', { topic: `session:${session_id}` })).events;
    assert.equal(log.find((e) => e.type === 'PermissionResolved').decision, 'deny');
    assert.equal(log.find((e) => e.type === 'MCPToolExecuted').status, 'denied');
    assert.ok(!log.some((e) => e.type === 'ToolCallIntent'), 'nothing was called');
  });

  test('--json prints one object', async () => {
    const r = await host.json(['chat', '-m', 'echo a "quoted" ünïcode', '--yes']);
    assert.ok(r.session_id);
    assert.match(r.answer, /ünïcode/);
    assert.equal(r.tool_calls.length, 1);
    assert.deepEqual([r.tool_calls[0].server, r.tool_calls[0].tool, r.tool_calls[0].status], ['demo', 'echo', 'result']);
  });

  test('--session goes on with a session, and refuses one that does not exist', async () => {
    const first = await host.json(['chat', '-m', 'echo one', '--yes']);
    const second = await host.json(['chat', '--session', first.session_id, '-m', 'echo two', '--yes']);
    assert.equal(second.session_id, first.session_id);
    assert.match(second.answer, /two/);
    const users = (await host.call('session.history', { session_id: first.session_id })).messages.filter((m) => m.role === 'user');
    assert.deepEqual(users.map((m) => m.text), ['echo one', 'echo two']);
    const none = await host.cli(['chat', '--session', 's_nosuchsession', '-m', 'x']);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /s_nosuchsession.*session_not_found/s);
  });

  test('no tool is needed for a story: no permission is asked', async () => {
    const r = await host.cli(['chat', '-m', 'tell a long story of 30 words']);
    assert.equal(r.code, 0, r.stderr);
    assert.equal(r.stdout.trim().split(/\s+/).length, 30);
  });

  test('every listing is JSON with --json and a table without', async () => {
    const listings = { tree: 'children', plugins: 'plugins', servers: 'servers', tools: 'tools', sessions: 'sessions', llms: 'adapters', info: 'pid', health: 'status' };
    for (const [name, key] of Object.entries(listings)) {
      const parsed = await host.json([name]);
      assert.ok(key in parsed, `${name}: ${Object.keys(parsed)}`);
      const after = JSON.parse((await execute(program, [name, '--json', '--config', host.file], { env: host.env })).stdout);
      assert.ok(key in after, `${name} --json after the name`);
      const plain = await host.cli([name]);
      assert.equal(plain.code, 0);
      assert.ok(plain.stdout.length > 20, name);
      assert.throws(() => JSON.parse(plain.stdout));
    }
    assert.ok((await host.cli(['info'])).stdout.includes(host.url), 'info tells the address');
    for (const args of [['check'], ['schema'], ['server', 'log', 'demo'], ['events', '--topic', 'supervision'], ['call', 'host.info'], ['server', 'restart', 'demo'], ['plugin', 'stop', 'tui'], ['ui', 'stop', 'tui'], ['tool', 'call', 'demo', 'echo', '{"text":"x"}']]) {
      const r = await host.cli(['--json', ...args]);
      assert.equal(r.code, 0, `${args}: ${r.stderr}`);
      if (args[0] === 'events') lines(r.stdout);
      else JSON.parse(r.stdout);
    }
  });

  test('events follows a topic from a number on', async () => {
    const first = await host.json(['chat', '-m', 'echo follow', '--yes']);
    const all = lines((await host.cli(['events', '--topic', `session:${first.session_id}`])).stdout);
    const rest = lines((await host.cli(['events', '--topic', `session:${first.session_id}`, '--from', String(all[3].seq)])).stdout);
    assert.deepEqual(rest, all.slice(3));
    assert.equal(lines((await host.cli(['events', '--topic', `session:${first.session_id}`, '-n', '2'])).stdout).length, 2);
  });

  test('mistakes are answered with the nearest name and a fitting exit code', async () => {
    const method = await host.cli(['call', 'server.lst']);
    assert.equal(method.code, 1);
    assert.match(method.stderr, /server\.list/);
    await assert.rejects(host.call('session.creat'), (e) => /session\.create/.test(e.message));
    const plugin = await host.cli(['plugin', 'restart', 'dem']);
    assert.equal(plugin.code, 1);
    assert.match(plugin.stderr, /did you mean 'demo'/);
    const server = await host.cli(['server', 'restart', 'demoo']);
    assert.equal(server.code, 1);
    assert.match(server.stderr, /demo/);
    const ui = await host.cli(['ui', 'stop', 'demo']);
    assert.equal(ui.code, 2);
    assert.match(ui.stderr, /no user interface/);
    const json = await host.cli(['call', 'host.info', '[1']);
    assert.equal(json.code, 2);
    const wrong = await host.cli(['call', 'session.get', '{"session_id":7}']);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /session_id/);
    const tool = await host.cli(['tool', 'call', 'demo', 'echo', 'not json']);
    assert.equal(tool.code, 2);
    assert.equal((await host.cli(['nosuchcommand'])).code, 2);
    assert.equal((await host.cli([])).code, 2);
  });
});

test('chat starts a host when none runs, and takes it along', async () => {
  const place = new Place(configuration());
  try {
    const r = await place.cli(['chat', '-m', 'what time is it?', '--yes']);
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, time);
    assert.match(r.stderr, /starting one/);
    assert.deepEqual(processesAbout(place.dir), [], 'the host it started has ended with it');
    const second = await place.cli(['--json', 'chat', '-m', 'echo again', '--yes']);
    assert.equal(second.code, 0, second.stderr);
    assert.match(JSON.parse(second.stdout).answer, /again/, 'only the object is on stdout');
    assert.deepEqual(processesAbout(place.dir), []);
  } finally {
    place.remove();
  }
});

test('the default configuration as it is shipped', async () => {
  const place = new Place(null);
  try {
    // The shipped file names a fixed port, which may be taken here; everything else is as it is.
    const text = fs.readFileSync(path.join(source, 'config', 'holdfast.json'), 'utf8');
    place.write(text.replace('127.0.0.1:7777', '127.0.0.1:0').replace('127.0.0.1:8080', '127.0.0.1:1'));
    assert.equal((await place.cli(['check'])).code, 0);
    const r = await place.cli(['chat', '-m', 'what time is it?', '--yes']);
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stdout, time);
  } finally {
    place.remove();
  }
});

test('a host that does not start is explained', async () => {
  const place = new Place(configuration({ store: { use: 'no-such-store' } }));
  try {
    const r = await place.cli(['chat', '-m', 'x']);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /no-such-store/);
    assert.deepEqual(processesAbout(place.dir), []);
  } finally {
    place.remove();
  }
});

test('without a host: exit code 4, and what to do', async () => {
  const place = new Place(configuration());
  try {
    for (const args of [['tree'], ['servers', '--json'], ['tool', 'call', 'demo', 'echo', '{}'], ['events'], ['call', 'host.info'], ['ui', 'start', 'tui']]) {
      const r = await place.cli(args);
      assert.equal(r.code, 4, `${args}: ${r.stderr}`);
      assert.match(r.stderr, /no host is running.*holdfast run/s);
    }
    place.write('{ "host": ');
    const broken = await place.cli(['tree'], { env: { HOLDFAST_DATA_DIR: '' } });
    assert.equal(broken.code, 3, broken.stderr);
  } finally {
    place.remove();
  }
});

test('the host goes away in the middle of an answer', () =>
  withHost(configuration({ plugins: { demo: { use: 'llm-demo', settings: { delay_ms: 50 } } } }), async (host) => {
    const admin = await host.control.subscribe('session:*');
    const chat = host.cli(['chat', '-m', 'tell a long story of 3000 words']);
    await admin.wait('StreamChunkReceived');
    await host.stop();
    const r = await chat;
    assert.equal(r.code, 1);
    assert.match(r.stderr, /host has gone away|interrupted|stopp/i);
  }));

describe('the command line by itself', () => {
  const commands = ['run', 'chat', 'check', 'schema', 'tree', 'plugins', 'servers', 'tools', 'sessions', 'llms', 'info', 'health', 'events', 'ui', 'server', 'plugin', 'tool', 'call', 'completion'];

  test('--help names every command, the exit codes and examples', async () => {
    const r = await execute(program, ['--help']);
    assert.equal(r.code, 0);
    for (const c of commands) assert.match(r.stdout, new RegExp(`^ +${c}\\b`, 'm'), c);
    assert.match(r.stdout, /Exit codes: 0 .*75/s);
    for (const [c, verbs] of Object.entries({ ui: ['start', 'stop', 'swap'], server: ['start', 'stop', 'restart', 'enable', 'disable', 'log'], plugin: ['start', 'stop', 'restart', 'remove'], tool: ['call'] })) {
      const help = await execute(program, [c, '--help']);
      assert.equal(help.code, 0);
      for (const v of verbs) assert.match(help.stdout, new RegExp(`^ +${v}\\b`, 'm'), `${c} ${v}`);
    }
    const version = await execute(program, ['--version']);
    assert.match(version.stdout, /^holdfast \d+\.\d+\.\d+/);
  });

  test('completion scripts parse and offer every command', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const script = await execute(program, ['completion', shell]);
      assert.equal(script.code, 0);
      for (const c of commands) assert.ok(script.stdout.includes(c), `${shell} offers ${c}`);
      if (shell === 'bash') {
        const checked = await execute('bash', ['-n'], { input: script.stdout });
        assert.equal(checked.code, 0, checked.stderr);
        const offered = await execute('bash', ['-c', `${script.stdout}\ncomplete -p holdfast`]);
        assert.match(offered.stdout, /complete .* holdfast/);
      }
    }
    assert.equal((await execute(program, ['completion', 'tcsh'])).code, 2);
  });

  test('schema is a JSON Schema with every plugin\'s settings', async () => {
    const r = await execute(program, ['schema']);
    const text = JSON.stringify(JSON.parse(r.stdout));
    for (const p of ['llm-demo', 'llm-openai', 'ui-http', 'store-sqlite', 'base_url', 'listen', 'mcpServers']) assert.ok(text.includes(p), p);
  });
});
