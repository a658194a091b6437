// The host under a service manager: what it tells the notify socket, and how the watchdog hears of a host that hangs.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Host, configuration, descendants, patience, source, testPlugins, until, within } from './host.mjs';

const monotonic_ms = () => Number(process.hrtime.bigint() / 1_000_000n);
const watchdog_ms = 2000 * patience;

/// A notify socket, and what was told to it.
class Manager {
  static async start(address) {
    const m = new Manager();
    m.address = address;
    m.told = [];
    m.child = spawn('python3', [path.join(source, 'tests', 'e2e', 'notify_socket.py'), address], { stdio: ['pipe', 'pipe', 'inherit'] });
    let text = '';
    m.child.stdout.on('data', (d) => {
      text += d;
      for (let end; (end = text.indexOf('\n')) >= 0; text = text.slice(end + 1)) m.told.push(JSON.parse(text.slice(0, end)));
    });
    await until('a notify socket', () => m.told.length > 0);
    return m;
  }
  /// The environment that a unit with Type=notify and WatchdogSec gets. The pid is known only once the process is there.
  get env() {
    return { NOTIFY_SOCKET: this.address, WATCHDOG_USEC: String(watchdog_ms * 1000) };
  }
  static under = ['sh', '-c', 'WATCHDOG_PID=$$ exec "$@"', 'sh'];

  find(pattern, from = 0) {
    return this.told.findIndex((t, i) => i >= from && pattern.test(t.text));
  }
  /// The index of the first datagram from `from` on that matches.
  async wait(pattern, from = 0, ms = 15000) {
    await until(() => `${pattern} at the notify socket; there were\n${this.told.slice(from).map((t) => t.text).join('\n')}`, () => this.find(pattern, from) >= 0, ms);
    return this.find(pattern, from);
  }
  beats() {
    return this.told.filter((t) => t.text === 'WATCHDOG=1');
  }
  async beat(count = 1) {
    const so_far = this.beats().length;
    await until(() => `${count} signs of life`, () => this.beats().length >= so_far + count, count * watchdog_ms + 5000);
  }
  /// When a service manager would end the service.
  silence() {
    return until('no sign of life for the watchdog’s time', () => monotonic_ms() - this.beats().at(-1).at > watchdog_ms, 5 * watchdog_ms + 5000);
  }
  async close() {
    this.child.stdin.end();
    await new Promise((yes) => (this.child.exitCode === null ? this.child.on('close', yes) : yes()));
    if (this.address[0] === '/') fs.rmSync(this.address, { force: true });
  }
}

let made = 0;
async function served(address, sections, body) {
  const manager = await Manager.start(address(`holdfast-notify-${process.pid}-${++made}`));
  try {
    const host = await Host.start(sections, { env: { ...manager.env, HOLDFAST_RESTARTS: '50/60/0' }, under: Manager.under });
    try {
      await body(host, manager);
    } finally {
      await host.close();
    }
  } finally {
    await manager.close();
  }
}
const at_path = (name) => path.join(os.tmpdir(), name);
const abstract = (name) => `@${name}`;

function restartable(more = {}) {
  const c = configuration();
  Object.assign(c.host, { restart_when_hung: true, hang_timeout_s: 1 }, more);
  c.plugins.demo.isolation = 'process';
  return c;
}

test('ready with status and pid, signs of life, none while the host is stopped, and the stop', () =>
  served(at_path, restartable(), async (host, manager) => {
    assert.equal(manager.told[1].text, 'STATUS=starting');
    const ready = manager.told[await manager.wait(/^READY=1\n/)].text;
    assert.match(ready, new RegExp(`^MAINPID=${host.guardian}$`, 'm'));
    assert.match(ready, /^STATUS=serving at http:\/\/127\.0\.0\.1:\d+\/?$/m, 'the address, without the token');

    await manager.beat(4);
    const beats = manager.beats();
    for (let i = 1; i < beats.length; i++) assert.ok(beats[i].at - beats[i - 1].at < watchdog_ms, `${beats[i].at - beats[i - 1].at} ms between two signs of life`);

    const below = descendants(host.pid).map((s) => s.pid);
    assert.ok(below.length >= 2, 'an MCP server and an isolated plugin');
    for (const pid of below) assert.doesNotMatch(fs.readFileSync(`/proc/${pid}/environ`, 'utf8'), /NOTIFY_SOCKET|WATCHDOG_|HOLDFAST_GUARDIAN/, `process ${pid}`);
    assert.doesNotMatch(fs.readFileSync(`/proc/${host.pid}/environ`, 'utf8'), /NOTIFY_SOCKET|WATCHDOG_/);

    const { pid } = host;
    process.kill(pid, 'SIGSTOP');  // twice as long as a host may hang: one that is stopped does not hang
    await manager.silence();
    process.kill(pid, 'SIGCONT');
    await manager.beat(2);
    await host.connect();
    assert.equal(host.pid, pid);
    assert.equal(await host.echo('demo'), 'hi');

    const so_far = manager.told.length;
    await host.stop();
    await manager.wait(/^STOPPING=1\n/, so_far);
    assert.equal(manager.told.filter((t) => t.text.startsWith('STOPPING=1')).length, 1);
    assert.equal(manager.find(/^READY=1/, so_far), -1);
  }));

test('a crash: restarting, then ready again, and signs of life throughout; SIGHUP: reloading, then ready', () =>
  served(abstract, configuration(), async (host, manager) => {
    await manager.wait(/^READY=1\n/);
    await manager.beat();
    const crash = manager.told.length;
    process.kill(host.pid, 'SIGKILL');
    const restarting = await manager.wait(/^STATUS=restarting: the host ended \(signal 9\)$/, crash);
    const again = await manager.wait(/^READY=1\n/, restarting);
    assert.equal(manager.find(/^STOPPING=1/), -1);
    await host.connect();
    await manager.beat(2);

    process.kill(host.guardian, 'SIGHUP');
    const reloading = await manager.wait(/^RELOADING=1\nMONOTONIC_USEC=\d+\n/, again);
    const at_us = Number(/MONOTONIC_USEC=(\d+)/.exec(manager.told[reloading].text)[1]);
    assert.ok(Math.abs(at_us / 1000 - manager.told[reloading].at) < 5000 * patience, 'of the monotonic clock');
    await manager.wait(/^READY=1\n/, reloading);
    assert.equal(await host.echo('demo'), 'hi');
  }));

test('a stop that was asked for over the API is told as well', () =>
  served(abstract, configuration(), async (host, manager) => {
    await host.call('host.shutdown');
    await manager.wait(/^STOPPING=1\n/);
    assert.deepEqual(await within(host.ended, 15000, 'the host to end'), { code: 0, signal: null });
  }));

test('a host whose threads are all stuck is ended and restarted, if so configured', async () => {
  const c = restartable({ threads: 1, plugin_path: [testPlugins] });
  c.plugins.bad = { use: 'bad_dies' };
  c.llm = { default: 'bad' };
  await served(abstract, c, async (host, manager) => {
    const ready = await manager.wait(/^READY=1\n/);
    const { pid } = host;
    const { session_id } = await host.call('session.create');
    host.call('session.send', { session_id, content: 'deadlock' }).catch(() => {});
    const hung = await manager.wait(/^STATUS=the host has not answered for 1000 ms/, ready);
    await manager.wait(/^READY=1\n/, hung, 30000);
    await host.connect();
    assert.notEqual(host.pid, pid);
    await host.ready();
    assert.equal(await host.echo('demo'), 'hi');
    assert.match(host.log, /has not answered/);
    const bad = await host.plugin('bad');
    assert.equal(bad.isolation, 'process', 'the plugin that held the thread is in a process of its own from now on');
  });
});
