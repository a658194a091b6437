// MCP servers out of the files of other programs: used as they are, watched, and what is wrong in one costs that one only.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Host, Place, build, configuration, until } from './host.mjs';

const program = path.join(build, 'holdfast-demo-server');
const put = (file, value) => {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(`${file}.new`, typeof value === 'string' ? value : JSON.stringify(value));
  fs.renameSync(`${file}.new`, file);
};

test('files of Claude, Cursor and VS Code serve as they are; edits count at once; a bad one costs itself only', async () => {
  const config = configuration({ mcpServers: { own: { command: program } }, import: ['project/.mcp.json', 'project/.vscode/mcp.json'], servers_dir: 'servers.d' });
  const host = new Host(config);
  try {
    const at = (name) => path.join(host.dir, name);
    put(at('project/.mcp.json'), { mcpServers: { code: { command: '${HF_TEST_PROGRAM}', args: ['--root', '${HF_TEST_ROOT:-.}'] }, own: { command: '/nowhere' } } });
    put(at('project/.vscode/mcp.json'), `{ // comments and a comma too many
      "inputs": [{"type": "promptString", "id": "root", "description": "where"}],
      "servers": { "studio": {"type": "stdio", "command": "\${env:HF_TEST_PROGRAM}", "args": ["--root", "\${input:root}"]},
                   "asks": {"command": "x", "env": {"K": "\${input:none}"}}, } }`);
    put(at('servers.d/alone.json'), { command: program });
    await host.launch({ env: { HF_TEST_PROGRAM: program, HOLDFAST_INPUT_ROOT: '.' } });
    const names = async () => (await host.call('server.list')).servers.map((s) => s.name).sort();
    assert.deepEqual(await names(), ['alone', 'code', 'own', 'studio']);
    for (const name of await names()) assert.equal(await host.echo(name), 'hi', name);
    const { imported, problems } = await host.call('config.get');
    assert.equal(imported.code, at('project/.mcp.json'));
    assert.equal(problems.length, 1);
    assert.match(problems[0].message, /no input 'none'/);

    const before = await host.server('own');
    put(at('project/.mcp.json'), { mcpServers: { other: { command: program } } });
    put(at('servers.d/more.json'), { mcpServers: { more: { command: program } } });
    await until('the edits to be in force', async () => JSON.stringify(await names()) === '["alone","more","other","own","studio"]');
    fs.rmSync(at('servers.d/alone.json'));
    await until('the removal', async () => !(await names()).includes('alone'));
    await until('the new one to be healthy', async () => (await host.server('other')).status === 'healthy');
    const other = await host.server('other');
    put(at('project/.mcp.json'), '{ "mcpServers": { "other" ');
    await until('the broken file to be told of', async () => (await host.call('config.get')).problems.some((p) => p.file.endsWith('.mcp.json')));
    const kept = await host.server('other');
    assert.deepEqual([kept.pid, kept.restarts], [other.pid, 0], 'a slip of the pen stops nothing that runs');
    put(at('project/.mcp.json'), { mcpServers: { other: { command: program, args: 5 }, fresh: { command: program } } });
    await until('the rest of the file to count', async () => JSON.stringify(await names()) === '["fresh","more","other","own","studio"]');
    assert.equal((await host.server('other')).pid, other.pid);
    put(at('project/.mcp.json'), { mcpServers: { fresh: { command: program } } });
    await until('what is taken out to be gone', async () => !(await names()).includes('other'));
    const own = await host.server('own');
    assert.deepEqual([own.pid, own.restarts], [before.pid, 0], 'the neighbours noticed nothing');
  } finally {
    await host.close();
  }
});

test('--dry-run shows what a file gives, with the place of what is wrong, and needs no host', async () => {
  const place = new Place();
  try {
    const file = path.join(place.dir, '.mcp.json');
    put(file, '{"mcpServers": {\n "good": {"command": "npx", "args": ["-y", "x"], "env": {"KEY": "${HF_TEST_SECRET}"}},\n "bad": {"args": []}}}');
    const r = await place.cli(['server', 'import', file, '--dry-run'], { env: { HF_TEST_SECRET: 'hidden-value' } });
    assert.equal(r.code, 3);
    assert.match(r.stdout, /good: npx -y x/);
    assert.ok(!r.stdout.includes('hidden-value'));
    assert.match(r.stderr, /\.mcp\.json:3:9: .*bad.*expected "command"/);
  } finally {
    place.remove();
  }
});

test('settings changed at runtime are in force, shown, there after a restart, and lost to an edit of the file', async () => {
  const host = await Host.start(configuration({ mcpServers: { a: { command: program }, b: { command: program } } }));
  try {
    const b = await host.server('b');
    const both = await host.json(['server', 'set', 'b', 'a', '{"description": "of many"}']);
    assert.deepEqual(both.results.map((r) => [r.name, r.ok]), [['b', true], ['a', true]]);
    assert.equal((await host.json(['server', 'set', '--all', '{"description": null}'])).successful, 2);
    assert.deepEqual((await host.server('b')).overrides, ['description']);
    assert.equal((await host.cli(['server', 'set', '{"description": "whose?"}'])).code, 2);
    const some = await host.cli(['server', 'set', 'b', 'nobody', '{"description": null}']);
    assert.equal(some.code, 1);
    assert.match(some.stdout, /1 done, 1 failed/);
    for (const name of ['a', 'b']) await host.json(['server', 'reset', name]);
    const row = await host.json(['server', 'set', 'a', '{"call_timeout_s": 7, "health": {"interval_s": 3}}']);
    assert.deepEqual(row.overrides, ['call_timeout_s', 'health.interval_s']);
    const bad = await host.cli(['server', 'set', 'a', '{"cal_timeout_s": 7}']);
    assert.equal(bad.code, 2, 'wrong usage');
    assert.match(bad.stderr, /unknown member 'cal_timeout_s'/);
    await host.json(['server', 'add', 'n', JSON.stringify({ command: program })]);
    assert.equal(await until('the added server', () => host.echo('n')), 'hi');
    assert.deepEqual((await host.server('b')).pid, b.pid, 'nobody else was restarted');
    await host.stop();
    await host.launch();
    assert.deepEqual((await host.server('a')).overrides, ['call_timeout_s', 'health.interval_s']);
    assert.equal(await until('the added server is back', () => host.echo('n')), 'hi');
    host.write(configuration({ mcpServers: { a: { command: program, call_timeout_s: 9 }, b: { command: program } } }));
    await until('the edit to win', async () => JSON.stringify((await host.server('a')).overrides) === '["health.interval_s"]');
    assert.equal((await host.server('n')).status, 'healthy', 'what the file does not name stays');
    await host.json(['server', 'reset', 'a']);
    assert.deepEqual((await host.server('a')).overrides, []);
    assert.equal((await host.cli(['server', 'remove', 'n'])).code, 0);
    assert.equal(await host.server('n'), undefined);
    assert.match((await host.cli(['server', 'remove', 'a'])).stderr, /stands in the configuration/);
  } finally {
    await host.close();
  }
});

test('an imported file is kept by the host', async () => {
  const host = await Host.start(configuration({ mcpServers: {} }));
  try {
    const file = path.join(host.dir, 'desktop.json');
    put(file, { mcpServers: { imported: { command: program } } });
    const r = await host.json(['server', 'import', file]);
    assert.deepEqual(r.servers.map((s) => s.name), ['imported']);
    assert.equal(await until('it serves', () => host.echo('imported')), 'hi');
    const again = await host.cli(['server', 'import', file]);
    assert.equal(again.code, 3);
    assert.match(again.stderr, /server_already_exists/);
  } finally {
    await host.close();
  }
});

test('many servers at once, health, metrics and the health log on the command line', async () => {
  const host = await Host.start(configuration({ mcpServers: { a: { command: program }, b: { command: program }, c: { command: program } } }));
  try {
    const stopped = await host.json(['server', 'stop', 'a', 'b']);
    assert.deepEqual([stopped.successful, stopped.failed, stopped.results.map((r) => r.status)], [2, 0, ['disabled', 'disabled']]);
    const r = await host.cli(['--json', 'server', 'start', 'a', 'nobody']);
    assert.equal(r.code, 1);
    assert.deepEqual(JSON.parse(r.stdout).results.map((x) => x.error?.code ?? x.status), ['healthy', 'server_not_found']);
    assert.equal((await host.json(['server', 'restart', '--all'])).successful, 3);
    assert.equal((await host.cli(['server', 'stop'])).code, 2);
    const pid = (await host.server('a')).pid;
    process.kill(pid, 'SIGKILL');
    await until('a recovery', async () => { const s = await host.server('a'); return s.status === 'healthy' && s.pid !== pid; });
    const m = await host.json(['server', 'metrics']);
    assert.ok(m.started >= 7 && m.failed === 1 && m.stopped === 2 && m.restarted >= 4, JSON.stringify(m));
    const h = await until('the process tree to be looked at', async () => {
      const x = await host.json(['server', 'health', 'a']);
      return x.resource_usage.memory > 0 && x;
    });
    assert.ok(h.status === 'healthy' && h.restart_count >= 2 && h.resource_usage.processes === 1, JSON.stringify(h));
    const all = await host.json(['server', 'health']);
    assert.deepEqual([all.status, all.total], ['healthy', 3]);
    const log = (await host.json(['server', 'health-log', 'a', '-n', '4'])).events.map((e) => e.event);
    assert.deepEqual(log, ['disconnected', 'recovery_attempt', 'connected', 'recovery_success']);
    assert.match((await host.call('host.metrics')).text, /holdfast_server_up\{server="a"\} 1/);
  } finally {
    await host.close();
  }
});
