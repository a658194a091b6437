// What `holdfast check` says of each configuration fault, and where; what an edit of a running host's file restarts.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { Place, alive, build, configuration, demoServer, sha256, testPlugins, until, withHost } from './host.mjs';

/// Where `text` begins in the file: the last occurrence of "|" in `text` marks the place.
function place(file, text) {
  const marked = text.indexOf('|');
  const plain = text.replace('|', '');
  const at = file.indexOf(plain);
  assert.ok(at >= 0, plain);
  const before = file.slice(0, at + marked).split('\n');
  return { line: before.length, column: [...before.at(-1)].length + 1 };
}
const pretty = (o) => JSON.stringify(o, null, 2) + '\n';
const withPlugin = (entry, more = {}) => pretty({ host: { plugin_path: [testPlugins], log: {} }, plugins: { x: entry }, ...more });
const zeros = '0'.repeat(64);

const faults = {
  'a syntax error': { text: '{\n  "host": {},\n  "auth": { "mode": "token", }\n}\n', at: '"token"|, }', message: /found '}'.*trailing comma/ },
  'text behind the end': { text: '{}\nx\n', at: '|x', message: /expected|end/ },
  'an unknown key': { text: pretty({ plugins: {}, hots: {} }), at: '|"hots"', pointer: '/hots', message: /did you mean 'host'/ },
  'an unknown key of a plugin\'s settings': { text: pretty({ plugins: { d: { use: 'llm-demo', settings: { delay_m: 3 } } } }), at: '|"delay_m"', pointer: '/plugins/d/settings/delay_m', message: /did you mean 'delay_ms'/ },
  'an unknown key of the settings of a plugin named by its path': { text: pretty({ plugins: { d: { use: path.join(build, 'plugins', 'llm-demo.so'), settings: { delay_m: 3 } } } }), at: '|"delay_m"', pointer: '/plugins/d/settings/delay_m', message: /did you mean 'delay_ms'/ },
  'an unknown key of a server': { text: pretty({ mcpServers: { a: { command: 'x', arg: [] } } }), at: '|"arg"', pointer: '/mcpServers/a/arg', message: /did you mean 'args'/ },
  'a wrong type': { text: pretty({ host: { threads: 'four' } }), at: '"threads": |"four"', pointer: '/host/threads', message: /expected an integer, found the string "four"/ },
  'a value out of range': { text: pretty({ breaker: { failure_threshold: 0 } }), at: '"failure_threshold": |0', pointer: '/breaker/failure_threshold', message: /at least 1, found 0/ },
  'a missing environment variable': { text: pretty({ mcpServers: { a: { command: 'x', env: { KEY: '${env:HOLDFAST_E2E_NOT_SET}' } } } }), at: '"KEY": |"', pointer: '/mcpServers/a/env/KEY', message: /HOLDFAST_E2E_NOT_SET is not set/ },
  'a file reference that cannot be read': { text: pretty({ mcpServers: { a: { command: 'x', env: { KEY: '${file:no.key}' } } } }), at: '"KEY": |"', pointer: '/mcpServers/a/env/KEY', message: /no\.key cannot be read: No such file/ },
  'duplicate ids': { text: '{\n  "mcpServers": {\n    "a": { "command": "x" },\n    "a": { "command": "y" }\n  }\n}\n', at: '|"a": { "command": "y"', pointer: '/mcpServers/a', message: /duplicate.*line 3/ },
  'duplicate plugin ids': { text: '{ "plugins": { "a": { "use": "llm-demo" },\n "a": { "use": "llm-demo" } } }', at: '\n |"a"', pointer: '/plugins/a', message: /duplicate/ },
  'a plugin that does not exist': { text: pretty({ plugins: { x: { use: 'llm-dmo' } } }), at: '"use": |"llm-dmo"', pointer: '/plugins/x/use', message: /did you mean 'llm-demo'/ },
  'a missing plugin file': { text: pretty({ plugins: { x: { use: './none.so' } } }), at: '"use": |"./none', pointer: '/plugins/x/use', message: /none\.so/ },
  'a pool of a model that is not there': { text: pretty({ llm: { pools: { '*': {}, dem: {} } }, plugins: { demo: { use: 'llm-demo' } } }), at: '"dem": |{', pointer: '/llm/pools/dem', message: /did you mean 'demo'/ },
  'a kind of failure that there is not': { text: pretty({ mcpServers: { a: { command: 'sh', restart_policy: { crsh: 1 } } } }), at: '|"crsh"', pointer: '/mcpServers/a/restart_policy/crsh', message: /did you mean 'crash'/ },
  'a default model that is not there': { text: pretty({ llm: { default: 'dem' }, plugins: { demo: { use: 'llm-demo' } } }), at: '"default": |"dem"', pointer: '/llm/default', message: /did you mean 'demo'/ },
  'a breaker that is none': { text: pretty({ breaker: { use: 'breaker-consecutiv' } }), at: '"use": |"breaker', pointer: '/breaker/use', message: /did you mean 'breaker-consecutive'/ },
  'an intensity that can never trip': { text: pretty({ plugins: { d: { use: 'llm-demo', supervision: { max_restarts: 100, window_s: 1 } } } }), at: '"supervision": |{', pointer: '/plugins/d/supervision', message: /can never be exceeded/ },
  'no authentication on an address others can reach': { text: pretty({ auth: { mode: 'none' }, plugins: { w: { use: 'ui-http', settings: { listen: '0.0.0.0:7777' } } } }), at: '"listen": |"', pointer: '/plugins/w/settings/listen', message: /loopback only/ },
  'a server without a command': { text: pretty({ mcpServers: { a: {} } }), at: '"a": |{', pointer: '/mcpServers/a', message: /command is missing/ },
  'a wrong hash': { text: pretty({ plugins: { d: { use: 'llm-demo', sha256: zeros } } }), at: '"sha256": |"', pointer: '/plugins/d/sha256', message: /check 'sha256' failed: the file has [0-9a-f]{64}/ },
  'a wrong ABI': { text: withPlugin({ use: 'bad_abi' }), at: '"use": |"bad_abi"', pointer: '/plugins/x/use', message: /check 'abi' failed.*ABI 99/ },
  'a missing symbol': { text: withPlugin({ use: 'bad_no_entry' }), at: '"use": |"bad_no_entry"', pointer: '/plugins/x/use', message: /check 'entry' failed.*hf_plugin_entry_v1/ },
};

describe('holdfast check', () => {
  for (const [name, f] of Object.entries(faults))
    test(`${name}: the right place and reason`, async () => {
      const p = new Place(f.text);
      try {
        const plain = await p.cli(['check']);
        assert.equal(plain.code, 3, plain.stdout + plain.stderr);
        const { line, column } = place(f.text, f.at);
        const said = plain.stderr.split('\n').find((l) => l.startsWith(`${p.file}:${line}:${column}: `));
        assert.ok(said, `expected ${p.file}:${line}:${column}, found ${plain.stderr}`);
        assert.match(said, f.message);
        if (f.pointer) assert.ok(said.includes(`: ${f.pointer}: `), said);
        const json = await p.cli(['check', '--json']);
        assert.equal(json.code, 3);
        const report = JSON.parse(json.stdout);
        assert.equal(report.ok, false);
        const error = report.errors.find((e) => e.line === line && e.column === column);
        assert.ok(error, json.stdout);
        assert.equal(error.file, p.file);
        assert.equal(error.pointer, f.pointer ?? '');
        assert.match(error.message, f.message);
        // Nothing starts with such a file, except that a refused plugin does not keep the rest from serving.
        if (!/check '/.test(said) && !f.text.includes('none.so')) {
          const run = await p.cli(['run']);
          assert.equal(run.code, 3, run.stderr);
          assert.ok(run.stderr.includes(`:${line}:${column}: `), run.stderr);
        }
      } finally {
        p.remove();
      }
    });

  test('a world-writable plugin is refused', async () => {
    const p = new Place(null);
    try {
      const copy = path.join(p.dir, 'llm-demo.so');
      fs.copyFileSync(path.join(build, 'plugins', 'llm-demo.so'), copy);
      fs.chmodSync(copy, 0o777);
      p.write({ plugins: { x: { use: './llm-demo.so' } } });
      const bad = await p.cli(['check']);
      assert.equal(bad.code, 3, bad.stdout);
      assert.match(bad.stderr, /:4:14: \/plugins\/x\/use: .*check 'permissions' failed.*chmod go-w/);
      fs.chmodSync(copy, 0o755);
      assert.equal((await p.cli(['check'])).code, 0);
      p.write({ plugins: { x: { use: './llm-demo.so', sha256: sha256(copy) } } });
      assert.equal((await p.cli(['check'])).code, 0, 'the right hash is accepted');
    } finally {
      p.remove();
    }
  });

  test('a file that cannot be read, and one that is not there', async () => {
    const p = new Place(null);
    try {
      const none = await p.cli(['check']);
      assert.equal(none.code, 3);
      assert.match(none.stderr, /holdfast\.json:1:1: .*cannot be read: No such file/);
      fs.mkdirSync(p.file);
      const folder = await p.cli(['check']);
      assert.equal(folder.code, 3);
      assert.match(folder.stderr, /cannot be read|directory/i);
    } finally {
      p.remove();
    }
  });

  test('several problems are told at once, a good file is praised, an empty object is enough', async () => {
    const p = new Place({ hots: {}, host: { threads: 'x' }, llm: { default: 'nobody' } });
    try {
      const bad = JSON.parse((await p.cli(['check', '--json'])).stdout);
      assert.ok(bad.errors.length >= 2, JSON.stringify(bad));
      for (const good of [configuration(), {}, { host: {} }]) {
        p.write(good);
        const r = await p.cli(['check']);
        assert.equal(r.code, 0, r.stderr);
        assert.match(r.stdout, /in order/);
        assert.deepEqual(JSON.parse((await p.cli(['check', '--json'])).stdout).errors, []);
      }
    } finally {
      p.remove();
    }
  });

  test('secrets are not shown', async () => {
    const p = new Place({ plugins: { o: { use: 'llm-openai', settings: { base_url: 7, api_key: '${env:E2E_SECRET}' } } } });
    try {
      const r = await p.cli(['check'], { env: { E2E_SECRET: 'sk-very-secret' } });
      assert.equal(r.code, 3);
      assert.ok(!(r.stdout + r.stderr).includes('sk-very-secret'));
    } finally {
      p.remove();
    }
  });
});

describe('a live edit', () => {
  const rename = (host, config) => {
    fs.writeFileSync(`${host.file}.new`, pretty(config));
    fs.renameSync(`${host.file}.new`, host.file);
  };
  const picture = async (host) => {
    const servers = Object.fromEntries((await host.call('server.list')).servers.map((s) => [s.name, s.pid]));
    const flat = {};
    const walk = (n) => {
      flat[n.id] = n.incarnation;
      n.children.forEach(walk);
    };
    const tree = await host.call('host.tree');
    tree.children.filter((c) => c.id !== 'sessions').forEach(walk);
    const plugins = Object.fromEntries((await host.call('plugin.list')).plugins.map((p) => [p.id, p.uptime_ms !== undefined ? p.state : p.state]));
    return { servers, flat, plugins, url: (await host.call('host.info')).urls[0] };
  };
  const applied = async (host, events, edit) => {
    const from = events.list.length;
    edit();
    const e = await events.wait('admin_notification', { from });
    assert.equal(e.severity, 'info', e.message);
    return e.context.changed;
  };

  test('restarts exactly what changed', () =>
    withHost(configuration({ mcpServers: { a: demoServer(), b: demoServer() } }), async (host) => {
      const events = await host.control.subscribe('session:admin_dashboard');
      const { session } = await host.chat('echo before');
      const first = await picture(host);

      // One server's arguments.
      const config = configuration({ mcpServers: { a: demoServer(), b: demoServer({ env: { X: '1' } }) } });
      assert.deepEqual(await applied(host, events, () => host.write(config)), ['changed mcpServers/b']);
      await until('b serves with another process', async () => (await host.server('b')).pid !== first.servers.b && (await host.echo('b')));
      let now = await picture(host);
      assert.equal(now.servers.a, first.servers.a);
      assert.equal(now.url, first.url);
      assert.deepEqual({ ...now.flat, b: 0 }, { ...first.flat, b: 0 });
      await until('the process of b before is gone', () => !alive(first.servers.b));

      // One plugin's settings, by rename as editors do it.
      config.plugins.demo.settings.delay_ms = 1;
      assert.deepEqual(await applied(host, events, () => rename(host, config)), ['changed plugins/demo']);
      const second = await picture(host);
      assert.deepEqual(second.servers, now.servers);
      assert.equal(second.url, first.url);
      const rest = (p) => Object.fromEntries(Object.entries(p.flat).filter(([id]) => !['demo', 'speaker', 'b'].includes(id)));
      assert.deepEqual(rest(second), rest(first));
      assert.match((await host.chat('echo after', { session })).answer, /after/);

      // A server comes, another goes.
      config.mcpServers = { a: demoServer(), c: demoServer() };
      assert.deepEqual((await applied(host, events, () => host.write(config))).sort(), ['added mcpServers/c', 'removed mcpServers/b']);
      await until('c serves', () => host.echo('c'));
      assert.equal((await host.server('b')), undefined);
      assert.equal((await host.server('a')).pid, first.servers.a);
      await until('the process of b is gone', () => !alive(second.servers.b));

      // White space alone changes nothing.
      fs.writeFileSync(host.file, JSON.stringify(config));
      assert.deepEqual(await host.call('config.reload'), { changed: [], errors: [] });
      assert.equal((await host.call('host.info')).pid, host.pid);
    }));

  test('a call under way does not notice an edit of its server', () =>
    withHost(configuration({ mcpServers: { a: demoServer() } }), async (host) => {
      const events = await host.control.subscribe('session:admin_dashboard');
      await host.echo('a');
      const { pid } = await host.server('a');
      const slow = () => host.call('tool.call', { server: 'a', tool: 'slow', arguments: { duration_ms: 1500 } });
      const first = slow();
      const judged = { description: 'for people', health: { interval_s: 7 }, breaker: { failure_threshold: 4 }, call_timeout_s: 600 };
      assert.deepEqual(await applied(host, events, () => host.write(configuration({ mcpServers: { a: demoServer(judged) } }))), ['changed mcpServers/a']);
      const second = slow();
      assert.deepEqual(await applied(host, events, () => host.write(configuration({ mcpServers: { a: demoServer({ ...judged, env: { X: '1' } }) } }))), ['changed mcpServers/a']);
      await until('the new process serves', async () => (await host.server('a')).pid !== pid);
      assert.ok(alive(pid), 'the one before still works for its calls');
      assert.match(JSON.stringify(await first), /Took 1500 ms/);
      assert.match(JSON.stringify(await second), /Took 1500 ms/);
      await until('the process before is gone', () => !alive(pid));
      const row = await host.server('a');
      assert.equal(row.status, 'healthy');
      assert.equal(row.restarts, 0);
    }));

  test('a broken edit changes nothing and says why', () =>
    withHost(configuration(), async (host) => {
      const events = await host.control.subscribe('session:admin_dashboard');
      const before = await picture(host);
      const broken = [
        ['{ "host": {', /2:1|1:12|expected/],
        [pretty(configuration({ mcpServers: { demo: { commnd: 'x' } } })), /did you mean 'command'/],
        [pretty(configuration({ mcpServers: { demo: { command: '${env:HOLDFAST_E2E_NOT_SET}' } } })), /HOLDFAST_E2E_NOT_SET is not set/],
        [pretty(configuration({ plugins: { demo: { use: 'llm-nothing' } } })), /llm-nothing/],
        [pretty(configuration({ plugins: { ...configuration().plugins, bad: { use: path.join(testPlugins, 'bad_abi.so') } } })), /check 'abi' failed/],
      ];
      for (const [text, why] of broken) {
        const from = events.list.length;
        host.write(text);
        const e = await events.wait('admin_notification', { from });
        assert.equal(e.severity, 'error');
        assert.match(e.message, why);
        assert.ok(e.message.includes(`${host.file}:`), 'the place is named');
        assert.ok(e.context.errors[0].line >= 1);
        await until('the log says so', () => why.test(host.log) && host.log.includes('not applied'));
        const now = await picture(host);
        assert.deepEqual(now, before);
        const { problems } = await host.call('config.get');
        assert.equal(problems.length >= 1, true);
      }
      // The commands still find the host, and a good edit is applied again.
      assert.equal((await host.cli(['servers'])).code, 0);
      const from = events.list.length;
      host.write(configuration({ mcpServers: { demo: demoServer(), more: demoServer() } }));
      assert.equal((await events.wait('admin_notification', { from })).severity, 'info');
      await until('the new one serves', () => host.echo('more'));
      assert.deepEqual((await host.call('config.get')).problems, []);
      assert.equal((await host.server('demo')).pid, before.servers.demo);
    }));
});

test('a plugin that was refused at the start does not stand in the way of other edits', () => {
  const config = configuration({ plugins: { ...configuration().plugins, bad: { use: path.join(testPlugins, 'bad_abi.so') } } });
  return withHost(config, async (host) => {
    assert.equal((await host.plugin('bad')).state, 'failed');
    config.mcpServers.more = demoServer();
    host.write(config);
    await until('the new server serves', () => host.echo('more'));
    // Touched again it is judged again.
    config.plugins.bad.supervision = { max_restarts: 1 };
    host.write(config);
    const { errors } = await host.call('config.reload');
    assert.match(errors[0].message, /check 'abi' failed/);
  });
});

test('a model named by its path can be the default', () =>
  withHost(configuration({ plugins: { mine: { use: path.join(build, 'plugins', 'llm-demo.so'), settings: { delay_ms: 0 } } }, llm: { default: 'mine' } }), async (host) => {
    assert.equal((await host.plugin('mine')).kind, 'llm');
    assert.match((await host.chat('echo by path')).answer, /by path/);
  }));

test('a port in use: a clear message, and the host serves the rest', () =>
  withHost(configuration(), async (first) => {
    const port = new URL(first.url).port;
    await withHost(configuration({ plugins: { demo: { use: 'llm-demo', settings: { delay_ms: 0 } }, web: { use: 'ui-http', settings: { listen: `127.0.0.1:${port}` } } } }), async (second) => {
      const web = await until('the refusal', async () => {
        const p = await second.plugin('web');
        return p.state !== 'active' && p.reason && p;
      });
      assert.ok(web.reason.includes(port), web.reason);
      assert.match(web.reason, /in use/i);
      assert.match(second.log, new RegExp(`${port}.*in use|in use.*${port}`, 'i'));
      assert.equal(await second.echo('demo'), 'hi');
      assert.match((await second.chat('echo all the same')).answer, /all the same/);
    });
    assert.equal(await first.echo('demo'), 'hi');
  }));

test('a second host on the same data directory is refused', () =>
  withHost(configuration(), async (host) => {
    const r = await host.cli(['run']);
    assert.equal(r.code, 1);
    assert.match(r.stderr, /another host uses the data directory/);
    assert.ok(r.stderr.includes(host.data));
    assert.equal(await host.echo('demo'), 'hi', 'the first one goes on');
    assert.equal((await host.cli(['servers'])).code, 0);
  }));

test('a data directory that others can write to is refused', async () => {
  const p = new Place(configuration());
  try {
    fs.mkdirSync(p.data, { mode: 0o777 });
    fs.chmodSync(p.data, 0o777);
    const r = await p.cli(['run']);
    assert.equal(r.code, 3, r.stderr);
    assert.match(r.stderr, /others can write.*chmod 700/);
  } finally {
    p.remove();
  }
});
