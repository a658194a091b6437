// New versions of running plugins, under load. HF_RELOADS and HF_CLIENTS set how much: 30 and 20 in ./test, 100 and 50 in tests/reload/run.sh.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { alive, build, configuration, fdCount, testPlugins, until, withHost } from './host.mjs';
import { WebSocketClient } from './websocket.mjs';

const reloads = Number(process.env.HF_RELOADS ?? 30);
const clients = Number(process.env.HF_CLIENTS ?? 20);

/// Another version of a bundled plugin: the same code under another hash.
function version(host, plugin, n) {
  const file = path.join(host.dir, `${plugin}-${n}.so`);
  fs.writeFileSync(file, Buffer.concat([fs.readFileSync(path.join(build, 'plugins', `${plugin}.so`)), Buffer.from(`version ${n}`)]), { mode: 0o755 });
  return file;
}

/// A browser's tab, say: calls over HTTP on connections that it keeps, events over a WebSocket that it opens again where it was.
class Client {
  constructor(host, n) {
    Object.assign(this, { host, n, agent: new http.Agent({ keepAlive: true, maxSockets: 2 }), events: [], reconnects: 0, over: false, wake: () => {} });
  }
  call(method, params) {
    const body = JSON.stringify(params);
    return new Promise((yes, no) => {
      const request = http.request(`${this.host.url}/api/v1/call/${method}`, { method: 'POST', agent: this.agent,
        headers: { authorization: `Bearer ${this.host.token}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, (response) => {
        let text = '';
        response.on('data', (d) => (text += d));
        response.on('end', () => (response.statusCode === 200 ? yes(JSON.parse(text)) : no(new Error(`${method}: ${response.statusCode} ${text}`))));
        response.on('error', no);
      });
      request.on('error', (e) => no(new Error(`${method}: ${e.code} ${e.message}`)));
      request.end(body);
    });
  }
  async watch() {
    this.session = (await this.call('session.create', {})).session_id;
    const attach = async () => {
      const ws = (this.ws = await WebSocketClient.open(this.host.url, { token: this.host.token }));
      const last = this.events.at(-1);
      // A subscription may cross the next goodbye: nobody answers it, and it is asked for again.
      const found = await ws.subscribe({ topic: `session:${this.session}`, ...(last ? { from: last.seq + 1, epoch: last.epoch } : {}) }).catch((e) => {
        if (ws.code !== 1001) throw e;
      });
      if (!found) return attach();
      const take = () => {
        this.events.push(...found.list.splice(0));
        this.wake();
      };
      found.wake_.add(take);
      take();
      ws.over.then(async () => {
        take();
        if (this.over) return;
        this.code = ws.code;
        ++this.reconnects;
        attach().catch((e) => (this.failure ??= e));
      });
    };
    await attach();
  }
  async seen(fits) {
    while (!this.events.some(fits)) {
      if (this.failure) throw this.failure;
      await new Promise((r) => (this.wake = r));
    }
    return this.events.find(fits);
  }
  /// Turns with and without a tool until told to stop.
  async work(go_on) {
    await this.watch();
    this.turns = 0;
    for (let i = 0; go_on(); i++) {
      const text = `c${this.n}-${i}`;
      assert.equal((await this.call('tool.call', { server: 'demo', tool: 'echo', arguments: { text } })).content[0].text, text);
      const { seq } = await this.call('session.send', { session_id: this.session, content: i % 2 ? `echo ${text}` : 'tell a long story of 30 words' });
      if (i % 2) {
        const asked = await this.seen((e) => e.seq > seq && e.type === 'PermissionRequired');
        await this.call('session.resolve', { session_id: this.session, request_id: asked.request_id, decision: 'allow_once' });
      }
      await this.seen((e) => e.seq > seq && e.type === 'SessionStateChanged' && e.new_state === 'idle');
      assert.deepEqual(this.events.filter((e) => e.seq > seq && e.type === 'ErrorOccurred'), []);
      ++this.turns;
    }
  }
  /// No event lost or doubled; each stream's pieces are its text.
  check() {
    for (let i = 1; i < this.events.length; i++) assert.equal(this.events[i].seq, this.events[i - 1].seq + 1, `client ${this.n}: ${JSON.stringify(this.events.slice(i - 1, i + 1))}`);
    let text = '';
    for (const e of this.events) {
      if (e.type === 'StreamChunkReceived') text += e.chunk;
      if (e.type !== 'StreamCompleted') continue;
      assert.equal(text, e.final_content);
      text = '';
    }
  }
  close() {
    this.over = true;
    this.ws?.close();
    this.agent.destroy();
  }
}

/// Reloads until it is taken: too many old versions that still finish their work put it off.
const reload = async (host, id, from) =>
  until(`${id} to be reloaded`, async () => {
    try {
      return await host.call('plugin.reload', { id, from }, 60000);
    } catch (e) {
      if (e.code === 'overloaded') return null;
      throw Object.assign(e, { final: true });
    }
  }, 60000);

const underLoad = (c, n) =>
  withHost(c, async (host) => {
    const files = Object.fromEntries([['web', 'ui-http'], ['transport-stdio', 'transport-stdio'], ['demo', 'llm-demo']].map(([id, use]) => [id, [version(host, use, 1), version(host, use, 2)]]));
    const all = Array.from({ length: clients }, (_, i) => new Client(host, i));
    let done = false;
    const work = Promise.all(all.map((x) => x.work(() => !done)));
    work.catch(() => {});
    const failed = work.then(() => null, (e) => e);
    try {
      await until('everybody works', async () => all.every((x) => x.turns > 0) || Promise.race([failed, null]).then((e) => { if (e) throw Object.assign(e, { final: true }); }), 60000);
      const fds = fdCount(host.pid);
      for (let i = 0; i < n; i++)
        for (const [id, [a, b]] of Object.entries(files)) {
          const row = await reload(host, id, i % 2 ? a : b);
          assert.equal(row.state, 'active');
          assert.equal(row.replaced, i + 1);
        }
      const before = all.map((x) => x.turns);
      await until('everybody goes on', () => all.every((x, i) => x.turns > before[i]) || all.some((x) => x.failure), 60000);
      done = true;
      await work;
      for (const x of all) x.check();
      assert.ok(all.some((x) => x.reconnects > 0), 'somebody was told to connect again');
      for (const id of Object.keys(files)) {
        const row = await host.plugin(id);
        assert.deepEqual([row.restarts, row.replaced, row.rolled_back], [0, n, undefined], id);
      }
      const server = await host.server('demo');
      assert.equal(server.status, 'healthy');
      await until('the old versions are gone', async () => {
        for (const id of Object.keys(files)) if ((await host.node(id)).children?.some((g) => g.kind === 'generation')) return false;
        return true;
      }, 30000);
      await until('no descriptor is left behind', () => fdCount(host.pid) <= fds + 10);
      console.log(`# ${n} reloads of each, ${clients} clients, ${all.reduce((s, x) => s + x.turns, 0)} turns, ${all.reduce((s, x) => s + x.events.length, 0)} events, ${all.reduce((s, x) => s + x.reconnects, 0)} reconnections`);
    } finally {
      done = true;
      for (const x of all) x.close();
    }
  });

const three = (isolation) => {
  const c = configuration();
  c.plugins.web.settings.message_rate = 10000;  // they are all one user
  for (const id of ['demo', 'web']) c.plugins[id] = { ...c.plugins[id], ...isolation };
  c.plugins['transport-stdio'] = { use: 'transport-stdio', ...isolation };
  return c;
};

describe('a new version under load', () => {
  test('in the process of the host: no call fails, no event is lost or doubled', () => underLoad(three({}), reloads));
  test('in processes of their own', () => underLoad(three({ isolation: 'process' }), Math.ceil(reloads / 3)));
});

describe('a version that is no good', () => {
  const c = (more = {}) => {
    const out = configuration();
    out.plugins.v = { use: path.join(testPlugins, 'versioned_one.so'), ...more };
    return out;
  };
  test('is refused, and the old one goes on; the command says why', () =>
    withHost(c(), async (host) => {
      for (const bad of ['no_init', 'no_start']) {
        const r = await host.cli(['plugin', 'reload', 'v', '--from', path.join(testPlugins, `versioned_${bad}.so`)]);
        assert.notEqual(r.code, 0);
        assert.match(r.stderr, /this version does not .*the old one goes on/s);
        assert.equal((await host.plugin('v')).version, '1.0');
      }
      const r = await host.cli(['plugin', 'reload', 'v', '--from', path.join(testPlugins, 'nowhere.so')]);
      assert.match(r.stderr, /check 'file' failed/);
      assert.equal((await host.plugin('v')).state, 'active');
    }));

  test('is rolled back when it fails in its probation, and everybody is told', () =>
    withHost(c(), async (host) => {
      const told = await host.control.subscribe('session:admin_dashboard');
      const r = await host.cli(['plugin', 'reload', 'v', '--from', path.join(testPlugins, 'versioned_short_lived.so')]);
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.stdout, /version 3\.3 .*gives way/);
      const event = await told.wait({ type: 'plugin_reloaded', outcome: 'rolled_back' });
      assert.match(event.why, /does not last/);
      const row = await host.plugin('v');
      assert.deepEqual([row.version, row.state, row.restarts], ['1.0', 'active', 0]);
      assert.match(row.rolled_back, /version 3\.3 failed/);
      assert.match((await host.cli(['plugins'])).stdout, /rolled back/);
    }));

  test('a watched file is reloaded when it changes', async () => {
    await withHost(c(), async (host) => {
      const told = await host.control.subscribe('session:admin_dashboard');
      const file = path.join(host.dir, 'mine.so');
      const put = (name) => {
        fs.copyFileSync(path.join(testPlugins, `versioned_${name}.so`), file + '.new');
        fs.chmodSync(file + '.new', 0o755);
        fs.renameSync(file + '.new', file);
      };
      put('one');
      const config = JSON.parse(fs.readFileSync(host.file, 'utf8'));
      config.plugins.v = { use: file, reload: { watch: true, probation_s: 1 } };
      host.write(config);
      await host.call('config.reload');
      await until('the file is used', async () => (await host.plugin('v')).path === file && (await host.plugin('v')).state === 'active');
      put('two');
      await told.wait({ type: 'plugin_reloaded', outcome: 'replaced', to: '2.0' });
      put('no_start');
      await told.wait({ type: 'plugin_reloaded', outcome: 'refused' });
      assert.equal((await host.plugin('v')).version, '2.0');
    });
  });
});

describe('plugins that cannot overlap', () => {
  test('the store changes hands while messages are written: none is lost', () =>
    withHost(configuration(), async (host) => {
      const files = [version(host, 'store-sqlite', 1), version(host, 'store-sqlite', 2)];
      const { session_id } = await host.call('session.create');
      let done = false, sent = 0;
      const writing = (async () => {
        const mine = await host.another();
        for (; !done; ++sent) await mine.call('session.configure', { session_id: (await mine.call('session.create')).session_id, title: `t${sent}` });
        mine.close();
      })();
      writing.catch(() => {});
      for (let i = 0; i < 10; i++) {
        const row = await reload(host, 'store-sqlite', files[i % 2]);
        assert.equal(row.state, 'active');
        const turn = await host.chat(`echo after-${i}`, { session: session_id });
        assert.match(turn.answer, new RegExp(`after-${i}`));
      }
      done = true;
      await writing;
      const { messages } = await host.call('session.get', { session_id });
      for (let i = 0; i < 10; i++) assert.equal(JSON.stringify(messages).split(`"echo after-${i}"`).length, 2, `message ${i}`);
      assert.ok(sent > 10);
    }));
});
