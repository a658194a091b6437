// Faults around the host rather than in a server: a full disk under the data directory, plugins that hang where they should stop.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Host, configuration, demoServer, testPlugins, until, withHost } from './host.mjs';

// ---- a full disk ------------------------------------------------------------------------------------------------------

/// In a mount namespace of its own, so that nothing is left mounted however the test ends.
const unshare = process.getuid() === 0 ? ['unshare', '-m'] : ['unshare', '-r', '-m'];
const canMount = spawnSync(unshare[0], [...unshare.slice(1), 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;

/// A host whose data directory is a file system of 64 MiB, which only it and its children see; here it is seen through /proc.
class SmallDiskHost extends Host {
  async launch(options = {}) {
    fs.mkdirSync(this.data, { recursive: true });
    return super.launch({ ...options, under: [...unshare, 'sh', '-c', 'mount -t tmpfs -o size=64m,mode=700 tmpfs "$HOLDFAST_DATA_DIR" && exec "$@"', 'sh'] });
  }
  get disk() {
    return `/proc/${this.child.pid}/root${this.data}`;
  }
  get socket() {
    return path.join(this.disk, 'control.sock');
  }
  /// Takes all the space there is.
  fill() {
    const fd = fs.openSync(path.join(this.disk, 'filler'), 'a');
    try {
      for (let size = 1 << 20; size >= 1; size >>= 1)
        try {
          for (;;) fs.writeSync(fd, Buffer.alloc(size));
        } catch (e) {
          assert.equal(e.code, 'ENOSPC');
        }
    } finally {
      fs.closeSync(fd);
    }
  }
  free() {
    fs.rmSync(path.join(this.disk, 'filler'));
  }
}

test('a full disk: messages are refused by name, nothing acknowledged is lost, and space brings it back', { skip: !canMount && 'mounting a file system is not allowed here' }, async () => {
  const host = await SmallDiskHost.start(configuration());
  try {
    const { session } = await host.chat('echo kept one');
    const history = async () => (await host.call('session.history', { session_id: session, limit: 500 })).messages.map((m) => JSON.stringify(m));
    const acknowledged = ['echo kept one'];
    host.fill();
    // What the store has in hand may still fit; then every message is refused, and says why.
    let refused = null;
    for (let i = 0; i < 200 && !refused; i++) {
      const text = `tell a story of 20 words, number ${i} ${'x'.repeat(2000)}`;
      try {
        await host.call('session.send', { session_id: session, content: text });
        acknowledged.push(text);
        await until('the turn is over', async () => (await host.call('session.get', { session_id: session })).state === 'idle');
      } catch (e) {
        refused = e;
      }
    }
    assert.ok(refused, 'a full disk refuses messages');
    await until('the log says so', () => /the store cannot be written: .*the disk is full/.test(host.log));
    assert.equal(refused.code, 'read_only');
    assert.match(refused.message, /holdfast\.db' cannot grow: the disk is full; make room/);
    // The rest serves: servers, the page, status.
    assert.equal(await host.echo('demo'), 'hi');
    assert.equal((await fetch(host.url)).status, 200);
    assert.ok((await host.call('server.list')).servers.length === 1);
    for (const text of acknowledged) assert.ok((await history()).some((m) => m.includes(text)), text.slice(0, 60));
    host.free();
    await until('messages are taken again', async () => (await host.call('host.health')).store.writable);
    assert.match((await host.chat('echo after', { session })).answer, /after/);
    acknowledged.push('echo after');
    // What the disk has, not what is remembered.
    const before = host.pid;
    process.kill(before, 'SIGKILL');
    await host.connect();
    await host.ready();
    assert.notEqual(host.pid, before);
    const back = await history();
    for (const text of acknowledged) assert.ok(back.some((m) => m.includes(text)), text.slice(0, 60));
    assert.match((await host.chat('echo again', { session })).answer, /again/);
  } finally {
    await host.close();
  }
});

/// A stdio server with one tool, described by the file it is given, read at every list.
const describedByFile = `
const fs = require('node:fs'), rl = require('node:readline').createInterface({ input: process.stdin });
const file = process.argv[1], send = (m) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...m }) + '\\n');
fs.watchFile(file, { interval: 20 }, () => send({ method: 'notifications/tools/list_changed' }));
rl.on('line', (line) => {
  const m = JSON.parse(line);
  if (m.id === undefined) return;
  if (m.method === 'initialize') return send({ id: m.id, result: { protocolVersion: '2025-11-25', capabilities: { tools: { listChanged: true } }, serverInfo: { name: 's', version: '1' } } });
  if (m.method === 'tools/list') return send({ id: m.id, result: { tools: [JSON.parse(fs.readFileSync(file, 'utf8'))] } });
  send(m.method === 'ping' ? { id: m.id, result: {} } : { id: m.id, error: { code: -32601, message: 'Method not found' } });
});
rl.on('close', () => process.exit(0));
`;

test('a full disk: what cannot be stored of servers and their tools is said, stays safe, and is stored when there is space', { skip: !canMount && 'mounting a file system is not allowed here' }, async () => {
  const host = await SmallDiskHost.start(configuration());
  try {
    const file = path.join(host.dir, 'tool.json');
    const define = (description) => (fs.writeFileSync(file + '.new', JSON.stringify({ name: 'note', description, inputSchema: { type: 'object' } })), fs.renameSync(file + '.new', file));
    define('keeps a note');
    const config = JSON.parse(fs.readFileSync(host.file, 'utf8'));
    config.mcpServers.s = { command: process.execPath, args: ['-e', describedByFile, file], era_probe_timeout_s: 0.5 };
    fs.writeFileSync(host.file, JSON.stringify(config));
    await host.call('config.reload');
    const pins = async (held) => (await host.call('gateway.pins', { server: 's', held })).pins;
    await until('the tool is pinned', async () => (await pins(false)).length === 1);
    host.fill();
    // What the store has in hand may still fit.
    let refused = null;
    for (let i = 1; i < 200 && !refused; i++) await host.call('server.update_config', { name: 's', config: { call_timeout_s: i, env: { FILLER: 'x'.repeat(4000) + i } } }).catch((e) => (refused = e));
    assert.equal(refused?.code, 'read_only');
    assert.match(refused.message, /in force, but not stored yet/);
    define('keeps a note, and sends it on');
    await until('the changed tool is held', async () => (await pins(true)).length === 1);
    await assert.rejects(host.call('gateway.approve', { server: 's', tool: 'note' }), /the tool is still held: .*the disk is full/);
    assert.equal((await pins(true)).length, 1, 'an approval that is not stored is none');
    host.free();
    await until('the store writes again', async () => (await host.call('host.health')).store.writable);
    await host.call('gateway.approve', { server: 's', tool: 'note' });
    assert.equal((await pins(true)).length, 0);
    define('keeps a note, and loses it');
    await until('it is held again', async () => (await pins(true)).length === 1);
    process.kill(host.pid, 'SIGKILL');
    await host.connect();
    await host.ready();
    await until('the pins of before', async () => (await pins(true)).length === 1);
    assert.deepEqual((await pins(true))[0].change.map((c) => [c.path, c.value]), [['/description', 'keeps a note, and loses it']]);
  } finally {
    await host.close();
  }
});

// ---- plugins that hang in stop ----------------------------------------------------------------------------------------

const forever_ms = 3_600_000;
const stop_timeout_ms = 5000;  // the host's for one plugin's stop

/// The thread that hangs is lost. withHost() stops the host at the end: that must not wait for it either.
describe('a plugin that hangs in stop', () => {
  test('while user interfaces are swapped: the new one serves, the other is given up by name', () =>
    withHost(configuration({
      host: { log: { level: 'info' }, plugin_path: [testPlugins] },
      plugins: { demo: { use: 'llm-demo', settings: { delay_ms: 0 } }, stuck: { use: 'bad_ui', settings: { stop_ms: forever_ms } },
        web: { use: 'ui-http', start: 'on_demand', settings: { listen: '127.0.0.1:0' } } },
    }), async (host) => {
      const begin = Date.now();
      const swapped = host.json(['ui', 'swap', 'stuck', 'web']);
      await until('the web interface serves beside the one that hangs', async () => (await fetch((await host.plugin('web')).url)).status === 200);
      assert.ok(Date.now() - begin < stop_timeout_ms, 'the new one did not wait for the old one');
      const { from, to } = await swapped;
      assert.equal(to.state, 'active');
      assert.equal(from.state, 'quarantined');
      assert.match(from.reason, /stop did not return in time/);
      assert.match((await host.chat('echo goes on')).answer, /goes on/);
      assert.equal((await host.call('host.info')).pid, host.pid);
    }));

  test('while a configuration is applied: the rest of it is applied, the host goes on', () =>
    withHost(configuration({
      host: { log: { level: 'info' }, plugin_path: [testPlugins] },
      plugins: { ...configuration().plugins, stuck: { use: 'bad_slow', settings: { stop_ms: forever_ms } } },
    }), async (host) => {
      const events = await host.control.subscribe('session:admin_dashboard');
      const apply = async (config) => {
        const from = events.list.length;
        host.write(config);
        const e = await events.wait((x) => x.type === 'admin_notification' && /configuration/.test(x.message), { from, ms: 60000 });
        assert.equal(e.severity, 'info', e.message);
        return e.context.changed.sort();
      };
      // Its settings change (its successor is needed), another plugin's too, and a server comes.
      const config = configuration({
        host: { log: { level: 'info' }, plugin_path: [testPlugins] },
        plugins: { ...configuration().plugins, stuck: { use: 'bad_slow', settings: { stop_ms: forever_ms, create_ms: 1 } } },
        mcpServers: { demo: demoServer(), more: demoServer() },
      });
      config.plugins.demo.settings.delay_ms = 1;
      assert.deepEqual(await apply(config), ['added mcpServers/more', 'changed plugins/demo', 'changed plugins/stuck']);
      assert.equal((await host.plugin('stuck')).state, 'active', 'its successor does not wait for its end');
      await until('the new server serves', () => host.echo('more'));
      assert.match((await host.chat('echo goes on')).answer, /goes on/);
      // And it is taken out altogether.
      delete config.plugins.stuck;
      assert.deepEqual(await apply(config), ['removed plugins/stuck']);
      assert.equal(await host.plugin('stuck'), undefined);
      assert.match((await host.chat('echo still there')).answer, /still there/);
      assert.equal((await host.call('host.info')).pid, host.pid);
    }));
});
