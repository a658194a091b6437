// A plugin with three workers, one of which throws: each strategy restarts exactly the right ones, in the right order.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { configuration, testPlugins, until, withHost } from './host.mjs';

const names = ['w1', 'w2', 'w3'];

function three(dir, strategy, more = {}, settings = {}) {
  const c = configuration();
  c.host.plugin_path = [testPlugins];
  c.plugins.trio = { use: 'three_workers', settings: { trigger_dir: dir, ...settings },
    supervision: { strategy, backoff: { initial_ms: 1, max_ms: 10, multiplier: 1, jitter: 0 }, ...more } };
  return c;
}

async function withTrio(strategy, body, more, settings) {
  let dir;
  await withHost(null, async (host) => {
    const runs = () => (fs.existsSync(path.join(dir, 'runs')) ? fs.readFileSync(path.join(dir, 'runs'), 'utf8').trim().split('\n') : []);
    await until('all workers run', () => runs().length >= 3);
    await body({
      host, runs,
      tell: (what) => fs.writeFileSync(path.join(dir, what), ''),
      // As a person would look: `holdfast tree --json`.
      trio: async () => {
        const find = (n) => (n.id === 'trio' ? n : n.children.map(find).find(Boolean));
        return find(await host.json(['tree']));
      },
    });
  }, { before: (h) => {
    dir = path.join(h.dir, 'triggers');
    fs.mkdirSync(dir);
    h.write(three(dir, strategy, more, settings));
  } });
}

const cases = [
  { strategy: 'one_for_one', fails: 'w2', restarted: ['w2'], stopped: [] },
  { strategy: 'one_for_all', fails: 'w2', restarted: ['w1', 'w2', 'w3'], stopped: ['w3', 'w1'] },
  { strategy: 'rest_for_one', fails: 'w2', restarted: ['w2', 'w3'], stopped: ['w3'] },
  { strategy: 'rest_for_one', fails: 'w1', restarted: ['w1', 'w2', 'w3'], stopped: ['w3', 'w2'] },
  { strategy: 'rest_for_one', fails: 'w3', restarted: ['w3'], stopped: [] },
];

describe('three workers', () => {
  for (const c of cases)
    test(`${c.strategy}, ${c.fails} throws: ${c.restarted} restart`, () =>
      withTrio(c.strategy, async ({ host, runs, tell, trio }) => {
        const before = await trio();
        assert.deepEqual(before.children.map((w) => w.id), names);
        for (const field of ['id', 'kind', 'state', 'restarts', 'incarnation', 'last_exit', 'uptime_ms', 'children']) assert.ok(field in before.children[0], field);
        assert.deepEqual(before.children.map((w) => [w.kind, w.state, w.restarts]), names.map(() => ['worker', 'running', 0]));
        // A thread's first line may come late; the supervisor's own reports say in which order it started them.
        const progress = await host.control.subscribe({ topic: 'supervision', from: 1 });
        const started = () => progress.list.filter((e) => e.type === 'progress' && names.includes(e.id)).map((e) => e.id);
        await until('the reports of the start', () => started().length >= 3);
        assert.deepEqual(started(), names, 'started in order');
        const others = (await host.call('host.tree')).children.map((n) => [n.id, n.incarnation]);
        const seen = runs().length;

        tell(`throw-${c.fails}`);
        const expected = 1 + c.stopped.length + c.restarted.length;  // an end of the failed one, the stopped ones, the starts
        await until(() => `the restarts; there are ${runs().slice(seen).join(', ')}`, () => runs().length >= seen + expected);
        const after = await until('all run again', async () => {
          const t = await trio();
          return t.children.every((w) => w.state === 'running') && t;
        });
        const happened = runs().slice(seen).map((l) => l.split(' '));
        assert.deepEqual(happened.filter((l) => l[1] === 'end').map((l) => l[0]), [c.fails, ...c.stopped], 'stopped in reverse order');
        await until('the reports of the restarts', () => started().length >= 3 + c.restarted.length);
        assert.deepEqual(started().slice(3), c.restarted, 'started in order');
        assert.deepEqual(happened.filter((l) => l[1] !== 'end').map((l) => l[0]).sort(), [...c.restarted].sort());
        const starts = happened.findIndex((l) => l[1] !== 'end');
        assert.ok(happened.slice(starts).every((l) => l[1] !== 'end'), 'all stops before the first start');

        after.children.forEach((w, i) => {
          const was = before.children[i];
          const again = c.restarted.includes(w.id);
          assert.equal(w.incarnation, was.incarnation + (again ? 1 : 0), `${w.id} incarnation`);
          assert.equal(w.restarts, again ? 1 : 0, `${w.id} restarts`);
          if (!again) assert.ok(w.uptime_ms >= was.uptime_ms, `${w.id} went on`);
        });
        const failed = after.children.find((w) => w.id === c.fails);
        assert.match(JSON.stringify(failed.last_exit), new RegExp(`${c.fails} was told to throw`));
        assert.equal(after.incarnation, before.incarnation, 'the plugin itself went on');
        assert.deepEqual((await host.call('host.tree')).children.map((n) => [n.id, n.incarnation]), others, 'nothing else restarted');
        const reports = (await host.call('events.read', { topic: 'supervision', from: 1, limit: 1000 })).events.filter((e) => e.type === 'child_terminated' && e.id === c.fails);
        assert.equal(reports.length, 1);
        assert.match(JSON.stringify(reports[0].reason), /told to throw/);
      }));

  test('transient: a worker that returns is not restarted, one that throws is', () =>
    withTrio('one_for_one', async ({ tell, trio, runs }) => {
      tell('return-w1');
      await until('w1 has ended', () => runs().includes('w1 end'));
      tell('throw-w3');
      await until('w3 runs again', () => runs().filter((l) => l.startsWith('w3 ') && l !== 'w3 end').length === 2);
      const t = await trio();
      assert.equal(t.children.find((w) => w.id === 'w2').restarts, 0);
      assert.ok(!runs().slice(3).some((l) => l.startsWith('w1 ') && l !== 'w1 end'));
    }, {}, { restart: 'transient' }));

  test('a worker that keeps failing takes its plugin with it, not the host: intensity exceeded', () =>
    withTrio('one_for_one', async ({ host, tell, runs }) => {
      const servers = await host.node('servers');
      for (let i = 1; i <= 3; i++) {
        const n = runs().length;
        tell('throw-w1');
        await until('it has failed', () => runs().length > n);
        if (i < 3) await until('it runs again', () => runs().at(-1).startsWith('w1 ') && runs().at(-1) !== 'w1 end');
      }
      await until('the plugin is restarted', async () => {
        const p = await host.plugin('trio');
        return p.state === 'active' && p.restarts >= 1;
      });
      await until('all workers run in the new instance', () => runs().slice(-3).map((l) => l.split(' ')[0]).sort().join() === 'w1,w2,w3' && !runs().slice(-3).some((l) => l.endsWith('end')));
      assert.equal((await host.node('servers')).incarnation, servers.incarnation);
      assert.equal(await host.echo('demo'), 'hi');
    }, { max_restarts: 2, window_s: 60 }));
});
