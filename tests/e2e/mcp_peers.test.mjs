// The gateway as the official clients see it: SDK 1.x and 2.x of both eras, over HTTP and over stdin and stdout (tests/peers/install.sh).
import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Place, configuration, demoServer, peers, processesAbout, program, until, withHost, within } from './host.mjs';

const load = (...parts) => import(pathToFileURL(path.join(peers, 'node_modules', '@modelcontextprotocol', ...parts)).href);
const v1 = { ...(await load('sdk', 'dist', 'esm', 'client', 'index.js')), ...(await load('sdk', 'dist', 'esm', 'client', 'stdio.js')),
             ...(await load('sdk', 'dist', 'esm', 'client', 'streamableHttp.js')), ...(await load('sdk', 'dist', 'esm', 'types.js')) };
const v2 = { ...(await load('client', 'dist', 'index.mjs')), ...(await load('client', 'dist', 'stdio.mjs')) };

const about = { name: 'e2e', version: '1' };
const capabilities = { elicitation: {} };
const answer = async () => ({ action: 'accept', content: { name: 'Ada' } });

/// The three clients, with the differences of their calls taken away.
const kinds = {
  'SDK 1.x': () => {
    const client = new v1.Client(about, { capabilities });
    client.setRequestHandler(v1.ElicitRequestSchema, answer);
    return { client, sdk: v1, call: (params, options) => client.callTool(params, undefined, options), lists: (f) => client.setNotificationHandler(v1.ToolListChangedNotificationSchema, f) };
  },
  'SDK 2.x, legacy': () => of2('legacy'),
  'SDK 2.x, 2026-07-28': () => of2({ pin: '2026-07-28' }),
};
function of2(mode) {
  const client = new v2.Client(about, { capabilities, versionNegotiation: { mode } });
  client.setRequestHandler('elicitation/create', answer);
  return { client, sdk: v2, call: (params, options) => client.callTool(params, options), lists: (f) => client.setNotificationHandler('notifications/tools/list_changed', f) };
}
const ways = {
  http: (host, sdk) => new sdk.StreamableHTTPClientTransport(new URL('/mcp', host.url), { requestInit: { headers: { Authorization: `Bearer ${host.token}` } } }),
  stdio: (host, sdk) => new sdk.StdioClientTransport({ command: program, args: ['--config', host.file, 'mcp'], env: { ...process.env, ...host.env }, stderr: 'ignore' }),
};
const text = (result) => result.content.map((c) => c.text).join('');

for (const [kind, make] of Object.entries(kinds))
  for (const [way, transport] of Object.entries(ways))
    describe(`${kind} over ${way}`, () => {
      const with_client = (body) =>
        withHost(configuration({ mcpServers: { demo: demoServer({ args: ['--root', '.', '--conformance'] }) } }), async (host) => {
          const c = make();
          await within(c.client.connect(transport(host, c.sdk)), 15000, 'connect');
          try {
            await body(c, host);
          } finally {
            await c.client.close();
          }
        });

      test('lists, calls, progress, elicitation, cancellation', () =>
        with_client(async (c) => {
          const names = (await c.client.listTools()).tools.map((t) => t.name);
          assert.ok(names.includes('demo__echo'), names.join());
          assert.equal(text(await c.call({ name: 'demo__echo', arguments: { text: 'héllo "\n' } })), 'héllo "\n');
          assert.ok((await c.client.listPrompts()).prompts.length > 0);
          assert.ok((await c.client.listResources()).resources.length > 0);

          const seen = [];
          await c.call({ name: 'demo__slow', arguments: { duration_ms: 300, steps: 3 } }, { onprogress: (p) => seen.push(p.progress) });
          assert.ok(seen.length >= 2, `${seen.length} notices of progress`);

          assert.match(text(await c.call({ name: 'demo__ask_name', arguments: {} })), /Ada/);

          const stop = new AbortController();
          const long = c.call({ name: 'demo__slow', arguments: { duration_ms: 60000, steps: 600 } }, { signal: stop.signal, onprogress: () => stop.abort() });
          await assert.rejects(within(long, 10000, 'the cancelled call'));
          assert.equal(text(await c.call({ name: 'demo__echo', arguments: { text: 'after' } })), 'after');
        }));
    });

const started = [];
after(() => started.forEach((child) => child.kill('SIGKILL')));

/// JSON lines with a program.
class Lines {
  constructor(place) {
    this.child = spawn(program, ['--config', place.file, 'mcp'], { env: { ...process.env, ...place.env }, cwd: place.dir, stdio: ['pipe', 'pipe', 'ignore'] });
    this.messages = [];
    this.ended = new Promise((yes) => this.child.on('close', (code) => yes(code)));
    started.push(this.child);
    let rest = '';
    this.child.stdout.setEncoding('utf8').on('data', (d) => {
      rest += d;
      for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.slice(end + 1)) this.messages.push(JSON.parse(rest.slice(0, end)));
    });
  }
  send(...all) {
    this.child.stdin.write(all.map((m) => (typeof m === 'string' ? m : JSON.stringify({ jsonrpc: '2.0', ...m })) + '\n').join(''));
  }
  reply(id, ms) {
    return until(() => `an answer to ${id}; there were ${JSON.stringify(this.messages).slice(0, 2000)}`, () => this.messages.find((m) => m.id === id && !m.method), ms);
  }
}
const initialize = { id: 'i', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: about } };
const initialized = { method: 'notifications/initialized' };
const echo = (id, words) => ({ id, method: 'tools/call', params: { name: 'demo__echo', arguments: { text: words } } });
const modern = (m) => ({ ...m, params: { ...m.params, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': about, 'io.modelcontextprotocol/clientCapabilities': {} } } });

describe('holdfast mcp', () => {
  test('starts a host when none runs, answers what was sent at once, ends with stdin and takes its host along', async () => {
    const place = new Place(configuration());
    try {
      const c = new Lines(place);
      c.send(initialize, initialized, echo(1, 'one'), 'no message', echo(2, 'two'));
      c.child.stdin.end();
      assert.equal(await within(c.ended, 20000, 'its end'), 0);
      assert.equal(c.messages[0].id, 'i');
      assert.equal(text((await c.reply(1)).result), 'one');
      assert.equal(text((await c.reply(2)).result), 'two');
      assert.equal(c.messages.find((m) => m.id === null).error.code, -32700);
      assert.ok(c.messages.every((m) => m.jsonrpc === '2.0'), 'nothing but messages');
      const left = await place.cli(['info']);
      assert.equal(left.code, 4, 'no host is left');
    } finally {
      place.remove();
    }
  });

  test('a client that is killed with SIGKILL takes the host it started along, and what that host started', async () => {
    const place = new Place(configuration());
    try {
      const c = new Lines(place);
      c.send(initialize, initialized, echo(1, 'one'));
      assert.equal(text((await c.reply(1)).result), 'one');
      assert.ok(processesAbout(place.dir).length >= 3, 'the client, the host and its server');
      c.child.kill('SIGKILL');
      await until(() => `nothing to be left; there is ${JSON.stringify(processesAbout(place.dir))}`, () => processesAbout(place.dir).length === 0, 20000);
    } finally {
      place.remove();
    }
  });

  test('a request that its client cancelled is not answered, nor is one answered twice', () =>
    withHost(configuration(), async (host) => {
      const legacy = new Lines(host), other = new Lines(host);
      legacy.send(initialize, initialized);
      await legacy.reply('i');
      const slow = { id: 'é', method: 'tools/call', params: { name: 'demo__slow', arguments: { duration_ms: 60000, steps: 600 }, _meta: { progressToken: 'p' } } };
      for (const c of [legacy, other]) {
        const m = c === legacy ? slow : modern(slow);
        if (c === other) m.params._meta.progressToken = 'p';
        c.send(m);
        await until('progress', () => c.messages.some((n) => n.method === 'notifications/progress'), 10000);
        c.send({ method: 'notifications/cancelled', params: { requestId: 'é' } });
        c.send('{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[1]}');
        assert.equal((await c.reply(7)).error.code, -32600);
        const last = echo('last', 'x');
        c.send(c === legacy ? last : modern(last));
        await c.reply('last');
        assert.deepEqual(c.messages.filter((n) => n.id === 'é'), []);
        assert.equal(c.messages.filter((n) => n.id === 7).length, 1);
      }
      legacy.send({ ...initialize, id: 'again' });
      assert.ok((await legacy.reply('again')).error, 'a session is begun once');
      assert.equal((await host.call('gateway.status')).sessions, 1);
      for (const c of [legacy, other]) {
        c.child.stdin.end();
        assert.equal(await within(c.ended, 10000, 'its end'), 0);
      }
    }));

  test('a host that is killed: what was under way fails by name, and the same client goes on with the next one', () =>
    withHost(configuration({ mcpServers: { demo: demoServer({ args: ['--root', '.', '--conformance'] }) } }), async (host) => {
      const watched = 'test://watched-resource';
      const legacy = new Lines(host), other = new Lines(host);
      legacy.send(initialize, initialized, echo(1, 'before'));
      other.send(modern(echo('a', 'before')));
      assert.equal(text((await legacy.reply(1)).result), 'before');
      assert.equal(text((await other.reply('a')).result), 'before');
      legacy.send({ id: 'watch', method: 'resources/subscribe', params: { uri: watched } });
      assert.ok((await legacy.reply('watch')).result);
      const token = { progressToken: 'p' };
      const slow = { id: 2, method: 'tools/call', params: { name: 'demo__slow', arguments: { duration_ms: 60000, steps: 600 }, _meta: token } };
      legacy.send(slow);
      const { params } = modern(slow);
      other.send({ ...slow, params: { ...params, _meta: { ...params._meta, ...token } } });
      for (const c of [legacy, other]) await until('progress', () => c.messages.some((m) => m.method === 'notifications/progress'), 10000);
      process.kill((await host.call('host.info')).pid, 'SIGKILL');
      for (const c of [legacy, other]) assert.match((await c.reply(2, 15000)).error.message, /gone away/);
      legacy.send(echo(3, 'after'));
      other.send(modern(echo(3, 'after')));
      for (const c of [legacy, other]) {
        const r = await c.reply(3, 20000);
        assert.ok(r.result, JSON.stringify(r));
        assert.equal(text(r.result), 'after');
      }
      assert.ok(legacy.messages.some((m) => m.method === 'notifications/tools/list_changed'), 'the list may be another one');
      const updates = () => legacy.messages.filter((m) => m.method === 'notifications/resources/updated' && m.params.uri === watched).length;
      await until('word that it may have changed', () => updates() >= 1);
      const from = updates();
      await until('it to be watched again', async () => {
        legacy.send({ id: `t${Date.now()}`, method: 'tools/call', params: { name: 'demo__test_trigger_resource_change', arguments: {} } });
        return updates() > from;
      });
      for (const c of [legacy, other]) {
        c.child.stdin.end();
        assert.equal(await within(c.ended, 10000, 'its end'), 0);
      }
    }));
});
