// Every client in front of every server through the gateway: the official SDKs of both eras on both sides, over HTTP and stdio, and what
// the protocol has. The outcome is a table: printed, and written to <build>/tests/gateway-matrix.md.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Host, build, configuration, demoServer, peers, program, source, until, within } from './host.mjs';
import { serveHttp } from '../peers/sdk_server.mjs';

const load = (...parts) => import(pathToFileURL(path.join(peers, 'node_modules', '@modelcontextprotocol', ...parts)).href);
const v1 = { ...(await load('sdk', 'dist', 'esm', 'client', 'index.js')), ...(await load('sdk', 'dist', 'esm', 'client', 'stdio.js')),
             ...(await load('sdk', 'dist', 'esm', 'client', 'streamableHttp.js')), ...(await load('sdk', 'dist', 'esm', 'types.js')) };
const v2 = { ...(await load('client', 'dist', 'index.mjs')), ...(await load('client', 'dist', 'stdio.mjs')) };

const deadline_ms = 8000;  // of one thing that must happen; a list is read at most once a second from one server
const text = (result) => result.content.map((c) => c.text).join('');
const soon = (promise, what) => within(promise, deadline_ms, what);

// ---- the clients, with the differences of their calls taken away -------------------------------------------------------

const capabilities = { elicitation: {}, sampling: {}, roots: {} };
const answers = {
  'elicitation/create': async () => ({ action: 'accept', content: { name: 'Ada' } }),
  'sampling/createMessage': async () => ({ role: 'assistant', model: 'm', content: { type: 'text', text: 'moo' } }),
  'roots/list': async () => ({ roots: [{ uri: 'file:///meadow' }] }),
};
const heard = ['notifications/tools/list_changed', 'notifications/resources/updated', 'notifications/message'];
const about = (name) => ({ name, version: '1' });

class Client {
  /// `notices`: everything it was told without asking, in order.
  constructor(name, sdk) {
    this.name = name;
    this.sdk = sdk;
    this.notices = [];
  }
  note(n) {
    this.notices.push(n);
  }
  since(from, method, fits = () => true) {
    return this.notices.slice(from).find((n) => n.method === method && fits(n.params ?? {}));
  }
  close() {
    return this.client.close();
  }
}
class Client1 extends Client {
  constructor(name) {
    super(name, v1);
    this.client = new v1.Client(about(name), { capabilities });
    const schemas = { 'elicitation/create': v1.ElicitRequestSchema, 'sampling/createMessage': v1.CreateMessageRequestSchema, 'roots/list': v1.ListRootsRequestSchema };
    for (const [method, answer] of Object.entries(answers)) this.client.setRequestHandler(schemas[method], answer);
    for (const schema of [v1.ToolListChangedNotificationSchema, v1.ResourceUpdatedNotificationSchema, v1.LoggingMessageNotificationSchema])
      this.client.setNotificationHandler(schema, (n) => this.note(n));
  }
  call(name, args = {}, options) {
    return this.client.callTool({ name, arguments: args }, undefined, options);
  }
  /// Resolves to what ends the watching.
  async watch(uri) {
    await this.client.subscribeResource({ uri });
    return () => this.client.unsubscribeResource({ uri });
  }
}
class Client2 extends Client {
  constructor(name, mode) {
    super(name, v2);
    this.modern = mode !== 'legacy';
    this.client = new v2.Client(about(name), { capabilities, versionNegotiation: { mode } });
    for (const [method, answer] of Object.entries(answers)) this.client.setRequestHandler(method, answer);
    for (const method of heard) this.client.setNotificationHandler(method, (n) => this.note(n));
  }
  call(name, args = {}, options) {
    const level = this.modern ? { _meta: { 'io.modelcontextprotocol/logLevel': 'info' } } : {};
    return this.client.callTool({ name, arguments: args, ...level }, options);
  }
  async watch(uri) {
    if (!this.modern) {
      await this.client.subscribeResource({ uri });
      return () => this.client.unsubscribeResource({ uri });
    }
    const subscription = await this.client.listen({ resourceSubscriptions: [uri] });
    assert.deepEqual(subscription.honoredFilter.resourceSubscriptions, [uri]);
    return () => subscription.close();
  }
}
const clientKinds = {
  'SDK 1.x': () => new Client1('one'),
  'SDK 2.x, 2025-11-25': () => new Client2('two-legacy', 'legacy'),
  'SDK 2.x, 2026-07-28': () => new Client2('two', { pin: '2026-07-28' }),
};
const ways = {
  HTTP: (host, sdk) => new sdk.StreamableHTTPClientTransport(new URL('/mcp', host.url), { requestInit: { headers: { Authorization: `Bearer ${host.token}` } } }),
  stdio: (host, sdk) => new sdk.StdioClientTransport({ command: program, args: ['--config', host.file, 'mcp'], env: { ...process.env, ...host.env }, stderr: 'ignore' }),
};

// ---- the servers -----------------------------------------------------------------------------------------------------

const modern = '2026-07-28', legacy = '2025-11-25';
const script = path.join(source, 'tests', 'peers', 'sdk_server.mjs');
/// Names of tools and resources are the server's own; `behind`: what was called before is no longer under way.
const fixture = { echo: ['echo', { text: 'héllo "\n' }], ask: 'ask', sample: 'sample', roots: 'roots', log: ['log', { words: 'moo' }],
                  touch: 'touch', change: 'change', extra: 'extra', prompt: ['greet', { word: 'paris' }, /hello paris/], complete: ['word', ['paris', 'park']] };
const demo = { echo: ['echo', { text: 'héllo "\n' }], ask: 'ask_name', sample: 'test_input_required_result_sampling',
               roots: 'test_input_required_result_list_roots', log: ['test_tool_with_logging', {}], touch: 'test_trigger_resource_change', change: 'test_trigger_tool_change',
               extra: 'test_dynamic_tool', note: 'test://watched-resource', item: ['test://template/7/data', /"id":"7"/], template: 'test://template/{id}/data',
               prompt: ['test_prompt_with_arguments', { arg1: 'paris', arg2: 'x' }, /arg1='paris'/], complete: ['arg1', ['paris', 'park', 'party']] };
const of = (name) => ({ ...fixture, note: `server://${name}/note`, item: [`server://${name}/item/7`, /item 7/], template: `server://${name}/item/{id}` });
const serverKinds = [
  { title: 'SDK 1.x, stdio', name: 'one-stdio', kind: 'sdk1', era: legacy },
  { title: 'SDK 1.x, HTTP', name: 'one-http', kind: 'sdk1', era: legacy, http: true },
  { title: 'SDK 2.x of 2025-11-25, stdio', name: 'older-stdio', kind: 'sdk2-legacy', era: legacy },
  { title: 'SDK 2.x of 2025-11-25, HTTP', name: 'older-http', kind: 'sdk2-legacy', era: legacy, http: true },
  { title: 'SDK 2.x, stdio', name: 'two-stdio', kind: 'sdk2', era: modern },
  { title: 'SDK 2.x, HTTP', name: 'two-http', kind: 'sdk2', era: modern, http: true },
  { title: 'holdfast-demo-server, stdio', name: 'ours', era: modern, words: demo },
  { title: 'Holdfast\'s own gateway, HTTP', name: 'gate', era: modern, words: demo, http: true },
].map((s) => ({ words: of(s.name), ...s }));
/// Which hosts there are. `gate` is a second gateway in front of a third one with the demo server: its resources have the names of `ours`.
const gateAt = (server) => (server.name === 'gate' ? 'outer' : 'front');

// ---- what is tried ---------------------------------------------------------------------------------------------------

/// How often the demo server of a host was told that a request is not wanted any more.
const cancelled = async (host) => JSON.stringify(await host.call('server.log', { name: 'ours', limit: 1000 })).split('was cancelled').length - 1;

/// Each throws when it does not work. `s`: { words, tool(name), host, ... }.
const features = {
  'tools': async (c, s) => {
    const names = (await c.client.listTools()).tools.map((t) => t.name);
    const [tool, args] = s.words.echo;
    assert.ok(names.includes(s.tool(tool)), names.join());
    assert.equal(text(await c.call(s.tool(tool), args)), args.text);
  },
  // The SDKs lose reports that share a read with the answer, so there is no answer before they have been seen.
  'progress': async (c, s) => {
    const seen = [];
    const end = new AbortController();
    const [tool, args] = s.words === demo ? ['slow', { duration_ms: 60000, steps: 600 }] : ['work', { id: c.title, steps: 3 }];
    const total = args.steps;
    const call = c.call(s.tool(tool), args, { signal: end.signal, onprogress: (p) => {
      seen.push([p.progress, p.total]);
      if (seen.length === 3) s.words === demo ? end.abort() : c.call(s.tool('release'), { id: c.title }).catch(() => {});
    } });
    if (s.words === demo) await assert.rejects(call, /abort/i);
    else assert.equal(text(await call), '3 steps');
    assert.deepEqual(seen, [[1, total], [2, total], [3, total]]);
  },
  'cancellation': async (c, s) => {
    const stop = new AbortController();
    const id = c.title;
    const told = s.words === demo && (await cancelled(s.last));
    const [tool, args] = s.words === demo ? ['slow', { duration_ms: 60000, steps: 600 }] : ['hang', { id }];
    await assert.rejects(soon(c.call(s.tool(tool), args, { signal: stop.signal, onprogress: () => stop.abort() }), 'the cancelled call'), /abort/i);
    // What counts is that the server was told.
    if (s.words !== demo) assert.equal(text(await soon(c.call(s.tool('was_cancelled'), { id }), 'the server to be told')), 'yes');
    else await until('the demo server to be told', async () => (await cancelled(s.last)) > told, deadline_ms);
  },
  'resources': async (c, s) => {
    assert.ok((await c.client.listResources()).resources.some((r) => r.uri === s.words.note));
    assert.match((await c.client.readResource({ uri: s.words.note })).contents[0].text, /revision \d+/);
  },
  'templates': async (c, s) => {
    assert.ok((await c.client.listResourceTemplates()).resourceTemplates.some((r) => r.uriTemplate === s.words.template));
    const [uri, content] = s.words.item;
    assert.match((await c.client.readResource({ uri })).contents[0].text, content);
  },
  'updates': async (c, s) => {
    const read = async () => (await c.client.readResource({ uri: s.words.note })).contents[0].text;
    const from = c.notices.length;
    const updates = () => c.notices.slice(from).filter((n) => n.method === 'notifications/resources/updated' && n.params.uri === s.words.note).length;
    const end = await c.watch(s.words.note);
    // Every gateway on the way, two at most, says once that it may have changed before it was watched.
    for (let n = 1; n <= 3; ++n) {
      const before = await read();
      await c.call(s.tool(s.words.touch));
      await until(() => `update ${n}, of ${updates()}`, () => updates() >= n, deadline_ms);
      assert.notEqual(await read(), before);
    }
    await end();
  },
  'prompts': async (c, s) => {
    const [name, args, content] = s.words.prompt;
    assert.ok((await c.client.listPrompts()).prompts.some((p) => p.name === s.tool(name)));
    assert.match((await c.client.getPrompt({ name: s.tool(name), arguments: args })).messages[0].content.text, content);
  },
  'completion': async (c, s) => {
    const [name, expected] = s.words.complete;
    const r = await c.client.complete({ ref: { type: 'ref/prompt', name: s.tool(s.words.prompt[0]) }, argument: { name, value: 'par' } });
    assert.deepEqual(r.completion.values, expected);
  },
  'elicitation': async (c, s) => assert.match(text(await c.call(s.tool(s.words.ask))), /Ada/),
  'sampling': async (c, s) => assert.match(text(await c.call(s.tool(s.words.sample))), /moo/),
  'roots': async (c, s) => assert.match(text(await c.call(s.tool(s.words.roots))), /meadow/),
  'logging': async (c, s) => {
    const from = c.notices.length;
    const [tool, args] = s.words.log;
    await c.call(s.tool(tool), args);
    await until('the log message', () => c.since(from, 'notifications/message'), deadline_ms);
  },
};
/// Takes up to a second, so the others are tried meanwhile.
async function listChange(c, s, meanwhile) {
  const listed = async () => (await c.client.listTools()).tools.some((t) => t.name === s.tool(s.words.extra));
  // The client's own list may be of before the last change: SDK 2.x keeps it until it is told.
  const known = async () => (await s.host.call('tool.list', { server: s.name })).tools.some((t) => t.name === s.words.extra);
  const from = c.notices.length;
  const there = await known();
  await c.call(s.tool(s.words.change));
  await meanwhile();
  let seen;
  await until(() => `the list to change: ${JSON.stringify(seen)}`, async () => {
    seen = { there, known: await known(), told: !!c.since(from, 'notifications/tools/list_changed'), listed: await listed() };
    return seen.told && seen.known !== there && seen.listed !== there;
  }, deadline_ms);
}
const columns = [...Object.keys(features), 'list changes'];
const asks = ['elicitation', 'sampling', 'roots'];

// ---- the table --------------------------------------------------------------------------------------------------------

const outcomes = new Map();  // "client title|server title" → { column: '' | 'why not' }
const good = '✓';
function cell(client, server, column) {
  const why = outcomes.get(`${client.title}|${server.title}`)?.[column];
  if (why === undefined) return '?';
  if (why !== '') return '✗';
  const crossed = client.modern !== (server.era === modern);
  return crossed && (asks.includes(column) || column === 'updates') ? `${good} b` : good;
}
const versionOf = (name) => JSON.parse(fs.readFileSync(path.join(peers, 'node_modules', '@modelcontextprotocol', name, 'package.json'), 'utf8')).version;
function table(clients) {
  const lines = ['# Clients and servers of both eras through the gateway', '',
    'Made by `tests/e2e/mcp_matrix_peers.test.mjs`, which fails unless every cell is good. Clients: the official TypeScript SDKs at `/mcp` (HTTP) and at',
    '`holdfast mcp` (stdio). Servers: the same SDKs (`tests/peers/sdk_server.mjs`), `holdfast-demo-server`, and a gateway of ours behind the gateway.',
    `Versions: sdk ${versionOf('sdk')} as SDK 1.x; client ${versionOf('client')} and server ${versionOf('server')} as SDK 2.x.`, '',
    `| client | server | ${columns.join(' | ')} |`, `|---|---|${columns.map(() => ':-:').join('|')}|`];
  for (const c of clients) for (const s of serverKinds) lines.push(`| ${c.title} | ${s.title} | ${columns.map((k) => cell(c, s, k)).join(' | ')} |`);
  lines.push('',
    '**b**: bridged. 2026-07-28 (basic/patterns/mrtr): "Servers MUST send server-to-client requests (such as roots/list, sampling/createMessage, or elicitation/create)',
    'using the MRTR pattern. The previous pattern of server-initiated requests is no longer supported." So a request of a server of 2025-11-25 becomes an `input_required`',
    'result for a client of 2026-07-28, and the other way round; likewise `resources/subscribe` and `subscriptions/listen`.', '',
    'A server of 2025-11-25 over stdio does not say which call a question belongs to. The cells of one server are therefore tried one after the other;',
    'questions while calls of several clients are under way there are declined.', '');
  return lines.join('\n');
}

describe('every client, every server', { concurrency: true }, () => {
  const hosts = {}, http = [], clients = [];
  const busy = new Map();  // by server: one client at a time

  for (const [kind, make] of Object.entries(clientKinds))
    for (const way of Object.keys(ways)) clients.push({ title: `${kind}, ${way}`, way, make, modern: kind.endsWith(modern), at: {} });

  before(async () => {
    const mcpServers = { ours: demoServer({ args: ['--root', '.', '--conformance'] }) };
    for (const s of serverKinds.filter((k) => k.kind)) {
      if (!s.http) mcpServers[s.name] = { command: process.execPath, args: [script, s.kind, s.name, peers], era_probe_timeout_s: 20 };
      else {
        const served = await serveHttp(s.kind, s.name, peers);
        http.push(served);
        mcpServers[s.name] = { url: served.url };
      }
    }
    const inner = Host.start(configuration({ gateway: { prefix: 'none' }, mcpServers: { ours: mcpServers.ours } })).then((h) => (hosts.inner = h));
    const front = Host.start(configuration({ mcpServers })).then((h) => (hosts.front = h));
    const outer = inner.then((h) => Host.start(configuration({ mcpServers: { gate: { url: `${h.url}/mcp`, headers: { Authorization: `Bearer ${h.token}` } } } }))).then((h) => (hosts.outer = h));
    await Promise.all([front, outer]);
    for (const s of serverKinds) {
      const host = hosts[gateAt(s)];
      const row = await until(() => `${s.name} to be healthy; ${host.log.slice(-2000)}`, async () => {
        const r = await host.server(s.name);
        return r.status === 'healthy' && r;
      });
      assert.equal(row.protocol_version, s.era, s.title);
    }
    await Promise.all(clients.flatMap((c) => ['front', 'outer'].map(async (where) => {
      const client = (c.at[where] = c.make());
      client.title = c.title;
      await within(client.client.connect(ways[c.way](hosts[where], client.sdk)), 15000, `${c.title} to connect`);
      if (client.modern) await client.client.listen({ toolsListChanged: true });
    })));
  });
  after(async () => {
    await Promise.all(clients.flatMap((c) => Object.values(c.at).map((client) => client.close().catch(() => {}))));
    // The SDKs come back for the stream of a cancelled request a second later; nothing may be told again because of that.
    const most = 3 + 2;  // as in 'updates'
    const often = clients.flatMap((c) => Object.values(c.at).flatMap((client) => serverKinds.map((s) => [c.title, s.words.note,
      client.notices.filter((n) => n.method === 'notifications/resources/updated' && n.params.uri === s.words.note).length]))).filter(([, , times]) => times > most);
    const text = table(clients);
    fs.writeFileSync(path.join(build, 'tests', 'gateway-matrix.md'), text);
    console.log(text);
    await hosts.outer?.close();
    await Promise.all([hosts.front?.close(), hosts.inner?.close()]);
    await Promise.all(http.map((h) => h.close()));
    assert.deepEqual(often, [], 'told more often than it happened');
  });

  for (const c of clients)
    for (const s of serverKinds)
      test(`${c.title} → ${s.title}`, async () => {
        const turn = busy.get(s.name) ?? Promise.resolve();
        let done;
        busy.set(s.name, new Promise((yes) => (done = yes)));
        await turn;
        const row = {};
        outcomes.set(`${c.title}|${s.title}`, row);
        const attempt = async (column, run) => {
          try {
            await run();
            row[column] = '';
          } catch (e) {
            row[column] = e.message || String(e);
          }
        };
        try {
          const client = c.at[gateAt(s)];
          const server = { name: s.name, host: hosts[gateAt(s)], words: s.words, tool: (name) => `${s.name}__${name}`, last: hosts[s.name === 'gate' ? 'inner' : 'front'] };
          await attempt('list changes', () => listChange(client, server, async () => {
            for (const [column, run] of Object.entries(features)) await attempt(column, () => within(run(client, server), 2 * deadline_ms, column));
          }));
        } finally {
          done();
        }
        assert.deepEqual(Object.entries(row).filter(([, why]) => why !== ''), [], 'what does not work');
        assert.deepEqual(Object.keys(row).sort(), [...columns].sort(), 'everything was tried');
      });
});
