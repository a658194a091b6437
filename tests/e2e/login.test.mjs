// A server that wants OAuth: what the host says, the login from the command line, and that the server is there without a restart of anything.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { configuration, program, until, withHost, within } from './host.mjs';

const json = (res, status, body, headers = {}) => {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
};

/// An MCP server of the older protocol with one tool, and its authorization server.
async function guarded() {
  const state = { tokens: new Set(), codes: new Map(), issued: 0, refreshed: 0 };
  const server = http.createServer(async (req, res) => {
    let body = '';
    for await (const chunk of req) body += chunk;
    const url = new URL(req.url, state.origin);
    if (url.pathname === '/.well-known/oauth-protected-resource/mcp') return json(res, 200, { resource: `${state.origin}/mcp`, authorization_servers: [state.origin], scopes_supported: ['tools'] });
    if (url.pathname === '/.well-known/oauth-authorization-server')
      return json(res, 200, { issuer: state.origin, authorization_endpoint: `${state.origin}/authorize`, token_endpoint: `${state.origin}/token`, registration_endpoint: `${state.origin}/register`, code_challenge_methods_supported: ['S256'], authorization_response_iss_parameter_supported: true });
    if (url.pathname === '/register') return json(res, 201, { client_id: 'c', redirect_uris: JSON.parse(body).redirect_uris });
    if (url.pathname === '/authorize') {
      const q = url.searchParams;
      const code = `code-${++state.issued}`;
      state.codes.set(code, q);
      const back = new URL(q.get('redirect_uri'));
      back.search = new URLSearchParams({ code, state: q.get('state'), iss: state.origin });
      res.writeHead(302, { location: back.href });
      return res.end();
    }
    if (url.pathname === '/token') {
      const q = new URLSearchParams(body);
      if (q.get('grant_type') === 'refresh_token') state.refreshed++;
      else {
        const asked = state.codes.get(q.get('code'));
        const proof = createHash('sha256').update(q.get('code_verifier') ?? '').digest('base64url');
        if (!asked || proof !== asked.get('code_challenge') || q.get('resource') !== `${state.origin}/mcp`) return json(res, 400, { error: 'invalid_grant' });
      }
      const token = `hush-${++state.issued}`;
      state.tokens.add(token);
      return json(res, 200, { access_token: token, token_type: 'Bearer', expires_in: 3600, refresh_token: `hush-again-${state.issued}` });
    }
    if (url.pathname !== '/mcp') return json(res, 404, {});
    if (!state.tokens.has((req.headers.authorization ?? '').replace('Bearer ', '')))
      return json(res, 401, { error: 'invalid_token' }, { 'www-authenticate': `Bearer resource_metadata="${state.origin}/.well-known/oauth-protected-resource/mcp"` });
    if (req.method !== 'POST') return json(res, 405, {});
    const m = JSON.parse(body);
    const answer = (result) => json(res, 200, { jsonrpc: '2.0', id: m.id, result });
    if (m.method === 'initialize') return answer({ protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'guarded', version: '1' } });
    if (m.method === 'tools/list') return answer({ tools: [{ name: 'whoami', inputSchema: { type: 'object' } }] });
    if (m.method === 'tools/call') return answer({ content: [{ type: 'text', text: 'somebody' }] });
    if (m.method === 'ping') return answer({});
    if (m.id === undefined) {
      res.writeHead(202);
      return res.end();
    }
    return json(res, 400, { jsonrpc: '2.0', id: m.id, error: { code: -32601, message: 'unknown' } });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  state.origin = `http://127.0.0.1:${server.address().port}`;
  state.close = () => (server.closeAllConnections(), server.close());
  return state;
}

/// `holdfast server login NAME`, once it has printed the address.
async function logIn(host, name) {
  const child = spawn(program, ['--config', host.file, 'server', 'login', name], { cwd: host.dir, env: { ...process.env, ...host.env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (d) => (said.stdout += d));
  child.stderr.on('data', (d) => (said.stderr += d));
  const ended = new Promise((done) => child.on('close', (code) => done({ ...said, code })));
  const url = await until(() => `the address: ${said.stdout}${said.stderr}`, () => said.stdout.match(/^http\S+$/m)?.[0]);
  return { url, ended };
}

const files = (folder) => fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => path.join(e.parentPath ?? e.path, e.name));

for (const isolation of ['in-process', 'process'])
 test(`a person logs in from the command line; the token is kept for the owner alone and shown to nobody (isolation: ${isolation})`, async () => {
  const as = await guarded();
  const config = configuration({ mcpServers: { crm: { url: `${as.origin}/mcp`, auth: { type: 'oauth' } } } });
  config.plugins['transport-http'] = { use: 'transport-http', isolation };
  try {
    await withHost(config, async (host) => {
      const row = await until('the refusal', async () => { const r = await host.server('crm'); return r.status !== 'healthy' && /log in/.test(r.reason) && r; });
      assert.match(row.reason, /holdfast server login crm/);
      const cli = await logIn(host, 'crm');
      assert.ok(cli.url.startsWith(`${as.origin}/authorize?`), cli.url);
      assert.equal((await host.call('server.login', { name: 'crm' })).authorization_url, cli.url, 'the login that is under way');
      const page = await fetch(cli.url);
      assert.equal(page.status, 200);
      assert.match(await page.text(), /Logged in/);
      const said = await within(cli.ended, 15000, 'the end of the command');
      assert.equal(said.code, 0, said.stderr);
      assert.match(said.stdout, /Logged in to crm/);
      await until('the server', async () => (await host.server('crm')).status === 'healthy');
      assert.equal((await host.call('tool.call', { server: 'crm', tool: 'whoami' })).content[0].text, 'somebody');

      const kept = files(host.dir).filter((f) => path.basename(f) === 'credentials.json');
      assert.equal(kept.length, 1);
      assert.equal(fs.statSync(kept[0]).mode & 0o777, 0o600);
      for (const f of files(host.dir)) if (f !== kept[0]) assert.ok(!fs.readFileSync(f).includes('hush'), `a token in ${f}`);
      for (const method of ['server.list', 'config.get', 'plugin.list']) assert.ok(!JSON.stringify(await host.call(method)).includes('hush'), method);

      as.tokens.clear();  // refused: renewed by itself
      assert.equal((await host.call('tool.call', { server: 'crm', tool: 'whoami' })).content[0].text, 'somebody');
      assert.equal(as.refreshed, 1);

      assert.equal((await host.cli(['server', 'logout', 'crm'])).code, 0);
      assert.ok(!fs.readFileSync(kept[0]).includes('hush'));
      await assert.rejects(host.call('server.login', { name: 'crm', wait: true }), /under way/);
      await assert.rejects(host.call('server.login', { name: 'nobody' }), /nobody/);
    });
  } finally {
    as.close();
  }
});
