// The MCP endpoint over every connection that can be switched on, reached by another host's transports: one host serves the demo
// server's tools, the other finds them four ways at once.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { configuration, demoServer, until, withHost } from './host.mjs';

test('WebSocket, HTTP with SSE, TCP and Unix sockets lead to the same tools, in the era each can speak', () => {
  const serving = configuration();
  serving.plugins.web.settings.mcp = { websocket: true, sse: true };
  serving.plugins.sockets = { use: 'ui-mcp-socket', settings: { listen: ['tcp://127.0.0.1:0'] } };
  serving.plugins.local = { use: 'ui-mcp-socket', settings: {} };
  return withHost(serving, async (host) => {
    const at = (scheme) => host.info.urls.find((u) => u.startsWith(scheme)) ?? assert.fail(`nothing at ${scheme} in ${host.info.urls}`);
    const web = new URL(at('http://'));
    const headers = { Authorization: `Bearer ${host.token}` };
    const entries = {
      ws: { url: `ws://${web.host}/mcp/ws`, headers },
      sse: { url: `http://${web.host}/mcp/sse`, headers },
      tcp: { url: at('tcp://') },
      unix: { url: at('unix:') },
      http: { url: `http://${web.host}/mcp`, headers },
    };
    const asking = configuration({ mcpServers: entries });
    await withHost(asking, async (other) => {
      for (const name of Object.keys(entries)) {
        const row = await until(`${name} is healthy`, async () => {
          const r = await other.server(name);
          return r.status === 'healthy' && r.tools > 0 && r;
        });
        assert.equal(row.protocol_version, name === 'sse' ? '2025-11-25' : '2026-07-28', name);
        const call = (text) => other.call('tool.call', { server: name, tool: 'demo__echo', arguments: { text } });
        assert.match(JSON.stringify(await call('hello')), /hello/, name);
        const many = await Promise.all(Array.from({ length: 20 }, (_, i) => call(`n${i}`)));
        many.forEach((r, i) => assert.match(JSON.stringify(r), new RegExp(`n${i}"`), name));
      }
    });
    assert.equal(await host.echo('demo'), 'hi', 'those who left took nothing with them');
  });
});

test('MCP on stdin and stdout can be switched off, and who asks hears it', () =>
  withHost(configuration({ gateway: { stdio: false } }), async (host) => {
    const r = await host.cli(['mcp'], { input: '{"jsonrpc":"2.0","id":1,"method":"ping"}\n' });
    assert.equal(r.code, 1, r.stderr);
    assert.equal(r.stdout, '');
    assert.match(r.stderr, /switched off.*"gateway": \{"stdio": false\}/);
    assert.equal((await host.call('gateway.status')).stdio, false);
  }));
