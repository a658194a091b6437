// The gateway's promises to those who use it together: what a viewer may do, how much one user may have under way, how soon a server
// that was killed answers again.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { Host, configuration, demoServer, patience, sanitizer, until, within } from './host.mjs';

const at_once = 4;  // requests of one user
const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {}, 'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' } };
const modern = (method, params = {}) => ({ method, params: { ...params, _meta: meta } });
const echo = (text) => modern('tools/call', { name: 'demo__echo', arguments: { text } });
const slow = modern('tools/call', { name: 'demo__slow', arguments: { duration_ms: 60000, steps: 1 } });
const said = (answer) => answer.result?.content[0].text;

/// JSON lines with an MCP endpoint on a Unix socket, in either era.
class Lines {
  static connect(file) {
    return new Promise((yes, no) => {
      const c = new Lines();
      c.socket = net.connect(file, () => yes(c));
      c.socket.on('error', no);
      c.messages = [];
      c.next = 1;
      let rest = '';
      c.socket.setEncoding('utf8').on('data', (d) => {
        rest += d;
        for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.slice(end + 1)) c.messages.push(JSON.parse(rest.slice(0, end)));
      });
    });
  }
  send(message) {
    this.socket.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\n');
  }
  start(message) {
    this.send({ id: this.next, ...message });
    return this.next++;
  }
  answer(id, ms) {
    return until(`an answer to ${id}`, () => this.messages.find((m) => m.id === id && !m.method), ms);
  }
  ask(message, ms) {
    return this.answer(this.start(message), ms);
  }
  cancel(id) {
    this.send({ method: 'notifications/cancelled', params: { requestId: id } });
  }
  async hello() {
    await this.ask({ method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } } });
    this.send({ method: 'notifications/initialized' });
    return this;
  }
  told(method, from = 0) {
    return until(method, () => this.messages.slice(from).find((m) => m.method === method));
  }
  close() {
    this.socket.destroy();
  }
}

describe('the gateway for several', () => {
  let host;
  const open = [];
  const connect = async (plugin) => {
    const { url } = await host.plugin(plugin);
    const c = await Lines.connect(url.replace(/^unix:(\/\/)?/, ''));
    open.push(c);
    return c;
  };
  const configure = async (change) => {
    const config = JSON.parse(fs.readFileSync(host.file, 'utf8'));
    change(config);
    host.write(config);
    await host.call('config.reload');
  };
  before(async () => {
    const config = configuration({ mcpServers: { demo: demoServer({ args: ['--root', '.', '--conformance'] }) }, gateway: { limits: { requests_per_user: at_once } } });
    for (const role of ['viewer', 'operator']) config.plugins[role] = { use: 'ui-mcp-socket', settings: { role } };
    host = await Host.start(config);
    await until('the server', async () => (await host.server('demo')).status === 'healthy');
  });
  after(async () => {
    for (const c of open) c.close();
    await host?.close();
  });

  test('a viewer reads resources and prompts, is told of their changes, and calls no tool', async () => {
    const watched = 'test://watched-resource';
    const operator = await connect('operator');
    for (const c of [await connect('viewer'), await (await connect('viewer')).hello()]) {
      const newer = c.messages.length === 0;
      const ask = (method, params) => c.ask(newer ? modern(method, params) : { method, params });
      assert.deepEqual((await ask('tools/list')).result.tools, []);
      assert.equal((await ask('tools/call', { name: 'demo__echo', arguments: { text: 'x' } })).error.code, -32602);
      assert.ok((await ask('prompts/list')).result.prompts.some((p) => p.name === 'demo__test_simple_prompt'));
      assert.ok((await ask('prompts/get', { name: 'demo__test_simple_prompt' })).result.messages.length > 0);
      assert.ok((await ask('resources/list')).result.resources.some((r) => r.uri === watched));
      const read = async () => (await ask('resources/read', { uri: watched })).result.contents[0].text;
      const updates = () => c.messages.filter((m) => m.method === 'notifications/resources/updated' && m.params.uri === watched).length;
      if (newer) {
        c.start(modern('subscriptions/listen', { notifications: { resourceSubscriptions: [watched] } }));
        await c.told('notifications/subscriptions/acknowledged');
      } else {
        await ask('resources/subscribe', { uri: watched });
      }
      for (const n of [1, 2]) {  // once it is said that it may have changed before it was watched
        const before = await read();
        assert.ok((await operator.ask(modern('tools/call', { name: 'demo__test_trigger_resource_change', arguments: {} }))).result);
        await until(`update ${n}`, () => updates() >= n);
        assert.notEqual(await read(), before);
      }
      c.close();
    }
  });

  test('a viewer calls the tools that the configuration gives to viewers, and learns of it', async () => {
    const viewer = await (await connect('viewer')).hello();
    const echoes = { method: 'tools/call', params: { name: 'demo__echo', arguments: { text: 'now' } } };
    assert.ok((await viewer.ask(echoes)).error);
    await configure((c) => (c.gateway.roles = { viewer: { tools: ['demo__echo', 'demo__get_*'] } }));
    await viewer.told('notifications/tools/list_changed');
    assert.deepEqual((await viewer.ask({ method: 'tools/list', params: {} })).result.tools.map((t) => t.name).sort(), ['demo__echo', 'demo__get_time']);
    assert.equal(said(await viewer.ask(echoes)), 'now');
    assert.equal((await viewer.ask({ method: 'tools/call', params: { name: 'demo__slow', arguments: {} } })).error.code, -32602);
    const operator = await connect('operator');
    assert.ok((await operator.ask(modern('tools/list'))).result.tools.length > 10, 'the others see what they saw');
    await configure((c) => delete c.gateway.roles);
    await until('it to be taken back', async () => (await viewer.ask(echoes)).error);
    viewer.close();
  });

  test('one user has only so many requests under way, on all connections together; what ends makes room', async () => {
    const a = await connect('operator'), b = await connect('operator');
    await until('room', async () => (await host.call('gateway.status')).subscriptions === 0);
    const ids = Array.from({ length: at_once - 1 }, () => a.start(slow));
    const stream = b.start(modern('subscriptions/listen', { notifications: { toolsListChanged: true } }));
    await b.told('notifications/subscriptions/acknowledged');
    await until('they to be under way', async () => (await host.call('gateway.status')).requests === at_once - 1);
    for (const c of [a, b]) {
      const refused = (await c.ask(echo('one too many'))).error;
      assert.equal(refused.code, -32603);
      assert.match(refused.message, /too many requests .* under way/);
    }
    assert.ok((await b.ask(modern('tools/list'))).result, 'what needs no server is still answered');
    const r = await fetch(`${host.url}/mcp`, { method: 'POST', body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...echo('by http') }),
      headers: { authorization: `Bearer ${host.token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'demo__echo' } });
    assert.equal(r.status, 429);
    a.cancel(ids[0]);
    await until('room for one', async () => said(await b.ask(echo('again'))) === 'again');
    b.cancel(stream);
    for (const id of ids.slice(1)) a.cancel(id);
    await until('nothing to be left', async () => {
      const s = await host.call('gateway.status');
      return s.requests === 0 && s.subscriptions === 0;
    });
    const all = await Promise.all(Array.from({ length: at_once }, (_, i) => a.ask(echo(`${i}`))));
    assert.deepEqual(all.map(said), ['0', '1', '2', '3']);
    a.close();
    b.close();
  });

  test('a server that is killed answers again within a second', async (t) => {
    const c = await connect('operator');
    const times = [];
    for (let round = 0; round < 3; ++round) {
      assert.equal(said(await c.ask(echo('before'))), 'before');
      const { pid } = await host.server('demo');
      process.kill(pid, 'SIGKILL');
      const killed = performance.now();
      await until('a call to succeed', async () => said(await c.ask(echo('after'))) === 'after');
      times.push(performance.now() - killed);
      assert.notEqual((await host.server('demo')).pid, pid);
    }
    t.diagnostic(`recovered in ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
    // Promised: one second. Machines that run other tests meanwhile get more; without the recovery at once it would be two and more.
    const best = Math.min(...times);
    assert.ok(best < (sanitizer ? 5000 : 1000) * patience, `${best} ms at best`);
  });
});
