// The socket of the web interface belongs to the host: whatever happens to the plugin, no client is refused until a person stops it.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { Host, alive, configuration, freePort, until, withHost, within } from './host.mjs';
import { WebSocketClient } from './websocket.mjs';

const web = (port, more = {}) => configuration({ plugins: { demo: { use: 'llm-demo', settings: { delay_ms: 0 } }, web: { use: 'ui-http', settings: { listen: `127.0.0.1:${port}` }, ...more } } });

/// One POST; answers its status and what the connection does next.
function post(host, agent) {
  return new Promise((yes, no) => {
    const url = new URL('/api/v1/call/host.health', host.url);
    const request = http.request(url, { method: 'POST', agent, headers: { authorization: `Bearer ${host.token}`, 'content-type': 'application/json', 'content-length': 2 } }, (r) => {
      r.resume();
      r.on('end', () => yes(r.statusCode));
      r.on('error', no);
    });
    request.on('error', no);
    request.end('{}');
  });
}

/// Clients that ask without pause, on connections of their own and on ones that are kept; every outcome is counted.
class Crowd {
  constructor(host, { fresh = 4, kept = 4 } = {}) {
    this.outcomes = new Map();
    this.over = false;
    this.agents = Array.from({ length: fresh + kept }, (_, i) => new http.Agent({ keepAlive: i >= fresh, maxSockets: 1 }));
    this.all = this.agents.map(async (agent) => {
      while (!this.over) {
        const outcome = await post(host, agent).catch((e) => e.code ?? e.message);
        this.outcomes.set(outcome, this.count(outcome) + 1);
      }
    });
  }
  count(outcome) {
    return this.outcomes.get(outcome) ?? 0;
  }
  /// Waits until n more are answered.
  async more(n) {
    const goal = this.count(200) + n;
    await until(() => `${n} more answers; so far ${this.text()}`, () => this.count(200) >= goal);
  }
  text() {
    return JSON.stringify(Object.fromEntries(this.outcomes));
  }
  async end() {
    this.over = true;
    await within(Promise.all(this.all), 15000, 'the crowd to be answered');
    for (const a of this.agents) a.destroy();
  }
}

for (const isolation of ['in-process', 'process'])
  describe(`a web interface with isolation ${isolation}`, () => {
    test('is restarted under load: not one request fails', () =>
      withHost(web(0, { isolation }), async (host) => {
        const url = (await host.plugin('web')).url;
        const crowd = new Crowd(host);
        for (let round = 0; round < 5; round++) {
          await crowd.more(100);
          await host.call('plugin.restart', { id: 'web' });
        }
        await crowd.more(100);
        await crowd.end();
        assert.deepEqual([...crowd.outcomes.keys()], [200], crowd.text());
        assert.equal((await host.plugin('web')).url, url, 'any free port stays the same one');
      }));

    test('tells its WebSockets to connect again, and they can at once', () =>
      withHost(web(0, { isolation }), async (host) => {
        const ws = await WebSocketClient.open(host.url, { token: host.token });
        const restarted = host.call('plugin.restart', { id: 'web' });
        await within(ws.over, 5000, 'the goodbye');
        assert.equal(ws.code, 1001);
        const again = await WebSocketClient.open(host.url, { token: host.token });
        assert.ok((await again.call('host.health')).status);
        await restarted;
        again.close();
      }));

    test('stopped by a person, it leaves its port; started, it has it again', async () =>
      withHost(web(await freePort(), { isolation }), async (host) => {
        assert.equal(await post(host), 200);
        await host.call('plugin.stop', { id: 'web' });
        await assert.rejects(post(host), { code: 'ECONNREFUSED' });
        await host.call('plugin.start', { id: 'web' });
        assert.equal(await post(host), 200);
      }));

    test('a stop of the host does not wait for browsers that only keep their connections', async () => {
      const host = await Host.start(web(0, { isolation }));
      const agents = Array.from({ length: 5 }, () => new http.Agent({ keepAlive: true }));
      for (const agent of agents) assert.equal(await post(host, agent), 200);
      const ws = await WebSocketClient.open(host.url, { token: host.token });
      const begin = Date.now();
      await host.stop();
      const took = Date.now() - begin;
      for (const agent of agents) agent.destroy();
      ws.close();
      await host.close();
      assert.ok(took < 1500, `it took ${took} ms`);
    });
  });

test('a web interface that is killed again and again refuses nobody, and needs no network', () =>
  withHost(web(0, { isolation: 'process', sandbox: { network: false } }), async (host) => {
    const crowd = new Crowd(host, { fresh: 8, kept: 0 });
    for (let round = 0; round < 3; round++) {  // from the second time on it comes back after a while
      await crowd.more(100);
      const { pid } = await host.plugin('web');
      process.kill(pid, 'SIGKILL');
      await until('another process serves', async () => ![pid, 0, undefined].includes((await host.plugin('web')).pid) && !alive(pid));
    }
    await crowd.more(100);
    await crowd.end();
    assert.equal(crowd.count('ECONNREFUSED'), 0, crowd.text());
    // Only who was being served when it died has lost its connection.
    assert.ok([...crowd.outcomes.keys()].every((o) => o === 200 || o === 'ECONNRESET'), crowd.text());
    assert.ok(crowd.count('ECONNRESET') <= 3 * 8, crowd.text());
  }));

test('a port that is in use is named, with what to do', () =>
  withHost(web(0), async (host) => {
    const port = Number(new URL(host.url).port);
    const second = await Host.start(web(port, { supervision: { restart: 'temporary' } }), { ready: false }).catch((e) => e);
    try {
      const text = second instanceof Error ? second.message : await until('it says why', async () => (await second.plugin('web')).reason);
      assert.match(text, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: port ${port} is in use by another program`));
      assert.match(text, /"listen"/);
    } finally {
      if (!(second instanceof Error)) await second.close();
    }
  }));
