// One MCP server written with the official TypeScript SDKs, to stand behind the gateway: SDK 1.x, SDK 2.x, and SDK 2.x as it serves
// clients of the older protocol only.
//   node sdk_server.mjs KIND NAME PEERS       over stdin and stdout
//   import { serveHttp } …                    over Streamable HTTP, in the process that asks
// KIND: sdk1 | sdk2 | sdk2-legacy. NAME is the host part of its URIs. PEERS: where tests/peers/install.sh has put the packages.
import { createRequire } from 'node:module';
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const text = (words) => ({ content: [{ type: 'text', text: words }] });

/// What all connections of one server share.
class Shared {
  constructor(name) {
    this.name = name;
    this.note = `server://${name}/note`;
    this.item = `server://${name}/item/{id}`;
    this.revision = 1;
    this.extra = false;
    this.connections = new Set();   // [{ changed(), updated(uri), show(extra) }]
    this.gates_ = new Map();        // name → { promise, open() }
  }
  /// What one call waits for and another brings about.
  gate(name) {
    if (!this.gates_.has(name)) {
      let open;
      const promise = new Promise((yes) => (open = yes));
      this.gates_.set(name, { promise, open });
    }
    return this.gates_.get(name);
  }
  touch() {
    ++this.revision;
    for (const c of this.connections) c.updated(this.note);
  }
  change() {
    this.extra = !this.extra;
    for (const c of this.connections) c.show(this.extra);
  }
}

const form = { message: 'What is your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } };
const question = { messages: [{ role: 'user', content: { type: 'text', text: 'say something' } }], maxTokens: 20 };

/// The tools, prompts and resources, in terms of what both SDKs have. `u`: zod, completable, template, and per request
/// { report(progress, total), signal, log(text) } of what the SDK passes; ask and sample are registered by the SDK's own part.
function offer(server, shared, u) {
  const tool = (name, inputSchema, run) => server.registerTool(name, { description: name, inputSchema: u.schema(inputSchema) }, (args, extra) => run(args, u.of(extra)));
  tool('echo', { text: u.z.string() }, async ({ text: words }) => text(words));
  tool('work', { id: u.z.string(), steps: u.z.number() }, async ({ id, steps }, now) => {
    for (let i = 1; i <= steps; ++i) await now.report(i, steps);
    await shared.gate(`work ${id}`).promise;
    return text(`${steps} steps`);
  });
  tool('release', { id: u.z.string() }, async ({ id }) => (shared.gate(`work ${id}`).open(), text('released')));
  tool('hang', { id: u.z.string() }, async ({ id }, now) => {
    const stopped = new Promise((yes) => now.signal.addEventListener('abort', yes, { once: true }));
    await now.report(1, 2);
    await stopped;
    shared.gate(`cancelled ${id}`).open();
    return text('cancelled');
  });
  tool('was_cancelled', { id: u.z.string() }, async ({ id }) => (await shared.gate(`cancelled ${id}`).promise, text('yes')));
  tool('log', { words: u.z.string() }, async ({ words }, now) => (await now.log(words), text('logged')));
  tool('touch', {}, async () => (shared.touch(), text(`revision ${shared.revision}`)));
  tool('change', {}, async () => (shared.change(), text(shared.extra ? 'there' : 'gone')));
  const extra = server.registerTool('extra', { description: 'comes and goes', inputSchema: u.schema({}) }, async () => text('here'));
  if (!shared.extra) extra.disable();

  server.registerResource('note', shared.note, { mimeType: 'text/plain' }, async (uri) => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: `revision ${shared.revision}` }] }));
  server.registerResource('item', u.template(shared.item), { mimeType: 'text/plain' }, async (uri, { id }) => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: `item ${id}` }] }));
  const word = u.completable(u.z.string(), (typed) => ['paris', 'park', 'oslo'].filter((w) => w.startsWith(typed)));
  server.registerPrompt('greet', { description: 'a greeting', argsSchema: u.schema({ word }) }, async (args) => ({ messages: [{ role: 'user', content: { type: 'text', text: `hello ${args.word}` } }] }));

  const quiet = (promise) => promise.catch(() => {});  // nobody may be connected any more
  const connection = {
    show: (there) => (there ? extra.enable() : extra.disable()),  // tells of it by itself
    updated: (uri) => quiet(server.server.sendResourceUpdated({ uri })),
  };
  return connection;
}
const capabilities = { logging: {}, resources: { subscribe: true, listChanged: true }, tools: { listChanged: true } };
const about = (kind) => ({ name: kind, version: '1' });

function sdk1(peers, kind, shared) {
  const sdk = (part) => peers(`@modelcontextprotocol/sdk/${part}.js`);
  const { McpServer, ResourceTemplate } = sdk('server/mcp');
  const types = sdk('types');
  const u = {
    z: peers('zod').z, schema: (shape) => shape, completable: sdk('server/completable').completable,
    template: (uri) => new ResourceTemplate(uri, { list: undefined }),
    of: (extra) => ({
      signal: extra.signal,
      report: async (progress, total) => extra._meta?.progressToken !== undefined && extra.sendNotification({ method: 'notifications/progress', params: { progressToken: extra._meta.progressToken, progress, total } }),
      log: (data) => extra.sendNotification({ method: 'notifications/message', params: { level: 'warning', data } }),
    }),
  };
  const make = () => {
    const server = new McpServer(about(kind), { capabilities });
    const watched = new Set();
    const connection = offer(server, shared, u);
    const { updated } = connection;
    connection.updated = (uri) => watched.has(uri) && updated(uri);
    server.server.setRequestHandler(types.SubscribeRequestSchema, async (r) => (watched.add(r.params.uri), {}));
    server.server.setRequestHandler(types.UnsubscribeRequestSchema, async (r) => (watched.delete(r.params.uri), {}));
    // As most servers do it: the question names no request, so over HTTP it takes the stream of no request.
    server.registerTool('ask', { description: 'ask' }, async () => text(`hello ${(await server.server.elicitInput(form)).content?.name}`));
    // And as careful ones do: on the stream of the call.
    server.registerTool('sample', { description: 'sample' }, async (extra) =>
      text(`it said ${(await extra.sendRequest({ method: 'sampling/createMessage', params: question }, types.CreateMessageResultSchema)).content.text}`));
    server.registerTool('roots', { description: 'roots' }, async (extra) =>
      text((await extra.sendRequest({ method: 'roots/list' }, types.ListRootsResultSchema)).roots.map((r) => r.uri).join()));
    server.server.onclose = () => shared.connections.delete(connection);
    shared.connections.add(connection);
    return server;
  };
  return {
    stdio: () => make().connect(new (sdk('server/stdio').StdioServerTransport)()),
    http: () => sessions(make, sdk('server/streamableHttp').StreamableHTTPServerTransport),
  };
}

function sdk2(peers, kind, shared) {
  const sdk = peers('@modelcontextprotocol/server');
  const { McpServer, ResourceTemplate, inputRequired, inputResponse, acceptedContent } = sdk;
  const z = peers('zod').z;
  const u = {
    z, schema: (shape) => z.object(shape), completable: sdk.completable,
    template: (uri) => new ResourceTemplate(uri, { list: undefined }),
    of: (ctx) => ({
      signal: ctx.mcpReq.signal,
      report: async (progress, total) => ctx.mcpReq._meta?.progressToken !== undefined && ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken: ctx.mcpReq._meta.progressToken, progress, total } }),
      log: (data) => ctx.mcpReq.log('warning', data),
    }),
  };
  const make = () => {
    const server = new McpServer(about(kind), { capabilities });
    const connection = offer(server, shared, u);
    // Written once for both eras: the SDK asks clients of the older one by requests of its own.
    server.registerTool('ask', { description: 'ask', inputSchema: z.object({}) }, async (_, ctx) => {
      const answer = acceptedContent(ctx.mcpReq.inputResponses, 'name');
      return answer ? text(`hello ${answer.name}`) : inputRequired({ inputRequests: { name: inputRequired.elicit(form) } });
    });
    server.registerTool('sample', { description: 'sample', inputSchema: z.object({}) }, async (_, ctx) => {
      const answer = inputResponse(ctx.mcpReq.inputResponses, 'said');
      return answer.kind === 'sampling' ? text(`it said ${answer.result.content.text}`) : inputRequired({ inputRequests: { said: inputRequired.createMessage(question) } });
    });
    server.registerTool('roots', { description: 'roots', inputSchema: z.object({}) }, async (_, ctx) => {
      const answer = inputResponse(ctx.mcpReq.inputResponses, 'roots');
      return answer.kind === 'roots' ? text(answer.roots.map((r) => r.uri).join()) : inputRequired({ inputRequests: { roots: inputRequired.listRoots() } });
    });
    return { server, connection };
  };
  const legacy = () => {
    const { server, connection } = make();
    const watched = new Set();
    const { updated } = connection;
    connection.updated = (uri) => watched.has(uri) && updated(uri);
    server.server.setRequestHandler('resources/subscribe', async (r) => (watched.add(r.params.uri), {}));
    server.server.setRequestHandler('resources/unsubscribe', async (r) => (watched.delete(r.params.uri), {}));
    server.server.onclose = () => shared.connections.delete(connection);
    shared.connections.add(connection);
    return server;
  };
  const { serveStdio, StdioServerTransport } = peers('@modelcontextprotocol/server/stdio');
  const { NodeStreamableHTTPServerTransport, toNodeHandler } = peers('@modelcontextprotocol/node');
  if (kind === 'sdk2-legacy') return { stdio: () => legacy().connect(new StdioServerTransport()), http: () => sessions(legacy, NodeStreamableHTTPServerTransport) };
  return {
    stdio: () => serveStdio(() => {
      const { server, connection } = make();
      server.server.onclose = () => shared.connections.delete(connection);
      shared.connections.add(connection);
      return server;
    }, { legacy: 'reject' }),
    // A server for every request: what changes goes out by the handler, which has the subscriptions.
    http: () => {
      const handler = sdk.createMcpHandler(() => make().server, { legacy: 'reject' });
      shared.connections.add({ show: () => handler.notify.toolsChanged(), updated: (uri) => handler.notify.resourceUpdated(uri) });
      return toNodeHandler(handler);
    },
  };
}

/// Streamable HTTP of the older protocol: a server for every session.
function sessions(make, Transport) {
  const open = new Map();
  return async (request, response) => {
    let transport = open.get(request.headers['mcp-session-id']);
    if (!transport) {
      if (request.headers['mcp-session-id']) return response.writeHead(404).end();
      transport = new Transport({ sessionIdGenerator: randomUUID, onsessioninitialized: (id) => open.set(id, transport), onsessionclosed: (id) => open.delete(id) });
      await make().connect(transport);
    }
    await transport.handleRequest(request, response);
  };
}

const kinds = { sdk1, sdk2, 'sdk2-legacy': sdk2 };
const create = (kind, name, folder) => kinds[kind](createRequire(path.join(folder, 'package.json')), kind, new Shared(name));

/// Resolves to { url, close() }.
export function serveHttp(kind, name, folder) {
  const handle = create(kind, name, folder).http();
  const server = http.createServer((request, response) => handle(request, response));
  return new Promise((yes) =>
    server.listen(0, '127.0.0.1', () => yes({ url: `http://127.0.0.1:${server.address().port}/mcp`, close: () => (server.closeAllConnections(), new Promise((done) => server.close(done))) })));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [kind, name, folder] = process.argv.slice(2);
  await create(kind, name, folder).stdio();
}
