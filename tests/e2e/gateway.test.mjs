// The MCP endpoint in front of all servers: both eras of clients against both eras of servers, pinned definitions, dead servers.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { spawn } from 'node:child_process';
import readline from 'node:readline';
import { alive, configuration, program, until, withHost, within } from './host.mjs';

const modern = '2026-07-28';
const meta = (capabilities = {}) => ({ 'io.modelcontextprotocol/protocolVersion': modern, 'io.modelcontextprotocol/clientCapabilities': capabilities, 'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' } });

/// A stdio server of the older protocol. Its tool "note" is described by the file it is given, read at every list, its prompts and
/// resources by those beside it.
const server = `
const fs = require('node:fs'), rl = require('node:readline').createInterface({ input: process.stdin });
const file = process.argv[2];
let next = 1;
const waiting = new Map();
const send = (m) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...m }) + '\\n');
const ask = (method, params) => new Promise((yes) => { const id = 'q' + next++; waiting.set(id, yes); send({ id, method, params }); });
const read = (list) => { try { return fs.readFileSync(list === 'tools' ? file : file + '.' + list, 'utf8'); } catch { return '[]'; } };
const current = { tools: read('tools'), prompts: read('prompts'), resources: read('resources') };
setInterval(() => { for (const list in current) { const now = read(list); if (now !== current[list]) { current[list] = now; send({ method: 'notifications/' + list + '/list_changed' }); } } }, 20);
rl.on('line', async (line) => {
  const m = JSON.parse(line);
  if (m.method === undefined) return waiting.get(m.id)?.(m), waiting.delete(m.id);
  if (m.method === 'notifications/cancelled') process.stderr.write('told to cancel\\n');
  if (m.id === undefined) return;
  const ok = (result) => send({ id: m.id, result });
  if (m.method === 'initialize') return ok({ protocolVersion: '2025-06-18', capabilities: { tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true } }, serverInfo: { name: 'older', version: '1' } });
  if (m.method === 'ping') return ok({});
  if (m.method === 'prompts/list') return ok({ prompts: JSON.parse(read('prompts')) });
  if (m.method === 'resources/list') return ok({ resources: JSON.parse(read('resources')) });
  if (m.method === 'tools/list') process.stderr.write('described as ' + read('tools') + '\\n');
  if (m.method === 'tools/list') return ok({ tools: [JSON.parse(read('tools')), ...['ask', 'slow', 'die'].map((name) => ({ name, inputSchema: { type: 'object' } }))] });
  if (m.method !== 'tools/call') return send({ id: m.id, error: { code: -32601, message: 'Method not found' } });
  if (m.params.name === 'die') process.exit(1);
  if (m.params.name === 'slow') {
    const token = m.params._meta?.progressToken;
    if (token !== undefined) send({ method: 'notifications/progress', params: { progressToken: token, progress: 1, total: 2 } });
    return;  // never answers
  }
  if (m.params.name !== 'ask') return ok({ content: [{ type: 'text', text: 'noted' }] });
  const name = await ask('elicitation/create', { message: 'your name?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } });
  const said = await ask('sampling/createMessage', { messages: [], maxTokens: 5 });
  ok({ content: [{ type: 'text', text: JSON.stringify([name.result ?? name.error, said.result ?? said.error]) }] });
});
process.stdin.on('end', () => process.exit(0));
`;
const first = { name: 'note', description: 'keeps a note', inputSchema: { type: 'object' } };

const withGateway = (body, gateway = {}) =>
  withHost(configuration({ gateway }), async (host) => {
    fs.writeFileSync(path.join(host.dir, 'older.cjs'), server);
    const file = path.join(host.dir, 'tool.json');
    fs.writeFileSync(file, JSON.stringify(first));
    const config = JSON.parse(fs.readFileSync(host.file, 'utf8'));
    config.mcpServers.older = { command: process.execPath, args: [path.join(host.dir, 'older.cjs'), file], era_probe_timeout_s: 0.5 };
    fs.writeFileSync(host.file, JSON.stringify(config));
    await host.call('config.reload');
    await until('both servers', async () => (await host.call('server.list')).servers.every((s) => s.status === 'healthy'));
    const define = (d, list) => (fs.writeFileSync(file + '.new', JSON.stringify(d)), fs.renameSync(file + '.new', list ? `${file}.${list}` : file));
    await body(host, define);
  });

/// The stream of a session's own.
const get = (host, headers, more) => post(host, null, { headers, ...more });
/// One POST; the messages of its answer, JSON or events.
async function post(host, message, { headers = {}, signal, on } = {}) {
  const r = await fetch(host.url + '/mcp', {
    ...(message ? { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', ...message }) } : {}), signal,
    headers: { authorization: `Bearer ${host.token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
  });
  const messages = [];
  if ((r.headers.get('content-type') ?? '').includes('event-stream')) {
    let text = '';
    for await (const piece of r.body) {
      text += Buffer.from(piece).toString();
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).split('\n').filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trim()).join('');
        if (!data) continue;
        messages.push(JSON.parse(data));
        on?.(messages.at(-1));
      }
    }
  } else {
    const text = await r.text();
    if (text) messages.push(JSON.parse(text));
  }
  return { status: r.status, session: r.headers.get('mcp-session-id'), messages, last: messages.at(-1) };
}
let id = 1;
function request(host, method, params = {}, capabilities = {}, more = {}) {
  const name = params.name ?? params.uri;
  return post(host, { id: id++, method, params: { ...params, _meta: { ...meta(capabilities), ...params._meta } } },
              { ...more, headers: { 'mcp-protocol-version': modern, 'mcp-method': method, ...(name ? { 'mcp-name': name } : {}) } });
}
async function open(host, capabilities = {}) {
  const r = await post(host, { id: id++, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities, clientInfo: { name: 'test', version: '1' } } });
  const headers = { 'mcp-session-id': r.session, 'mcp-protocol-version': '2025-06-18' };
  await post(host, { method: 'notifications/initialized' }, { headers });
  return { headers, call: (method, params, more = {}) => post(host, { id: id++, method, params }, { ...more, headers }) };
}
const names = async (host) => (await request(host, 'tools/list')).last.result.tools.map((t) => t.name);
const text = (r) => r.last.result.content[0].text;

describe('gateway', () => {
  test('a modern client answers the questions of a legacy server round by round', () =>
    withGateway(async (host) => {
      const capabilities = { elicitation: {}, sampling: {} };
      const call = (more = {}) => request(host, 'tools/call', { name: 'older__ask', arguments: {}, ...more }, capabilities);
      let r = await call();
      assert.equal(r.last.result.resultType, 'input_required');
      const answer = (value) => ({ inputResponses: { [Object.keys(r.last.result.inputRequests)[0]]: value }, requestState: r.last.result.requestState });
      const used = answer({ action: 'accept', content: { name: 'Ada' } });
      r = await call(used);
      assert.equal(Object.values(r.last.result.inputRequests)[0].method, 'sampling/createMessage');
      assert.equal((await call(used)).last.error.code, -32602, 'a state is good for one round');
      assert.equal((await request(host, 'tools/call', { name: 'older__note', ...answer({}) }, capabilities)).last.error.code, -32602, 'and for its own request');
      r = await call(answer({ role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' }));
      assert.deepEqual(JSON.parse(text(r)).map((a) => a.content), [{ name: 'Ada' }, { type: 'text', text: 'hi' }]);
    }));

  test('a legacy client is asked on its own stream, by servers of both eras', () =>
    withGateway(async (host) => {
      const client = await open(host, { elicitation: {}, sampling: {} });
      for (const [tool, expected] of [['older__ask', /Ada/], ['demo__ask_name', /Ada/]]) {
        const r = await client.call('tools/call', { name: tool, arguments: {} }, {
          on: (m) => {
            if (m.method === 'elicitation/create') post(host, { id: m.id, result: { action: 'accept', content: { name: 'Ada' } } }, { headers: client.headers });
            if (m.method === 'sampling/createMessage') post(host, { id: m.id, error: { code: -1, message: 'no' } }, { headers: client.headers });
          },
        });
        assert.match(text(r), expected, tool);
      }
    }));

  test('nobody is asked what they did not offer', () =>
    withGateway(async (host) => {
      const r = await request(host, 'tools/call', { name: 'older__ask', arguments: {} });
      assert.equal(JSON.parse(text(r))[0].action, 'decline');
    }));

  test('a client that leaves cancels its call, with progress on the way', () =>
    withGateway(async (host) => {
      const gone = new AbortController();
      const seen = [];
      const call = request(host, 'tools/call', { name: 'older__slow', arguments: {}, _meta: { progressToken: 'mine' } }, {}, { signal: gone.signal, on: (m) => { seen.push(m); gone.abort(); } });
      await assert.rejects(call);
      assert.deepEqual(seen[0].params, { progressToken: 'mine', progress: 1, total: 2 });
      await until('the call to end', async () => (await host.call('gateway.status')).requests === 0);
      await until('the server to be told', async () => JSON.stringify(await host.call('server.log', { name: 'older' })).includes('told to cancel'));
    }));

  test('lists of prompts and resources that change are told to clients of both eras that want to know', () =>
    withGateway(async (host, define) => {
      const gone = new AbortController(), heard = { newer: [], older: [] };
      const wanted = { promptsListChanged: true, resourcesListChanged: true };
      const listening = [request(host, 'subscriptions/listen', { notifications: wanted }, {}, { signal: gone.signal, on: (m) => heard.newer.push(m) })];
      const session = await open(host);
      listening.push(get(host, session.headers, { signal: gone.signal, on: (m) => heard.older.push(m) }));
      await until('the subscription', () => heard.newer.some((m) => m.method === 'notifications/subscriptions/acknowledged'));
      for (const [list, entry] of [['prompts', { name: 'p' }], ['resources', { uri: 'note://1', name: 'one' }]]) {
        define([entry], list);
        for (const [era, all] of Object.entries(heard)) await until(`${list} for the ${era}`, () => all.some((m) => m.method === `notifications/${list}/list_changed`));
        const now = (await request(host, `${list}/list`)).last.result[list];
        assert.ok(now.some((e) => e.name === 'older__p' || e.uri === 'note://1'), JSON.stringify(now));
      }
      assert.ok(![...heard.newer, ...heard.older].some((m) => m.method === 'notifications/tools/list_changed'), 'its tools have not changed');
      gone.abort();
      await Promise.allSettled(listening);
    }));

  test('a changed definition is held until it is approved; reordered keys are not', () =>
    withGateway(async (host, define) => {
      const events = await host.control.subscribe('server:older');
      assert.ok((await names(host)).includes('older__note'));
      const reordered = { inputSchema: { type: 'object' }, description: 'keeps a note', name: 'note' };
      define(reordered);
      await until('it to be read in another order', async () => (await host.call('server.log', { name: 'older' })).lines.some((l) => JSON.stringify(l).includes(JSON.stringify(JSON.stringify(reordered)).slice(1, -1))));
      define({ ...first, description: 'keeps a note, and sends it on' });
      await until('the tool to be held', async () => !(await names(host)).includes('older__note'));
      await until('the event', () => events.list.some((e) => e.type === 'tool_definition_changed' && (e.data?.tool ?? e.tool) === 'note'));
      assert.match((await request(host, 'tools/call', { name: 'older__note', arguments: {} })).last.error.message, /approve/);
      assert.ok((await names(host)).includes('older__ask'), 'the others go on');
      const held = (await host.call('gateway.pins', { held: true })).pins;
      assert.equal(held.length, 1);
      assert.equal(events.list.filter((e) => e.type === 'tool_definition_changed').length, 1, 'another order is no change');
      assert.equal(held[0].change[0].path, '/description');
      await assert.rejects(host.call('gateway.approve', { server: 'older', tool: 'note', hash: '0'.repeat(64) }), /changed again/);
      const r = await host.cli(['gateway', 'approve', 'older', 'note', '--hash', held[0].new_hash]);
      assert.equal(r.code, 0, r.stderr);
      await until('the tool to be back', async () => (await names(host)).includes('older__note'));
      assert.equal(text(await request(host, 'tools/call', { name: 'older__note', arguments: {} })), 'noted');
    }));

  test('a server that dies is out of the lists at once and delays nobody', () =>
    withGateway(async (host) => {
      const pid = (await host.server('older')).pid;
      const r = await request(host, 'tools/call', { name: 'older__die', arguments: {} });
      assert.ok(r.last.error, 'the call has ended with an error');
      await until('its end', () => !alive(pid));
      assert.ok((await names(host)).some((n) => n.startsWith('demo__')));
      await until('its return', async () => (await names(host)).includes('older__note'));
    }));

  test('filters leave out of lists and calls alike', () =>
    withGateway(async (host) => {
      const all = await names(host);
      assert.ok(all.includes('older__ask') && !all.includes('older__slow') && !all.some((n) => n.startsWith('demo__')));
      assert.equal((await request(host, 'tools/call', { name: 'older__slow', arguments: {} })).last.error.code, -32602);
    }, { servers: { demo: { expose: false }, older: { tools: ['!slow'] } } }));

  test('sessions belong to one user, end when they are closed, and are limited', () =>
    withGateway(async (host) => {
      const one = await open(host);
      assert.equal((await one.call('ping')).status, 200);
      const second = await post(host, { id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {} } });
      assert.equal(second.status, 503);
      const r = await fetch(host.url + '/mcp', { method: 'DELETE', headers: { authorization: `Bearer ${host.token}`, ...one.headers } });
      assert.ok(r.status >= 200 && r.status < 300, `${r.status}`);
      assert.equal((await one.call('ping')).status, 404);
      assert.equal((await open(host)).headers['mcp-session-id'].length, 48);
    }, { limits: { sessions: 1 } }));
});

test('holdfast mcp takes messages of 4 MiB that nest 60 deep, refuses others by name and goes on', () =>
  withHost(configuration({}), async (host) => {
    const child = spawn(program, ['--config', host.file, 'mcp'], { cwd: host.dir, env: { ...process.env, ...host.env }, stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const answerTo = async (line) => {
      child.stdin.write(line + '\n');
      return JSON.parse((await within(lines.next(), 20_000, 'an answer')).value);
    };
    try {
      const ping = (id, pad) => `{"jsonrpc":"2.0","id":${id},"method":"server/discover","params":{"pad":${pad},"_meta":${JSON.stringify(meta())}}}`;
      const sized = (id, bytes) => ping(id, `"${'x'.repeat(bytes - ping(id, '""').length)}"`);
      const deep = (id, levels) => ping(id, '['.repeat(levels - 2) + ']'.repeat(levels - 2));
      const most = 4 * 1024 * 1024;
      assert.equal((await answerTo(sized(1, most))).id, 1);
      for (const bytes of [most + 1, most + 70_000, 3 * most]) {
        const { id, error } = await answerTo(sized(2, bytes));
        assert.deepEqual([id, error.code], [null, -32700], `${bytes} bytes`);
        assert.match(error.message, /4194304/);
      }
      assert.equal((await answerTo(deep(3, 60))).id, 3);
      for (const levels of [61, 100_000]) assert.equal((await answerTo(deep(4, levels))).error.code, -32700, `${levels} levels`);
      assert.ok((await answerTo(ping(5, '1'))).result, 'it goes on');
    } finally {
      child.stdin.end();
      await within(new Promise((done) => (child.exitCode === null ? child.on('exit', done) : done())), 20_000, 'its end');
    }
  }));
