// The same chat against servers and a model server that other people wrote (tests/peers/install.sh).
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { configuration, demoServer, freePort, peers, until, withHost } from './host.mjs';

const modules = path.join(peers, 'node_modules');
const everything = path.join(modules, '@modelcontextprotocol', 'server-everything', 'dist', 'index.js');
const filesystem = path.join(modules, '@modelcontextprotocol', 'server-filesystem', 'dist', 'index.js');

/// The journal says what the answer says: permission, intent, result.
async function logOf(host, session) {
  return (await host.call('events.read', { topic: `session:${session}`, limit: 500 })).events;
}
function called(log, server, tool) {
  const executed = log.find((e) => e.type === 'MCPToolExecuted' && e.server_name === server && e.tool_name === tool);
  assert.ok(executed, `${server}/${tool} was not called; ${log.map((e) => e.type)}`);
  for (const type of ['PermissionRequired', 'ToolCallIntent']) assert.ok(log.some((e) => e.type === type && e.server_name === server && e.tool_name === tool), type);
  assert.equal(executed.status, 'result');
  return executed;
}

describe('server-everything', () => {
  test('over stdio', () =>
    withHost(configuration({ mcpServers: { everything: { command: process.execPath, args: [everything, 'stdio'] } } }), async (host) => {
      const row = await host.server('everything');
      assert.equal(row.status, 'healthy', row.reason);
      assert.ok(row.tools >= 5);
      const { answer, session } = await host.chat('echo hello everything');
      assert.match(answer, /hello everything/);
      called(await logOf(host, session), 'everything', 'echo');
      const sum = await host.chat('add 2 and 40');
      assert.match(sum.answer, /42/);
      // As a person would.
      const cli = await host.cli(['chat', '-m', 'echo from the command line', '--yes']);
      assert.equal(cli.code, 0, cli.stderr);
      assert.match(cli.stdout, /from the command line/);
    }));

  test('over Streamable HTTP; the server is restarted and found again', async () => {
    const port = await freePort();
    const start = async () => {
      const server = spawn(process.execPath, [everything, 'streamableHttp'], { env: { ...process.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      server.stdout.on('data', (d) => (said += d));
      server.stderr.on('data', (d) => (said += d));
      server.gone = new Promise((yes) => server.on('close', yes));
      await until(() => `the server listens; it said ${said}`, () => said.includes(`port ${port}`), 30000);
      return server;
    };
    let server = await start();
    try {
      await withHost(configuration({ mcpServers: { demo: demoServer(), far: { url: `http://127.0.0.1:${port}/mcp`, health: { interval_s: 0.3 } } } }), async (host) => {
        const row = await until('it is healthy', async () => {
          const r = await host.server('far');
          return r.status === 'healthy' && r;
        });
        assert.equal(row.transport, 'http');
        const { session_id } = await host.call('session.create', { servers: ['far'] });
        const { answer } = await host.chat('echo over the network', { session: session_id });
        assert.match(answer, /over the network/);
        called(await logOf(host, session_id), 'far', 'echo');

        const events = await host.control.subscribe('server:far');
        server.kill('SIGKILL');
        await server.gone;
        await host.echo('far').then(() => assert.fail('the server is gone'), (e) => assert.match(e.message, /far/));
        await events.wait({ type: 'mcp_status_change', old_status: 'healthy' });
        assert.equal(await host.echo('demo'), 'hi', 'the neighbour serves');
        server = await start();
        await events.wait({ type: 'mcp_status_change', new_status: 'healthy' }, { ms: 30000 });
        assert.match((await host.chat('echo back again', { session: session_id })).answer, /back again/);
      });
    } finally {
      server.kill('SIGKILL');
      await server.gone;
    }
  });

  for (const [how, entry] of [['asked for', { type: 'sse' }], ['found because nothing newer is known there', {}]])
    test(`over HTTP with SSE, ${how}`, async () => {
      const port = await freePort();
      const server = spawn(process.execPath, [everything, 'sse'], { env: { ...process.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'pipe'] });
      let said = '';
      server.stdout.on('data', (d) => (said += d));
      server.stderr.on('data', (d) => (said += d));
      const gone = new Promise((yes) => server.on('close', yes));
      try {
        await until(() => `the server listens; it said ${said}`, () => said.includes(`port ${port}`), 30000);
        await withHost(configuration({ mcpServers: { demo: demoServer(), far: { url: `http://127.0.0.1:${port}/sse`, ...entry } } }), async (host) => {
          const row = await until(() => 'it is healthy', async () => {
            const r = await host.server('far');
            return r.status === 'healthy' && r;
          });
          assert.ok(row.tools >= 5);
          assert.match(JSON.stringify(await host.call('tool.call', { server: 'far', tool: 'echo', arguments: { message: 'the old way' } })), /the old way/);
          const events = await host.control.subscribe('server:far');
          server.kill('SIGKILL');
          await gone;
          await events.wait({ type: 'mcp_status_change', old_status: 'healthy' });
          assert.equal(await host.echo('demo'), 'hi', 'the neighbour serves');
        });
      } finally {
        server.kill('SIGKILL');
        await gone;
      }
    });
});

test('server-filesystem over stdio lists and reads the files it is given', () =>
  withHost(null, async (host) => {
    const row = await host.server('files');
    assert.equal(row.status, 'healthy', row.reason);
    const folder = path.join(host.dir, 'shared');
    const list = await host.chat(`list files in ${folder}`);
    assert.match(list.answer, /poem\.txt/);
    called(await logOf(host, list.session), 'files', 'list_directory');
    const read = await host.chat(`read file ${folder}/poem.txt`);
    assert.match(read.answer, /roses are red/);
    const outside = await host.chat('read file /etc/passwd');
    assert.match(outside.answer, /did not succeed/);
    assert.ok(!outside.answer.includes('root:x'));
  }, { before: (h) => {
    const folder = path.join(h.dir, 'shared');
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, 'poem.txt'), 'roses are red\n');
    h.write(configuration({ mcpServers: { files: { command: process.execPath, args: [filesystem, folder] } } }));
  } }));

test('both servers and the demo server at once: every tool is found at its own', () =>
  withHost(null, async (host) => {
    const rows = (await host.call('server.list')).servers;
    assert.deepEqual(rows.map((r) => [r.name, r.status]).sort(), [['demo', 'healthy'], ['everything', 'healthy'], ['files', 'healthy']]);
    assert.equal(await host.echo('demo', 'a'), 'a');
    assert.match(JSON.stringify(await host.call('tool.call', { server: 'everything', tool: 'echo', arguments: { message: 'b' } })), /b/);
    const { tools } = await host.call('tool.list');
    assert.ok(new Set(tools.map((t) => t.server)).size === 3);
  }, { before: (h) => h.write(configuration({ mcpServers: { demo: demoServer(), everything: { command: process.execPath, args: [everything, 'stdio'] }, files: { command: process.execPath, args: [filesystem, h.dir] } } })) }));

test('llm-openai against aimock: a scripted tool call, its result goes back, the answer comes', async () => {
  const { LLMock } = await import(pathToFileURL(path.join(modules, '@copilotkit', 'aimock', 'dist', 'index.js')));
  const mock = new LLMock({ port: 0, chunkSize: 5, latency: 20 });
  const toolName = 'demo__echo';  // names offered to a model are made of server and tool
  mock.on({ hasToolResult: true }, { content: 'The tool said: scripted text.' });
  mock.on({ userMessage: 'use the tool' }, { toolCalls: [{ id: 'call_1', name: toolName, arguments: JSON.stringify({ text: 'scripted text' }) }] });
  mock.on({ userMessage: 'hello' }, { content: 'Hello! How can I help you today?' });
  await mock.start();
  try {
    const config = configuration({ llm: { default: 'mock' } });
    config.plugins.mock = { use: 'llm-openai', settings: { base_url: `${mock.url}/v1`, api_key: 'sk-e2e', model: 'gpt-test' } };
    await withHost(config, async (host) => {
      const plain = await host.chat('hello');
      assert.equal(plain.answer, 'Hello! How can I help you today?');
      assert.ok(plain.events.list.filter((e) => e.type === 'StreamChunkReceived').length > 2, 'it streams');
      const { answer, session } = await host.chat('please use the tool');
      assert.equal(answer, 'The tool said: scripted text.');
      const executed = called(await logOf(host, session), 'demo', 'echo');
      assert.match(JSON.stringify(executed.result), /scripted text/);
      const last = mock.getRequests().at(-1).body;
      const result = last.messages.find((m) => m.role === 'tool');
      assert.match(JSON.stringify(result.content), /scripted text/, 'the model saw the result');
      assert.ok(last.tools.some((t) => t.function.name === toolName));
      const llms = await host.call('llm.list');
      assert.equal(llms.chosen, 'mock');
      assert.ok(!JSON.stringify([llms, await host.call('config.get'), await host.call('plugin.list')]).includes('sk-e2e'), 'the key is shown nowhere');
      const cli = await host.cli(['chat', '-m', 'please use the tool', '--yes']);
      assert.equal(cli.code, 0, cli.stderr);
      assert.match(cli.stdout, /The tool said: scripted text\./);
    });
  } finally {
    await mock.stop();
  }
});
