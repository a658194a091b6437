// `holdfast plugin new`: for every kind and language the project builds with one command, passes every check and loads; and the
// transports among them, also one built with clang and libc++, carry a chat with a tool call.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { configuration, demoServer, execute, program, withHost } from './host.mjs';

const kinds = ['llm', 'transport', 'ui', 'breaker', 'health', 'store'];
const works = (command) => {
  try {
    execFileSync('sh', ['-c', command], { stdio: ['pipe', 'pipe', 'pipe'], input: '#include <string>\nint main() { return std::string().size(); }\n' });
    return true;
  } catch {
    return false;
  }
};
const libcxx = 'clang++-19 -stdlib=libc++';
const toolchains = [
  { name: 'cpp', lang: 'c++', make: ['CXXFLAGS=-O0'] },
  { name: 'c', lang: 'c', make: [] },
  { name: 'rust', lang: 'rust', make: [], missing: works('rustc --version') ? false : 'there is no rustc here' },
  { name: 'clang-libcxx', lang: 'c++', make: [`CXX=${libcxx}`, 'CXXFLAGS=-O0'], only: ['transport'],
    missing: works(`${libcxx} -std=c++20 -x c++ - -o /dev/null`) ? false : 'clang++-19 with libc++ is not installed here (packages clang-19 libc++-19-dev libc++abi-19-dev)' },
];

/// Makes and builds; returns the directory.
async function project(under, kind, name, chain) {
  const made = await execute(program, ['plugin', 'new', kind, name, '--lang', chain.lang, '--dir', path.join(under, name)]);
  assert.equal(made.code, 0, made.stderr);
  const built = await execute('make', ['-C', path.join(under, name), ...chain.make], { ms: 120000 });
  assert.equal(built.code, 0, built.stdout + built.stderr);
  assert.doesNotMatch(built.stderr, /warning/, 'a template that compiles with warnings');
  return path.join(under, name);
}
/// What this version offers: "process" joins when it exists.
async function isolations() {
  const r = await execute(program, ['schema']);
  return JSON.parse(r.stdout).properties.plugins.additionalProperties.properties.isolation.enum;
}

for (const chain of toolchains)
  describe(`plugin new in ${chain.name}`, { skip: chain.missing }, () => {
    const wanted = chain.only ?? kinds;
    const nameOf = (kind) => `${chain.name}-${kind}`;
    let under;
    before(() => (under = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'hf-new-')))));
    after(() => fs.rmSync(under, { recursive: true, force: true }));

    for (const kind of wanted)
      test(`${kind}: builds, passes its checks, exports two symbols`, async () => {
        const dir = await project(under, kind, nameOf(kind), chain);
        const r = await execute(program, ['--json', 'plugin', 'check', path.join(dir, `${nameOf(kind)}.so`)]);
        const report = JSON.parse(r.stdout);
        assert.equal(r.code, 0, JSON.stringify(report.checks.filter((c) => c.verdict === 'failed')));
        assert.deepEqual(Object.keys(report.targets), ['in-process', 'isolated']);
        for (const [target, { passed, of }] of Object.entries(report.targets)) assert.ok(passed >= 40 && passed === of, `${target}: ${passed} of ${of}`);
        assert.deepEqual(report.targets['in-process'], report.targets.isolated);
        assert.deepEqual(report.differences, []);
        const inspected = JSON.parse((await execute(program, ['--json', 'plugin', 'inspect', path.join(dir, `${nameOf(kind)}.so`)])).stdout);
        assert.deepEqual(inspected.exports, ['hf_plugin_entry_v1', 'hf_plugin_manifest']);
        assert.deepEqual([inspected.id, inspected.kind, inspected.problems], [nameOf(kind), kind, []]);
        if (chain.lang === 'c++' && kind === 'llm') assert.ok(fs.readFileSync(path.join(dir, 'plugin.cpp'), 'utf8').trimEnd().split('\n').length <= 15);
      });

    test('the host loads them', async () => {
      const have = (kind) => wanted.includes(kind);
      const config = configuration({ mcpServers: { demo: demoServer(have('transport') ? { transport: nameOf('transport') } : {}) } });
      config.host.plugin_path = wanted.map((kind) => path.join(under, nameOf(kind)));
      if (have('llm')) config.plugins.mine = { use: nameOf('llm') };
      if (have('ui')) config.plugins.face = { use: nameOf('ui') };
      if (have('breaker')) config.breaker = { use: nameOf('breaker'), failure_threshold: 5, recovery_timeout_s: 30 };
      if (have('health')) config.health = { use: nameOf('health'), interval_s: 30 };
      if (have('store')) config.store = { use: nameOf('store') };
      if (have('llm')) config.llm = { default: 'mine' };
      await withHost(config, async (host) => {
        const { plugins } = await host.call('plugin.list');
        for (const kind of wanted) {
          const p = plugins.find((x) => x.use === nameOf(kind));
          assert.ok(p, `${nameOf(kind)} is not loaded: ${JSON.stringify(plugins.map((x) => x.use))}`);
          assert.equal(p.state, 'active', `${kind}: ${p.reason}`);
        }
        if (have('llm')) assert.match((await host.chat('hello')).answer, /Hello from /);
      });
    });

    // Whoever installs this plugin asks nothing of it but its file: its own configuration must do, too.
    test('its own configuration is valid', async () => {
      for (const kind of wanted) {
        const dir = path.join(under, nameOf(kind));
        const r = await execute(program, ['--config', path.join(dir, 'config.json'), 'check'], { cwd: dir, env: { HOLDFAST_CONFIG: '', HOLDFAST_DATA_DIR: path.join(under, 'data'), HOLDFAST_PLUGIN_PATH: '' } });
        assert.equal(r.code, 0, r.stdout + r.stderr);
      }
    });

    test('the transport carries a chat with a tool call', async () => {
      for (const isolation of await isolations()) {
        const name = nameOf('transport');
        const config = configuration({ mcpServers: { demo: demoServer({ transport: name }) } });
        config.host.plugin_path = [path.join(under, name)];
        config.plugins[name] = { use: name, isolation };
        await withHost(config, async (host) => {
          const r = await host.chat('echo carried by my own transport');
          assert.equal(r.executed.length, 1, `${isolation}: ${JSON.stringify(r.errors)}`);
          assert.equal(r.executed[0].status, 'result');
          assert.match(r.answer, /carried by my own transport/);
          assert.equal((await host.server('demo')).transport, name);
          const row = await host.plugin(name);
          assert.equal(row.isolation, isolation);
          if (isolation === 'process') assert.ok(row.pid > 0 && row.pid !== host.pid, 'it has a process of its own');
        });
      }
    });
  });

test('plugin new refuses what cannot be', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-new-'));
  try {
    const run = (...args) => execute(program, ['plugin', 'new', ...args], { cwd: dir });
    assert.equal((await run('sound', 'x')).code, 2);
    assert.equal((await run('llm', 'x', '--lang', 'cobol')).code, 2);
    assert.match((await run('llm', '../x')).stderr, /cannot be a plugin's name/);
    assert.equal((await run('llm', 'twice')).code, 0);
    const again = await run('llm', 'twice');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /is there already/);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
});
