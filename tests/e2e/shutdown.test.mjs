// Orderly stops, impatient stops, crashes: nothing is left behind, and the host is back within a second.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { Host, alive, badServer, configuration, demoServer, descendants, processesAbout, patience, until, withHost, within } from './host.mjs';

const two = { demo: demoServer(), second: demoServer() };

test('SIGTERM: an orderly stop within five seconds, exit code 0, no process and no file left', async () => {
  const host = await Host.start(configuration({ mcpServers: two }));
  const { session } = await host.chat('echo before the stop');
  const begin = Date.now();
  await host.stop();
  assert.ok(Date.now() - begin < 5000, `it took ${Date.now() - begin} ms`);
  await host.launch();  // and it starts again, with everything there
  const history = await host.call('session.history', { session_id: session });
  assert.ok(history.messages.some((m) => m.text === 'echo before the stop'));
  await host.close();
});

test('SIGINT and host.shutdown are orderly stops, too', async () => {
  for (const how of [(h) => process.kill(h.guardian, 'SIGINT'), (h) => h.call('host.shutdown').catch(() => {})]) {
    const host = await Host.start(configuration());
    const below = descendants(host.guardian);
    assert.ok(below.length >= 2);
    how(host);
    assert.deepEqual(await within(host.ended, 5000, 'the host to end'), { code: 0, signal: null });
    assert.deepEqual(below.filter((s) => alive(s.pid)), []);
    await host.close();
  }
});

test('a stop in the middle of an answer and of a tool call: the turn is interrupted, not lost', async () => {
  const host = await Host.start(configuration({ mcpServers: two, plugins: { demo: { use: 'llm-demo', settings: { delay_ms: 20 } } } }));
  const story = (await host.call('session.create')).session_id;
  const events = await host.control.subscribe(`session:${story}`);
  await host.call('session.send', { session_id: story, content: 'tell a long story of 3000 words' });
  const call = host.call('tool.call', { server: 'demo', tool: 'slow', arguments: { duration_ms: 20000 } }).catch((e) => e);
  await events.wait((e) => e.type === 'StreamChunkReceived' && e.index >= 3);
  const begin = Date.now();
  await host.stop();
  assert.ok(Date.now() - begin < 5000, `it took ${Date.now() - begin} ms`);
  assert.ok((await call) instanceof Error);
  await host.launch();
  const snapshot = await host.call('session.get', { session_id: story });
  assert.equal(snapshot.state, 'idle');
  assert.equal(snapshot.messages.filter((m) => m.role === 'user').length, 1);
  assert.notEqual(snapshot.messages.at(-1).status, 'streaming');
  await host.close();
});

test('a server that ignores SIGTERM does not hold up the stop', async () => {
  const host = await Host.start(configuration({ mcpServers: { stubborn: { command: badServer, args: ['--mode', 'stubborn'], stop_grace_s: 1 } } }));
  assert.equal(await host.echo('stubborn'), 'hi');
  const begin = Date.now();
  await host.stop();
  assert.ok(Date.now() - begin < 5000, `it took ${Date.now() - begin} ms`);
  await host.close();
});

test('kill -9 of the host: serving again within a second, nothing of the old one is left', () =>
  withHost(configuration({ mcpServers: two }), async (host) => {
    const times = [];
    for (let round = 0; round < 3; round++) {
      const old = descendants(host.pid).map((s) => s.pid);
      assert.ok(old.length >= 2);
      const before = host.pid;
      const killed = Date.now();
      process.kill(before, 'SIGKILL');
      await until('the old host is gone', () => !alive(before));
      await host.connect(5000);
      // While the store is coming up, calls are refused: unavailable, to be tried again.
      await until('a session can be made', () => host.call('session.create').catch((e) => assert.equal(e.code, 'unavailable')), 5000);
      const back = Date.now() - killed;
      assert.ok(back < 3000 * patience, `it took ${back} ms`);
      times.push(back);
      assert.notEqual(host.pid, before);
      await until('what the old host left is ended', () => old.every((pid) => !alive(pid)), 1000);
      await host.ready();
      assert.equal(await host.echo('demo'), 'hi');
      const expected = new Set([host.guardian, host.pid, ...descendants(host.pid).map((s) => s.pid)]);
      assert.deepEqual(processesAbout(host.dir).filter((pid) => !expected.has(pid)), []);
    }
    // Tests share their machine: the promise is judged by the round that was disturbed least. It is not a sanitized build's.
    assert.ok(Math.min(...times) < 1000 * patience, `serving again took ${times} ms`);
  }));

test('kill -9 of the guardian takes everything with it', async () => {
  const host = await Host.start(configuration({ mcpServers: two }));
  const below = descendants(host.guardian).map((s) => s.pid);
  process.kill(host.guardian, 'SIGKILL');
  await host.ended;
  try {
    await until('host and servers are gone', () => below.every((pid) => !alive(pid)), 5000);
  } finally {
    await host.close();
  }
});

test('a second SIGTERM ends a stop that takes too long', async () => {
  const host = await Host.start(configuration({ mcpServers: { stubborn: { command: badServer, args: ['--mode', 'stubborn'], stop_grace_s: 20 } } }));
  await host.echo('stubborn');
  const below = descendants(host.guardian).map((s) => s.pid);
  process.kill(host.guardian, 'SIGTERM');
  await until('the stop has begun', () => /stopping/.test(host.log));
  assert.ok(host.end === null);
  const begin = Date.now();
  process.kill(host.guardian, 'SIGTERM');
  const end = await within(host.ended, 3000, 'the guardian to end');
  assert.ok(Date.now() - begin < 2000);
  assert.notEqual(end.code, 0);
  await until('nothing is left', () => below.every((pid) => !alive(pid)), 2000);
  await host.close();
});

test('the guardian gives up on a host that keeps crashing: exit code 75', async () => {
  const host = await Host.start(configuration(), { ready: false });
  try {
    let kills = 0;
    while (host.end === null && kills < 20) {
      const child = await until('a host to kill', () => host.end !== null || descendants(host.guardian).find((s) => s.parent === host.guardian && s.state !== 'Z'), 20000);
      if (host.end !== null) break;
      try {
        process.kill(child.pid, 'SIGKILL');
        kills++;
      } catch { /* gone by itself */ }
      await until('it is gone', () => host.end !== null || !alive(child.pid));
    }
    const end = await within(host.ended, 15000, 'the guardian to give up');
    assert.equal(end.code, 75, host.log);
    assert.ok(kills >= 3, `after ${kills} crashes`);
    assert.match(host.log, /gave up|giving up|gives up/i);
    assert.deepEqual(processesAbout(host.dir), []);
  } finally {
    await host.close();
  }
});

test('a lock or a socket of a host that was killed does not stand in the way', async () => {
  const host = await Host.start(configuration());
  // Both at once, so that neither can tidy up: as when the power fails.
  process.kill(host.guardian, 'SIGSTOP');
  process.kill(host.pid, 'SIGKILL');
  process.kill(host.guardian, 'SIGKILL');
  await host.ended;
  await until('all of it is gone', () => processesAbout(host.dir).length === 0, 5000);
  assert.ok(fs.existsSync(host.socket));
  await host.launch();
  assert.equal(await host.echo('demo'), 'hi');
  await host.close();
});
