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
    put(at('project/.mcp.json'), '{ "mcpServers": { "other" ');
    await until('the broken file to be told of', async () => (await host.call('config.get')).problems.some((p) => p.file.endsWith('.mcp.json')));
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
