// Plugins in processes of their own, and what the host learns from a plugin that crashes it.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { alive, configuration, descendants, fdCount, sanitizer, testPlugins, until, withHost } from './host.mjs';

const apart = (plugin, more = {}) => ({ ...plugin, isolation: 'process', supervision: { max_restarts: 50, backoff: { initial_ms: 1, max_ms: 5, multiplier: 1, jitter: 0 } }, ...more });

/// Every plugin of the default configuration in a process of its own.
function everythingApart() {
  const c = configuration();
  for (const id of ['demo', 'web', 'tui']) c.plugins[id] = apart(c.plugins[id]);
  for (const use of ['transport-stdio', 'transport-http', 'breaker-consecutive', 'health-threshold', 'store-sqlite']) c.plugins[use] = apart({ use });
  return c;
}

describe('plugins in processes of their own', () => {
  test('the default configuration chats, serves its page and calls a tool with all of them apart', () =>
    withHost(everythingApart(), async (host) => {
      const plugins = (await host.call('plugin.list')).plugins.filter((p) => p.state === 'active');
      assert.ok(plugins.length >= 7);
      for (const p of plugins) {
        assert.equal(p.isolation, 'process', p.id);
        assert.ok(alive(p.pid), p.id);
        assert.ok(['full', 'partial', 'none'].includes(p.sandbox.level), JSON.stringify(p.sandbox));
      }
      assert.equal(await host.echo('demo', 'across'), 'across');
      const turn = await host.chat('what time is it?');
      assert.match(turn.answer, /\d{4}-\d\d-\d\dT/);
      const page = await fetch(host.url + '/', { headers: { authorization: `Bearer ${host.token}` } });
      assert.equal(page.status, 200);
      assert.match((await host.cli(['plugins'])).stdout, /process/);
    }));

  test('kill -9 of each of them: back at once, the rest keeps serving', () =>
    withHost(everythingApart(), async (host) => {
      const fds = fdCount(host.pid);
      for (const id of ['demo', 'transport-stdio', 'breaker-consecutive', 'health-threshold', 'web', 'store-sqlite']) {
        const before = await host.plugin(id);
        process.kill(before.pid, 'SIGKILL');
        await until(`${id} to be back`, async () => {
          const now = await host.plugin(id);
          return now.state === 'active' && now.pid !== before.pid && now.restarts === before.restarts + 1;
        }, 10000);
        await until('a tool call to work', async () => (await host.echo('demo', id).catch(() => '')) === id, 15000);
        const turn = await host.chat(`echo after-${id}`);
        assert.match(turn.answer, new RegExp(`after-${id}`));
      }
      await until('no descriptor is left behind', () => fdCount(host.pid) <= fds + 4);
      assert.equal(host.end, null, 'the host itself never ended');
    }));
});

describe('a plugin that crashes the host', () => {
  const bad = (more = {}) => {
    const c = configuration({ llm: { default: 'bad' } });
    c.host.plugin_path = [testPlugins];
    c.plugins.bad = { use: 'bad_dies', supervision: { max_restarts: 50, backoff: { initial_ms: 1, max_ms: 5, multiplier: 1, jitter: 0 } }, ...more };
    return c;
  };
  const env = { HOLDFAST_RESTARTS: '50/60/0' };
  const reports = (host) => fs.readdirSync(path.join(host.data, 'crashes')).filter((f) => f.startsWith('crash-')).sort()
    .map((f) => JSON.parse(fs.readFileSync(path.join(host.data, 'crashes', f), 'utf8')));
  /// Sends the message that kills, and waits for the host that comes after.
  async function crash(host, how) {
    const { session_id } = await host.call('session.create');
    const old = host.pid;
    const begun = Date.now();
    host.call('session.send', { session_id, content: how }).catch(() => {});
    await until('the host to be gone', () => !alive(old));
    await until('another host', async () => (await host.connect(), host.pid !== old));
    return { session_id, ms: Date.now() - begun };
  }

  for (const [how, signal] of [['segv', 'SIGSEGV'], ['abort', 'SIGABRT'], ['overflow', 'SIGSEGV'], ['exit', 'exit(3)']])
    test(`${how}: the host is back, the guilty one is named and runs apart`, () =>
      withHost(bad(), async (host) => {
        const first = await host.chat('ok');
        assert.equal(first.answer, 'alive');
        const { session_id, ms } = await crash(host, how);
        await host.ready();
        const sessions = (await host.call('session.list')).sessions.map((s) => s.session_id);
        assert.ok(sessions.includes(session_id) && sessions.includes(first.session), 'sessions are back');
        const [report] = reports(host);
        assert.equal(report.plugin, 'bad', JSON.stringify(report));
        assert.equal(report.signal, signal);
        assert.ok(report.stack.some((f) => /die_here|recurse/.test(f.function) && /bad_dies\.cpp:\d+/.test(f.source ?? '')), JSON.stringify(report.stack.slice(0, 8)));
        const now = await host.plugin('bad');
        assert.equal(now.isolation, 'process');
        assert.match(now.isolated_because, /crashed the host.*holdfast plugin release bad/);
        assert.ok(ms < 5000 * Number(process.env.HOLDFAST_PATIENCE ?? 1), `back after ${ms} ms`);
        const events = await host.call('events.read', { topic: 'plugin:bad' });
        assert.ok(events.events.some((e) => e.type === 'plugin_crashed'));
      }, { env }));

  test('a damaged heap is blamed on nobody', { skip: sanitizer !== '' && 'the heap is watched here: its first damage is reported' }, () =>
    withHost(bad(), async (host) => {
      const { session_id } = await crash(host, 'heap');
      await host.ready();
      assert.ok((await host.call('session.list')).sessions.some((s) => s.session_id === session_id));
      const [report] = reports(host);
      assert.equal(report.plugin, '', JSON.stringify(report));
      assert.match(report.not_attributable, /heap/);
      assert.equal((await host.plugin('bad')).isolation, 'in-process');
    }, { env }));

  test('one that ends without a trace, as if nothing were wrong, is a crash that is blamed on nobody', () =>
    withHost(bad(), async (host) => {
      const { session_id } = await crash(host, '_exit');
      await host.ready();
      assert.ok((await host.call('session.list')).sessions.some((s) => s.session_id === session_id));
      const [report] = reports(host);
      assert.deepEqual([report.signal, report.plugin], ['_exit(0)', ''], JSON.stringify(report));
      assert.match(report.not_attributable, /several plugins were active/);
    }, { env }));

  const hanging = (more) => {
    const c = bad(more);
    c.host.stuck_call_s = 0.5;
    return c;
  };
  for (const how of ['loop', 'deadlock'])
    test(`${how}: a call that hangs is told of, its thread replaced, the plugin started afresh; the host goes on`, () =>
      withHost(hanging(), async (host) => {
        const told = await host.control.subscribe('session:admin_dashboard');
        const old = host.pid;
        const first = await host.chat('ok');
        const { session_id } = await host.call('session.create');
        host.call('session.send', { session_id, content: how }).catch(() => {});
        const event = await told.wait('plugin_hung');
        assert.deepEqual([event.plugin, event.seconds], ['bad', 0.5]);
        await until('it is started afresh', async () => {
          const p = await host.plugin('bad');
          return p.state === 'active' && p.restarts === 1;
        }, 30000);
        assert.equal((await host.chat('ok', { session: first.session })).answer, 'alive');
        assert.equal(host.pid, old);
        assert.match(host.log, /plugin 'bad' hangs: a call into it has not returned for 0.5 s/);
      }, { env }));

  test('a call that hangs restarts the host where the configuration says so', () =>
    withHost(hanging({ on_hang: 'restart_host' }), async (host) => {
      const old = host.pid;
      const { session_id } = await host.call('session.create');
      host.call('session.send', { session_id, content: 'loop' }).catch(() => {});
      await until('another host', async () => (await host.connect(), host.pid !== old), 30000);
      await host.ready();
      assert.ok((await host.call('session.list')).sessions.some((s) => s.session_id === session_id));
      assert.match(host.log, /the host is restarted, as configured/);
    }, { env }));

  test('three times: quarantined until it is released', () =>
    withHost(bad(), async (host) => {
      await crash(host, 'segv');
      await host.ready();
      const { session_id } = await host.call('session.create');
      for (let i = 0; i < 5 && (await host.plugin('bad')).state !== 'quarantined'; ++i) {
        await until('bad to be up or out', async () => ['active', 'quarantined'].includes((await host.plugin('bad')).state));
        await host.call('session.send', { session_id, content: 'segv' }).catch(() => {});
        await until('the turn to end', async () => (await host.call('session.get', { session_id })).state === 'idle');
      }
      await until('the quarantine', async () => (await host.plugin('bad')).state === 'quarantined');
      const out = await host.plugin('bad');
      assert.match(out.reason, /crashed 3 times/);
      assert.equal(out.lift, 'holdfast plugin release bad');
      await assert.rejects(host.call('plugin.start', { id: 'bad' }), /plugin release bad/);
      const r = await host.cli(['plugin', 'release', 'bad']);
      assert.equal(r.code, 0, r.stderr);
      await until('it runs as configured', async () => {
        const p = await host.plugin('bad');
        return p.state === 'active' && p.isolation === 'in-process';
      });
      assert.equal((await host.chat('ok')).answer, 'alive');
      assert.notEqual((await host.cli(['plugin', 'release', 'bad'])).code, 0, 'there is nothing left to lift');
    }, { env }));

  test('kill -9 from outside blames nobody', () =>
    withHost(bad(), async (host) => {
      const old = host.pid;
      process.kill(old, 'SIGKILL');
      await until('another host', async () => (await host.connect(), host.pid !== old));
      await host.ready();
      assert.deepEqual(reports(host), []);
      assert.equal((await host.plugin('bad')).isolation, 'in-process');
    }, { env }));

  test('apart, its death is its own: the report has the stack, the host never ends', () =>
    withHost(bad({ isolation: 'process' }), async (host) => {
      const old = host.pid;
      const turn = await host.chat('segv');
      assert.ok(turn.errors.length > 0);
      await until('the report', () => reports(host).length > 0);
      const [report] = reports(host);
      assert.deepEqual([report.plugin, report.signal, report.isolated, report.call], ['bad', 'SIGSEGV', true, 'submit']);
      assert.ok(report.stack.some((f) => /die_here/.test(f.function)));
      await until('it is back', async () => (await host.plugin('bad')).state === 'active');
      assert.equal((await host.chat('ok')).answer, 'alive');
      assert.equal(host.pid, old);
      assert.ok(descendants(host.guardian).length > 0);
    }, { env }));
});
