// Servers on sockets and behind WebSocket: the demo server, reached through a listener that lends each connection to a process of its
// own (as inetd does), is used, lost and found again.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import net from 'node:net';
import path from 'node:path';
import { configuration, demoServer, freePort, testPlugins, until, withHost } from './host.mjs';

const demo = demoServer();

/// A listener whose connections are the demo server's: `wrap` turns a socket into {lines: onLine => …, say, end}.
class Listener {
  static async open(where, wrap) {
    const l = new Listener();
    l.open = new Set();
    l.accepted = 0;
    l.server = net.createServer((socket) => {
      l.accepted++;
      l.open.add(socket);
      const child = spawn(demo.command, demo.args, { stdio: ['pipe', 'pipe', 'ignore'] });
      child.on('error', () => socket.destroy());
      child.stdin.on('error', () => {});
      socket.on('error', () => {});
      socket.on('close', () => {
        l.open.delete(socket);
        child.stdin.end();
      });
      wrap(socket, child);
    });
    await new Promise((yes, no) => l.server.on('error', no).listen(where, ...(typeof where === 'number' ? ['127.0.0.1'] : []), yes));
    return l;
  }
  async close() {
    const closed = new Promise((yes) => this.server.close(yes));
    for (const s of this.open) s.destroy();
    await closed;
  }
}

const plain = (socket, child) => {
  socket.pipe(child.stdin);
  child.stdout.pipe(socket);
};

/// The server's side of RFC 6455, as far as a well-behaved client needs it.
const web = (socket, child) => {
  let bytes = Buffer.alloc(0), open = false;
  const frame = (opcode, payload) => {
    const n = payload.length;
    const head = n < 126 ? Buffer.from([0x80 | opcode, n]) : n < 65536 ? Buffer.from([0x80 | opcode, 126, n >> 8, n & 255]) : Buffer.alloc(10);
    if (n >= 65536) head.writeUInt16BE(((0x80 | opcode) << 8) | 127, 0), head.writeBigUInt64BE(BigInt(n), 2);
    socket.write(Buffer.concat([head, payload]));
  };
  const take = () => {
    if (!open) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return false;
      const head = bytes.subarray(0, end).toString();
      assert.match(head, /Sec-WebSocket-Protocol: mcp/);
      assert.match(head, /X-Key: secret/);
      const key = /Sec-WebSocket-Key: (.*)/.exec(head)[1].trim();
      const accept = createHash('sha1').update(key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
      bytes = bytes.subarray(end + 4);
      return (open = true);
    }
    if (bytes.length < 6) return false;
    let n = bytes[1] & 127, at = 2;
    if (n === 126) (n = bytes.length >= 4 ? bytes.readUInt16BE(2) : Infinity), (at = 4);
    else if (n === 127) (n = bytes.length >= 10 ? Number(bytes.readBigUInt64BE(2)) : Infinity), (at = 10);
    if (bytes.length < at + 4 + n) return false;
    const payload = Buffer.from(bytes.subarray(at + 4, at + 4 + n));
    for (let i = 0; i < n; i++) payload[i] ^= bytes[at + (i & 3)];
    const opcode = bytes[0] & 15;
    bytes = bytes.subarray(at + 4 + n);
    if (opcode === 1) child.stdin.write(payload.toString() + '\n');
    if (opcode === 8) frame(8, payload), socket.end();
    if (opcode === 9) frame(10, payload);
    return true;
  };
  socket.on('data', (d) => {
    bytes = Buffer.concat([bytes, d]);
    while (take());
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (d) => {
    text += d;
    for (let end; (end = text.indexOf('\n')) >= 0; text = text.slice(end + 1)) if (!socket.destroyed) frame(1, Buffer.from(text.slice(0, end)));
  });
  child.stdout.on('end', () => socket.end());
};

const healthy = (host, name) =>
  until(`${name} is healthy`, async () => {
    const r = await host.server(name);
    return r.status === 'healthy' && r.tools > 0 && r;
  });

for (const [name, wrap, entry] of [
  ['tcp', plain, (port) => ({ url: `tcp://127.0.0.1:${port}` })],
  ['unix', plain, (file) => ({ url: `unix:${file}` })],
  ['WebSocket', web, (port) => ({ url: `ws://127.0.0.1:${port}/mcp`, headers: { 'X-Key': 'secret' } })],
])
  for (const isolation of ['in-process', 'process'])
    test(`a server over ${name}, transport ${isolation}: used, lost at once, found again`, async () => {
      const port = await freePort();
      const plugin = name === 'WebSocket' ? 'transport-websocket' : 'transport-socket';
      const config = configuration();
      if (isolation === 'process') config.plugins[plugin] = { use: plugin, isolation };
      let listener;
      try {
        await withHost(
          config,
          async (host) => {
            const where = name === 'unix' ? path.join(host.dir, 's') : port;
            listener = await Listener.open(where, wrap);
            config.mcpServers = { far: { ...entry(where), breaker: { first_delay_s: 0.05 } } };
            host.write(config);
            await host.call('config.reload');
            const row = await healthy(host, 'far');
            assert.equal(row.transport, name === 'WebSocket' ? 'websocket' : 'socket');
            const call = () => host.call('tool.call', { server: 'far', tool: 'echo', arguments: { text: 'over there' } });
            assert.match(JSON.stringify(await call()), /over there/);

            const before = listener.accepted;
            await listener.close();
            await until('it is known to be lost', async () => (await host.server('far')).status !== 'healthy', 3000);
            listener = await Listener.open(where, wrap);
            await until('it is connected anew', () => listener.accepted > 0);
            assert.ok(before > 0);
            await healthy(host, 'far');
            assert.match(JSON.stringify(await call()), /over there/);
          },
        );
      } finally {
        await listener?.close();
      }
    });

test('the transport of the tutorial: a server that is run once for every message', () => {
  const config = configuration({ mcpServers: { runs: { transport: 'example-run-transport', ...demo } } });
  return withHost(config, async (host) => {
    const row = await healthy(host, 'runs');
    assert.equal(row.transport, 'example-run-transport');
    assert.match(JSON.stringify(await host.call('tool.call', { server: 'runs', tool: 'echo', arguments: { text: 'once' } })), /once/);
  }, { env: { HOLDFAST_PLUGIN_PATH: testPlugins } });
});
