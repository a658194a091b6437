// MCP servers that are killed, that die, that misbehave: what the host says, how fast it is back, and that the neighbours notice nothing.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Host, alive, badServer, configuration, demoServer, fdCount, patience, until, withHost, zombiesOf } from './host.mjs';

const bad = (mode, ...more) => ({ command: badServer, args: ['--mode', ...String(mode).split(' '), ...more] });
const withServers = (mcpServers, body, sections = {}) => withHost(configuration({ ...sections, mcpServers: { demo: demoServer(), ...mcpServers } }), body);

async function failure(promise) {
  try {
    await promise;
  } catch (e) {
    return e;
  }
  throw new Error('this call should have failed');
}

test('kill -9 of a server: a status event with all its fields, recovery at once, the next call works within a second', () =>
  withServers({ neighbour: demoServer() }, async (host) => {
    const neighbour = await host.server('neighbour');
    const health = await host.control.subscribe('health');
    const board = await host.control.subscribe('session:admin_dashboard');
    for (let round = 0; round < 3; round++) {
      const events = await host.control.subscribe('server:demo');
      const { pid } = await host.server('demo');
      assert.ok(alive(pid));
      const killed = Date.now();
      process.kill(pid, 'SIGKILL');
      const lost = await events.wait({ type: 'mcp_status_change', old_status: 'healthy' });
      for (const field of ['type', 'timestamp', 'mcp_name', 'old_status', 'new_status', 'reason', 'recovery_eta']) assert.ok(field in lost, field);
      assert.deepEqual([lost.mcp_name, lost.old_status, lost.new_status], ['demo', 'healthy', 'disconnected']);
      assert.match(lost.reason, /SIGKILL|signal 9|killed/i);
      assert.equal(lost.recovery_eta, '0s');
      assert.ok(Math.abs(Date.parse(lost.timestamp) - killed) < 1000);
      assert.equal(await until('a call that works', () => host.echo('demo', `round ${round}`), 1000), `round ${round}`);
      assert.ok(Date.now() - killed < 1000, `the next call took ${Date.now() - killed} ms`);
      const back = await events.wait({ type: 'mcp_status_change', new_status: 'healthy' });
      assert.ok(back.seq > lost.seq);
      const row = await host.server('demo');
      assert.notEqual(row.pid, pid);
      assert.equal(row.status, 'healthy');
      assert.equal(row.restarts, round + 1);
      assert.ok(!alive(pid));
    }
    await health.wait((e) => e.mcp_name === 'demo' && e.event === 'recovery_success');
    assert.ok(board.list.filter((e) => e.type === 'mcp_status_change').length >= 6, 'the dashboard hears it, too');
    const after = await host.server('neighbour');
    assert.deepEqual([after.pid, after.restarts, after.status], [neighbour.pid, 0, 'healthy']);
    assert.ok(!health.list.some((e) => e.mcp_name === 'neighbour'));
    assert.deepEqual(zombiesOf(host.pid), []);
    assert.ok(!(await host.server('demo')).reason.includes('SIGKILL'), 'the reason is that of now');
  }));

test('a call under way when the server is killed is not repeated: its outcome is unknown', () =>
  withServers({}, async (host) => {
    const events = await host.control.subscribe('health');
    const call = host.call('tool.call', { server: 'demo', tool: 'slow', arguments: { duration_ms: 20000 } });
    const before = await host.server('demo');
    await until('the call is under way', async () => fs.readFileSync(`/proc/${before.pid}/io`, 'latin1').includes('rchar'));
    // An answered request behind the slow one on the same pipe: the slow one has arrived.
    await host.echo('demo');
    process.kill(before.pid, 'SIGKILL');
    const e = await failure(call);
    assert.equal(e.code, 'transport_lost', e.message);
    assert.match(e.message, /demo/);
    await events.wait((x) => x.event === 'recovery_success');
  }));

test('a server that dies at every start does not disturb its neighbours', () =>
  withServers({ dead: { ...bad('exit_at_once'), breaker: { first_delay_s: 0.2 } } }, async (host) => {
    const events = await host.control.subscribe({ topic: 'server:dead', from: 1 });
    const { pid } = await host.server('demo');
    const progress = await events.wait('recovery_progress', { ms: 20000 });
    for (const field of ['mcp_name', 'attempt', 'max_attempts', 'next_attempt_in', 'status']) assert.ok(field in progress, field);
    // While it is tried again and again: attempts at 0, 0.2, 0.6 and 1.4 s.
    const least = Date.now() + 1000, latest = Date.now() + 20000 * patience;
    let calls = 0;
    while (Date.now() < least || ((await host.server('dead')).consecutive_failures < 3 && Date.now() < latest)) {
      const begin = Date.now();
      assert.equal(await host.echo('demo'), 'hi');
      assert.ok(Date.now() - begin < 500, `a call took ${Date.now() - begin} ms`);
      calls++;
      await new Promise((r) => setImmediate(r));
    }
    const dead = await host.server('dead');
    assert.equal(dead.status, 'disconnected');
    assert.ok(dead.consecutive_failures >= 3, JSON.stringify(dead));
    assert.match(dead.reason, /exit|status 3|does not read any more/i);
    assert.ok((await host.call('server.log', { name: 'dead' })).lines.some((l) => JSON.stringify(l).includes('I do not feel like it')), 'its last words are kept');
    const e = await failure(host.echo('dead'));
    assert.match(e.message, /dead/);
    assert.equal((await host.server('demo')).pid, pid);
    assert.deepEqual(zombiesOf(host.pid), []);
    const health = await host.call('host.health');
    assert.equal(health.status, 'degraded');
  }));

test('a shell that allows few descriptors allows a hundred servers', async () => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`s${i}`, demoServer()]));
  const host = new Host(configuration({ mcpServers: many }));
  try {
    await host.launch({ under: ['sh', '-c', 'ulimit -Sn 128 && exec "$@"', 'sh'] });
    await until('every server', async () => (await host.call('server.list')).servers.filter((s) => s.status === 'healthy').length === 100, 60000);
  } finally {
    await host.close();
  }
});

describe('servers that misbehave', () => {
  // After a first round, everything that is opened once is open; a second round must not open more.
  async function steady(host, round) {
    await round();
    await host.echo('demo');
    const fds = async () => {
      await until('no child is left to be collected', () => zombiesOf(host.pid).length === 0);
      return fdCount(host.pid);
    };
    const before = await fds();
    for (let i = 0; i < 3; i++) await round();
    await until(() => `as many file descriptors as before (${before}), there are ${fdCount(host.pid)}`, async () => (await fds()) <= before);
    assert.equal(await host.echo('demo'), 'hi');
    assert.equal((await host.server('demo')).restarts, 0);
  }

  const soon = 0.25 * patience;  // for what never comes
  const quick = { connect_timeout_s: soon, call_timeout_s: soon };
  // Faults of the first message: the server never becomes healthy.
  const atStart = {
    exit_at_once: /exit|status 3|code 3/i,
    garbage: /no JSON-RPC: see its log/,
    never_answer: /answer|time|within|silent/i,
    foreign_id: /answer|time|within|id/i,
  };
  for (const [mode, reason] of Object.entries(atStart))
    test(`${mode}: never healthy, with a clear reason`, () =>
      withServers({ odd: { ...bad(mode), ...quick } }, async (host) => {
        const row = await until('a failed attempt', async () => {
          const r = await host.server('odd');
          return r.consecutive_failures > 0 && r;
        });
        assert.notEqual(row.status, 'healthy');
        assert.match(row.reason, reason);
        const e = await failure(host.echo('odd'));
        assert.match(e.message, /odd/, 'the message names the server');
        await steady(host, async () => {
          const n = (await host.server('odd')).consecutive_failures;
          await failure(host.call('server.restart', { name: 'odd' })).catch(() => {});
          await until('another attempt', async () => {
            const r = await host.server('odd');
            return r.status !== 'healthy' && r.reason && (r.consecutive_failures > n || r.consecutive_failures === 1 || r.circuit_state !== 'closed');
          });
        });
      }));

  test('a program that does not exist: the reason names it, nothing is tried in vain', () =>
    withServers({ ghost: { command: '/nonexistent/mcp-server' }, lost: { command: 'no-such-program-anywhere' } }, async (host) => {
      for (const [name, program] of [['ghost', '/nonexistent/mcp-server'], ['lost', 'no-such-program-anywhere']]) {
        const row = await until('a failed attempt', async () => {
          const r = await host.server(name);
          return r.consecutive_failures > 0 && r;
        });
        assert.ok(row.reason.includes(program), row.reason);
        assert.match(row.reason, /No such file|not_found|cannot/i);
      }
      await steady(host, () => host.call('server.restart', { name: 'ghost' }).catch(() => {}));
    }));

  // Faults of a tool call of an otherwise healthy server.
  const atCall = {
    'huge_line': { ok: false, reason: /line|large|bytes|MB|MiB/i, lost: true },
    'garbage --on tools/call': { ok: false, reason: /no result within/ },
    'never_answer --on tools/call': { ok: false, reason: /time|within|answer/i },
    'foreign_id --on tools/call': { ok: false, reason: /time|within|answer/i },
    'grandchild': { ok: false, reason: /exit|ended|closed|lost/i, lost: true },
    'die_on_call': { ok: false, reason: /SIGKILL|killed|signal|lost|ended/i, lost: true },
    'deep_json': { ok: false, reason: /time|within|nest|deep|JSON/i },
    'crash_after 4': { ok: null, lost: true },
    'flaky': { ok: null, reason: /flaky today/ },
    'answer_twice': { ok: true },
    'fill_stderr': { ok: true },
    'stubborn': { ok: true },
    'slow_start 300': { ok: true },
  };
  for (const [mode, expected] of Object.entries(atCall))
    test(`${mode}: ${expected.ok ? 'serves all the same' : 'the call fails clearly, the neighbour serves'}`, () =>
      withHost(null, async (host) => {
        await until('the server is healthy', async () => (await host.server('odd')).status === 'healthy');
        const grandchildren = [];
        const round = async () => {
          await until(() => 'the server is healthy again', async () => (await host.server('odd')).status === 'healthy');
          if (expected.ok) return assert.equal(await host.echo('odd', 'x'), 'x');
          if (expected.ok === null) return void (await host.echo('odd', 'x').catch((e) => assert.match(e.message, expected.reason ?? /odd/)));
          const begin = Date.now();
          const e = await failure(host.echo('odd', 'x'));
          assert.ok(Date.now() - begin < 5000 * patience, 'it fails in time');
          assert.match(e.message, expected.reason);
          assert.match(e.message, /odd/, 'the message names the server');
          if (mode === 'grandchild') grandchildren.push(Number(fs.readFileSync(path.join(host.dir, 'grandchild'), 'utf8')));
          // Faults that come again and again open the circuit: begin anew, as an operator would.
          await host.call('server.restart', { name: 'odd' });
        };
        await steady(host, round);
        for (const pid of grandchildren) await until('the grandchild is ended', () => !alive(pid), 5000);
        const row = await host.server('odd');
        if (mode === 'fill_stderr') {
          const { lines } = await host.call('server.log', { name: 'odd' });
          assert.ok(JSON.stringify(lines).length < 2_000_000, 'its log is bounded');
        }
        assert.ok(row.reason !== undefined);
      }, { before: (h) => h.write(configuration({ mcpServers: { demo: demoServer(), odd: {
        ...bad(mode, ...(mode === 'grandchild' ? ['--state', path.join(h.dir, 'grandchild')] : [])), connect_timeout_s: 5 * patience, call_timeout_s: expected.ok === false && !expected.lost ? soon : patience, stop_grace_s: 0.2 } } })) }));
});

// One host for what is checked and limited beyond the calls themselves.
describe('health, restarts and pools', () => {
  const sections = {
    health: { interval_s: 0.3, timeout_s: 0.3, jitter: 0 },
    llm: { default: 'slow', pools: { slow: { size: 1, max_overflow: 0, wait_s: 0.3 } } },
  };
  const config = configuration(sections);
  config.plugins.slow = { use: 'llm-demo', settings: { delay_ms: 1000 } };
  const servers = {
    demo: demoServer(),
    greeted: { ...demoServer(), health: { init_message: { tool: 'echo', arguments: { text: 'ready?' }, expect: { content: [{ text: 'ready?' }] } } } },
    refused: { ...demoServer(), health: { init_message: { tool: 'echo', arguments: { text: 'ready?' }, expect: { content: [{ text: 'no' }] } } } },
    once: { ...demoServer(), restart_policy: { crash: 1, hang: false } },
    hangs: { ...demoServer(), restart_policy: { hang: false }, stop_grace_s: 0.2 },
  };
  test('an init message decides who is healthy, each kind of failure what follows, a pool how many calls a model gets', () =>
    withHost({ ...config, mcpServers: servers }, async (host) => {
      assert.equal((await host.server('greeted')).status, 'healthy');
      assert.equal(await host.echo('greeted', 'x'), 'x');
      const refused = await host.server('refused');
      assert.notEqual(refused.status, 'healthy');
      assert.match(refused.reason, /health\.init_message: .*expected .*"no".* got .*ready\?/);
      assert.ok(!(await host.call('tool.list')).tools.some((t) => t.server === 'refused'));

      process.kill((await host.server('once')).pid, 'SIGKILL');
      const back = await until('it is back', async () => {
        const r = await host.server('once');
        return r.status === 'healthy' && r.restarts === 1 && r;
      });
      assert.deepEqual(back.restarts_after, { exit: 0, crash: 1, hang: 0, health: 0 });
      process.kill(back.pid, 'SIGKILL');
      process.kill((await host.server('hangs')).pid, 'SIGSTOP');
      const [crashed, hung] = await until('both stay down', async () => {
        const both = [await host.server('once'), await host.server('hangs')];
        return both.every((r) => r.status === 'disabled') && both;
      });
      assert.deepEqual([crashed.disabled_by, hung.disabled_by], ['stopped', 'stopped']);
      assert.match(crashed.reason, /restart_policy\.crash/);
      assert.match(hung.reason, /restart_policy\.hang/);
      await host.call('server.start', { name: 'once' });
      assert.equal((await host.server('once')).status, 'healthy');

      // One call at a time: the second turn fails, and says so; the figures show it.
      const sessions = [(await host.call('session.create')).session_id, (await host.call('session.create')).session_id];
      const events = await Promise.all(sessions.map((id) => host.control.subscribe(`session:${id}`)));
      await Promise.all(sessions.map((session_id) => host.call('session.send', { session_id, content: 'hello there' })));
      const error = await Promise.race(events.map((e) => e.wait('ErrorOccurred')));
      assert.match(JSON.stringify(error), /max_overflow_reached/);
      const pool = (await host.call('llm.list')).adapters.find((a) => a.id === 'slow').pool;
      assert.deepEqual([pool.size, pool.max_overflow, pool.most, pool.refused], [1, 0, 1, 1], JSON.stringify(pool));
      assert.match((await host.call('host.metrics')).text, /holdfast_llm_pool_refused\{llm="slow"\} 1\n/);
      await Promise.all(sessions.map((session_id) => host.call('session.cancel', { session_id }).catch(() => {})));
    }));
});

describe('tool calls that cannot work', () => {
  test('unknown server, unknown tool, wrong arguments, too late', () =>
    withServers({}, async (host) => {
      const e1 = await failure(host.echo('dmo'));
      assert.match(e1.message, /dmo/);
      assert.equal(e1.code, 'server_not_found');
      const e2 = await failure(host.call('tool.call', { server: 'demo', tool: 'ech', arguments: {} }));
      assert.match(e2.message, /'demo'.*'ech'/);
      assert.equal(e2.code, 'not_found');
      // The tool itself judges its arguments, so that a model can read what was wrong.
      for (const wrong of [{ text: 7 }, {}]) {
        const r = await host.call('tool.call', { server: 'demo', tool: 'echo', arguments: wrong });
        assert.equal(r.isError, true, JSON.stringify(r));
        assert.match(r.content[0].text, /text/);
      }
      assert.equal((await host.cli(['tool', 'call', 'demo', 'echo', '{"text":7}'])).code, 1);
      const e5 = await failure(host.call('tool.call', { server: 'demo', tool: 'echo', arguments: 'x' }));
      assert.equal(e5.code, 'invalid_argument');
      const begin = Date.now();
      const e6 = await failure(host.call('tool.call', { server: 'demo', tool: 'slow', arguments: { duration_ms: 30000 }, timeout_ms: 200 }));
      assert.equal(e6.code, 'timeout');
      assert.ok(Date.now() - begin < 2000);
      assert.equal(await host.echo('demo'), 'hi');
      const row = await host.server('demo');
      assert.deepEqual([row.status, row.consecutive_failures, row.restarts], ['healthy', 0, 0], 'mistakes of the caller are not failures of the server');
    }));
});

test('disable and enable survive a restart of the host', () =>
  withServers({ other: demoServer() }, async (host) => {
    const events = await host.control.subscribe('server:demo');
    const { pid } = await host.server('demo');
    assert.equal((await host.json(['server', 'disable', 'demo'])).status, 'disabled');
    await events.wait({ type: 'mcp_status_change', new_status: 'disabled' });
    await until('its process is gone', () => !alive(pid));
    const e = await failure(host.echo('demo'));
    assert.match(e.message, /demo.*disabled/s);
    assert.ok(!(await host.call('tool.list')).tools.some((t) => t.server === 'demo'), 'its tools are not offered');
    await host.stop();

    await host.launch();
    let row = await host.server('demo');
    assert.deepEqual([row.status, row.enabled], ['disabled', false]);
    assert.equal((await host.server('other')).status, 'healthy');
    await host.call('server.enable', { name: 'demo' });
    await until('it serves', () => host.echo('demo'));
    await host.stop();

    await host.launch();
    row = await host.server('demo');
    assert.deepEqual([row.status, row.enabled], ['healthy', true]);
  }));

test('stop, start and restart of one server', () =>
  withServers({}, async (host) => {
    const first = await host.server('demo');
    await host.call('server.stop', { name: 'demo' });
    await until('its process is gone', () => !alive(first.pid));
    await failure(host.echo('demo'));
    await host.call('server.start', { name: 'demo' });
    await until('it serves', () => host.echo('demo'));
    const second = await host.server('demo');
    assert.notEqual(second.pid, first.pid);
    await host.call('server.restart', { name: 'demo' });
    await until('it serves with another process', async () => (await host.echo('demo')) && (await host.server('demo')).pid !== second.pid);
    assert.ok(!alive(second.pid));
  }));
