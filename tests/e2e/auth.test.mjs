// Without the token nothing is served; foreign origins and hosts are refused; hostile clients do not harm others.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { Host, alive, configuration, until, within } from './host.mjs';
import { WebSocketClient } from './websocket.mjs';

/// http.request, because fetch() sets Host and Origin itself.
function request(url, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((yes, no) => {
    const r = http.request(url, { method, headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (d) => (text += d));
      answer.on('end', () => yes({ status: answer.statusCode, headers: answer.headers, text, get json() { return JSON.parse(text); } }));
    });
    r.on('error', no);
    r.end(body);
  });
}
/// Bytes as they are; what came back until the other side closed. A refused body may end in a reset: what was read before counts.
function raw(port, bytes, ms = 20000) {
  return within(new Promise((yes) => {
    const s = net.connect(port, '127.0.0.1');
    let text = '';
    s.on('data', (d) => (text += d.toString('latin1')));
    s.on('error', () => yes(text));
    s.on('close', () => yes(text));
    s.write(bytes);
  }), ms, 'an answer to raw bytes');
}

describe('the door', () => {
  let host, port, auth;
  before(async () => {
    const config = configuration();
    config.plugins.web.settings.ping_s = 6;  // how soon one that reads nothing is cut off
    host = await Host.start(config);
    port = Number(new URL(host.url).port);
    auth = { Authorization: `Bearer ${host.token}` };
  });
  after(() => host.close());
  const get = (path, headers = auth) => request(host.url + path, { headers });
  const post = (path, body, headers = auth) => request(host.url + path, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) });
  const stillServes = async () => assert.equal((await get('/api/v1/host')).status, 200);

  test('without the token, or with a wrong one, every path and method is refused', async () => {
    const { paths } = (await get('/api/v1/openapi.json')).json;
    const names = [...Object.keys(paths).map((p) => p.replace(/\{[^}]+\}/g, 'x')), '/api/v1/host', '/api/v1/tree', '/api/v1/sessions', '/api/v1/sessions/s_x/messages', '/api/v1/mcp/tools/servers', '/api/v1/mcp/tools/capabilities',
      '/api/v1/mcp/tools/call', '/api/v1/call/host.shutdown', '/api/v1/openapi.json', '/api/v1/metrics', '/mcp', '/mcp/x', '/ws', '/api', '/nothing', '/auth/whoami', '/auth/logout', '/%61pi/v1/host', '//api/v1/host', '/api/v1/../v1/host'];
    assert.ok(names.length > 20);
    for (const path of new Set(names))
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'])
        for (const headers of [{}, { Authorization: 'Bearer wrong' }, { Authorization: `Basic ${Buffer.from(`x:${host.token}`).toString('base64')}` }, { Cookie: 'holdfast_session=x' }]) {
          const r = await request(host.url + path, { method, headers });
          assert.ok([401, 400, 405].includes(r.status), `${method} ${path} → ${r.status}`);
          if (r.status !== 401) assert.ok(path.includes('..') || path.startsWith('//') || path.includes('%'), `${method} ${path} → ${r.status}`);
          assert.ok(!r.text.includes('data_dir') && !r.text.includes(host.token));
        }
    const tail = host.token.slice(0, -1) + (host.token.endsWith('0') ? '1' : '0');
    assert.equal((await get('/api/v1/host', { Authorization: `Bearer ${tail}` })).status, 401);
    assert.equal((await get(`/api/v1/host?token=${host.token}`, {})).status, 401, 'a token in the address does not count');
    await assert.rejects(WebSocketClient.open(host.url), (e) => e.status === 401);
    await assert.rejects(WebSocketClient.open(host.url, { token: 'wrong' }), (e) => e.status === 401);
    const r = await get('/api/v1/host', {});
    assert.match(r.headers['www-authenticate'], /Bearer/);
    assert.equal(r.json.error.code, 'unauthorized');
    await stillServes();
  });

  test('the pages themselves hold no data and need no token', async () => {
    const page = await get('/', {});
    assert.equal(page.status, 200);
    assert.match(page.headers['content-security-policy'], /default-src 'none'/);
    assert.ok(!page.text.includes(host.token));
    assert.deepEqual((await get('/healthz', {})).json, { status: 'ok' });
  });

  test('a foreign Origin or Host is refused, with the token and without', async () => {
    for (const headers of [auth, {}]) {
      for (const origin of ['http://evil.example', 'null', `http://127.0.0.1:${port + 1}`, `http://127.0.0.1.evil.example:${port}`])
        for (const path of ['/api/v1/host', '/', '/ws', '/mcp', '/auth/exchange']) assert.equal((await get(path, { ...headers, Origin: origin })).status, 403, `${origin} ${path}`);
      for (const name of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', '169.254.169.254'])
        for (const path of ['/api/v1/host', '/', '/mcp', '/auth/exchange']) assert.equal((await get(path, { ...headers, Host: name })).status, 403, `${name} ${path}`);
    }
    assert.equal((await post('/api/v1/call/host.info', {}, { ...auth, Origin: 'http://evil.example' })).status, 403);
    await assert.rejects(WebSocketClient.open(host.url, { token: host.token, headers: { Origin: 'http://evil.example' } }), (e) => e.status === 403);
    await assert.rejects(WebSocketClient.open(host.url, { token: host.token, headers: { Host: 'evil.example' } }), (e) => e.status === 403);
    assert.equal((await get('/api/v1/host', { ...auth, Origin: host.url })).status, 200, 'its own origin is fine');
    assert.equal((await get('/api/v1/host', { ...auth, Host: `localhost:${port}` })).status, 200);
  });

  test('a login cookie works for the page, not for other sites', async () => {
    const r = await post('/auth/exchange', { token: host.token }, {});
    assert.equal(r.status, 200);
    const [cookie] = r.headers['set-cookie'];
    assert.match(cookie, /HttpOnly; SameSite=Strict/);
    const Cookie = cookie.split(';')[0];
    assert.ok(!Cookie.includes(host.token));
    assert.equal((await get('/api/v1/host', { Cookie })).status, 200);
    assert.equal((await post('/api/v1/call/host.info', {}, { Cookie })).status, 403, 'a request that changes things says where it comes from');
    assert.equal((await post('/api/v1/call/host.info', {}, { Cookie, Origin: host.url })).status, 200);
    assert.equal((await get('/api/v1/host', { Cookie, 'Sec-Fetch-Site': 'cross-site' })).status, 403);
    assert.equal((await post('/auth/logout', {}, { Cookie, Origin: host.url })).status, 200);
    assert.equal((await get('/api/v1/host', { Cookie })).status, 401);
  });

  test('the paths of OMNI2 answer in its shapes', async () => {
    const servers = await get('/api/v1/mcp/tools/servers');
    assert.equal(servers.status, 200);
    const [demo] = servers.json.servers;
    assert.deepEqual([demo.name, demo.health_status, demo.circuit_state, demo.consecutive_failures, demo.enabled], ['demo', 'healthy', 'closed', 0, true]);
    for (const field of ['last_recovery_attempt', 'total_downtime_seconds', 'tool_count']) assert.ok(field in demo, field);
    assert.ok(demo.tool_count > 5);
    const { capabilities } = (await get('/api/v1/mcp/tools/capabilities')).json;
    const echo = capabilities.demo.tools.find((t) => t.name === 'echo');
    assert.equal(echo.inputSchema.type, 'object');
    assert.ok(Array.isArray(capabilities.demo.prompts) && Array.isArray(capabilities.demo.resources));
    for (const body of [{ server: 'demo', tool: 'echo', arguments: { text: 'a' } }, { mcp_name: 'demo', tool_name: 'echo', parameters: { text: 'a' } }]) {
      const r = (await post('/api/v1/mcp/tools/call', body)).json;
      assert.equal(r.success, true);
      assert.equal(r.result.content[0].text, 'a');
    }
    const missing = await post('/api/v1/mcp/tools/call', { server: 'demo', tool: 'nothing', arguments: {} });
    assert.equal(missing.status, 404);
    assert.match(missing.json.error.message, /nothing/);
    assert.equal((await post('/api/v1/mcp/tools/call', { tool: 'echo' })).status, 400);
    assert.equal((await get('/api/v1/mcp/tools/call')).status, 405);
    // /ws without our subprotocol speaks flat status events, as OMNI2's clients expect.
    const flat = await WebSocketClient.open(host.url, { token: host.token, protocol: null });
    const heard = [];
    flat.onFlat = (m) => heard.push(m);
    const e = await until('a status event', async () => {
      const heardNow = heard.find((m) => m.type === 'mcp_status_change');
      const { status, pid } = await host.server('demo');
      if (!heardNow && status === 'healthy') process.kill(pid, 'SIGKILL');  // the connection listens a moment after it is open
      return heardNow;
    });
    for (const field of ['type', 'timestamp', 'mcp_name', 'old_status', 'new_status', 'reason', 'recovery_eta']) assert.ok(field in e, field);
    flat.close();
    await until('it is back', async () => (await host.server('demo')).status === 'healthy');
  });

  test('openapi.json lists every method', async () => {
    const api = (await get('/api/v1/openapi.json')).json;
    assert.match(api.openapi, /^3\./);
    const text = JSON.stringify(api.paths);
    for (const m of ['host.info', 'host.tree', 'host.health', 'host.metrics', 'host.shutdown', 'plugin.list', 'plugin.get', 'plugin.start', 'plugin.stop', 'plugin.restart', 'plugin.remove', 'ui.start', 'ui.stop', 'ui.swap', 'llm.list',
      'config.get', 'config.schema', 'config.check', 'config.reload', 'server.list', 'server.get', 'server.start', 'server.stop', 'server.restart', 'server.enable', 'server.disable', 'server.log', 'tool.list', 'tool.call', 'session.create',
      'session.list', 'session.get', 'session.history', 'session.send', 'session.cancel', 'session.resolve', 'session.input', 'session.command', 'session.configure', 'session.stats', 'session.destroy', 'alias.list', 'alias.set', 'alias.delete',
      'history.list', 'history.add', 'events.read'])
      assert.ok(text.includes(`/api/v1/call/${m}`), m);
  });

  test('the general form, and errors with a status that fits', async () => {
    assert.equal((await post('/api/v1/call/host.info', {})).json.pid, host.pid);
    assert.equal((await post('/api/v1/call/host.inf', {})).status, 404);
    assert.equal((await post('/api/v1/call/session.get', { session_id: 's_none' })).status, 404);
    assert.equal((await post('/api/v1/call/session.get', { session_id: 7 })).status, 400);
    assert.equal((await post('/api/v1/call/session.get', '[1]')).status, 400);
    assert.equal((await post('/api/v1/call/session.get', '{"a":')).status, 400);
    assert.equal((await get('/api/v1/call/host.info')).status, 405);
    assert.equal((await get('/api/v1/nothing')).status, 404);
    assert.equal((await post('/api/v1/call/host.info', 'x', { ...auth, 'Content-Type': 'text/plain' })).status, 415);
    const { session_id } = (await post('/api/v1/sessions', {})).json;
    assert.equal((await post(`/api/v1/sessions/${session_id}/messages`, { content: 'hello' })).status, 200);
    assert.equal((await get(`/api/v1/sessions/${session_id}`)).json.session_id, session_id);
    assert.match((await get('/api/v1/metrics')).text, /holdfast_/);
  });

  test('bodies that are too large or nested too deep are refused, and the host lives', async () => {
    const head = (path, length) => `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${host.token}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`;
    const big = `{"content":"${'x'.repeat(5 << 20)}"}`;
    assert.match(await raw(port, head('/api/v1/call/host.info', big.length) + big), /^HTTP\/1\.1 413 /);
    assert.match(await raw(port, head('/api/v1/call/host.info', 1 << 30)), /^HTTP\/1\.1 413 /, 'announced too large: refused before it is sent');
    const deep = '['.repeat(100000) + ']'.repeat(100000);
    for (const body of [deep, `{"a":${deep}}`, '{"a":'.repeat(100000) + '1' + '}'.repeat(100000), '['.repeat(100000)]) {
      const r = await post('/api/v1/call/host.info', body);
      assert.equal(r.status, 400);
      assert.match(r.json.error.message, /nest|deep|level|expected/i);
    }
    const ws = await WebSocketClient.open(host.url, { token: host.token });
    ws.text(`{"id":1,"method":"host.info","params":{"a":${deep}}}`);
    assert.equal((await ws.call('host.info').catch((e) => e)).pid ?? 0, host.pid, 'a deep frame does not end the connection');
    ws.close();
    for (const junk of ['\r\n\r\n', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', `GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n`, `GET /${'a'.repeat(100000)} HTTP/1.1\r\nHost: x\r\n\r\n`, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
      `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n${'X-A: b\r\n'.repeat(20000)}\r\n`])
      assert.match((await raw(port, junk + '\0'.repeat(0))) || 'HTTP/1.1 4', /^HTTP\/1\.1 [45]/, JSON.stringify(junk.slice(0, 40)));
    assert.ok(alive(host.pid));
    await stillServes();
  });

  test('a hundred requests at once are all answered', async () => {
    const { session_id } = await host.call('session.create');
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 3 === 0 ? get('/api/v1/servers') : i % 3 === 1 ? get(`/api/v1/sessions/${session_id}`) : post('/api/v1/mcp/tools/call', { server: 'demo', tool: 'echo', arguments: { text: `${i}` } }))));
    answers.forEach((r, i) => {
      assert.equal(r.status, 200, `${i}: ${r.text}`);
      if (i % 3 === 2) assert.equal(r.json.result.content[0].text, `${i}`);
    });
  });

  test('a WebSocket client that never reads is cut off while others hear everything', async () => {
    const { session_id } = await host.call('session.create');
    const deaf = await WebSocketClient.open(host.url, { token: host.token });
    await deaf.subscribe('session:*');
    const good = await WebSocketClient.open(host.url, { token: host.token });
    const heard = await good.subscribe(`session:${session_id}`);
    deaf.stopReading();
    // Much more than sockets and queues hold: 40 answers of 5000 words, each word an event of some 300 bytes.
    let rounds = 0;
    let over = false;
    while (rounds < 12 && !over) {
      const { seq } = await host.call('session.send', { session_id, content: 'tell a long story of 5000 words' });
      await heard.wait((e) => e.seq > seq && e.type === 'SessionStateChanged' && e.new_state === 'idle', { ms: 30000 });
      rounds++;
      over = !connected(deaf.socket.localPort, port);
    }
    // Its end of the connection is what counts: our own socket is not read and learns nothing.
    await until('the deaf client is cut off', () => !connected(deaf.socket.localPort, port), 60000);
    const numbers = heard.list.map((e) => e.seq);
    assert.ok(numbers.every((n, i) => i === 0 || n === numbers[i - 1] + 1), 'the other one heard every number');
    deaf.close();
    good.close();
    await stillServes();
  });
});

/// Whether the server's end of this connection is still established, from the kernel's table.
function connected(clientPort, serverPort) {
  const hex = (n) => n.toString(16).toUpperCase().padStart(4, '0');
  return fs.readFileSync('/proc/net/tcp', 'latin1').split('\n').some((l) => {
    const [, local, remote, state] = l.trim().split(/\s+/);
    return local?.endsWith(`:${hex(serverPort)}`) && remote?.endsWith(`:${hex(clientPort)}`) && state === '01';
  });
}
