// A minimal WebSocket client (RFC 6455) over node:net, for every Node version: text frames, pings, close. Small on purpose: it can
// also stop reading, which the built-in client cannot.
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { Wire } from './host.mjs';

function frame(opcode, payload) {
  const mask = randomBytes(4);
  const n = payload.length;
  const head = n < 126 ? Buffer.from([0x80 | opcode, 0x80 | n]) : n < 65536 ? Buffer.from([0x80 | opcode, 0x80 | 126, n >> 8, n & 255]) : Buffer.alloc(10);
  if (n >= 65536) {
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(n), 2);
  }
  const body = Buffer.from(payload);
  for (let i = 0; i < n; i++) body[i] ^= mask[i & 3];
  return Buffer.concat([head, mask, body]);
}

export class WebSocketClient extends Wire {
  /// Rejects with {status, body} when the server refuses the upgrade.
  static open(base, { token, headers = {}, path = '/ws', protocol = 'holdfast.v1' } = {}) {
    const { hostname, port } = new URL(base);
    return new Promise((yes, no) => {
      const socket = net.connect(Number(port), hostname);
      const client = new WebSocketClient((m) => client.text(JSON.stringify(m)));
      client.socket = socket;
      client.code = null;
      client.over = new Promise((done) => socket.on('close', done));
      const fields = { Host: `${hostname}:${port}`, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': randomBytes(16).toString('base64'), ...(protocol ? { 'Sec-WebSocket-Protocol': protocol } : {}), ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers };
      socket.write(`GET ${path} HTTP/1.1\r\n${Object.entries(fields).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`);
      let pending = Buffer.alloc(0);
      let open = false;
      socket.on('data', (data) => {
        pending = Buffer.concat([pending, data]);
        if (!open) {
          const end = pending.indexOf('\r\n\r\n');
          if (end < 0) return;
          const head = pending.subarray(0, end).toString('latin1');
          const status = Number(head.split(' ')[1]);
          if (status !== 101) {
            socket.end();
            return no(Object.assign(new Error(`refused with ${status}`), { status, head }));
          }
          pending = pending.subarray(end + 4);
          open = true;
          yes(client);
        }
        pending = client.frames_(pending);
      });
      socket.on('error', no);
      socket.on('close', () => client.lost());
    });
  }
  frames_(data) {
    for (;;) {
      if (data.length < 2) return data;
      let n = data[1] & 127, at = 2;
      if (n === 126) {
        if (data.length < 4) return data;
        n = data.readUInt16BE(2);
        at = 4;
      } else if (n === 127) {
        if (data.length < 10) return data;
        n = Number(data.readBigUInt64BE(2));
        at = 10;
      }
      if (data.length < at + n) return data;
      const opcode = data[0] & 15, fin = data[0] & 128;
      const payload = data.subarray(at, at + n);
      data = data.subarray(at + n);
      if (opcode === 9) this.socket.write(frame(10, payload));
      else if (opcode === 8) {
        this.code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
        this.socket.end(frame(8, payload.subarray(0, 2)));
      } else if (opcode === 1 || opcode === 0) {
        this.parts_ = (this.parts_ ?? []).concat([payload]);
        if (!fin) continue;
        const text = Buffer.concat(this.parts_).toString('utf8');
        this.parts_ = [];
        const message = JSON.parse(text);
        this.onFlat?.(message);
        this.receive(message);
      }
    }
  }
  text(t) {
    this.socket.write(frame(1, Buffer.from(t)));
  }
  /// From now on nothing is taken from the kernel: a client that never reads.
  stopReading() {
    this.socket.pause();
  }
  close() {
    this.socket.destroy();
  }
}
