// The pages' pure parts, without a browser: node --test units.test.mjs
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

// The modules are served as they are and have no package.json beside them, so they are loaded from their text.
const load = (name) => import(`data:text/javascript,${encodeURIComponent(readFileSync(new URL(`../../plugins/ui-http/web/${name}`, import.meta.url), 'utf8'))}`);
const store = await load('store.js');
const { parseBlocks, parseInline, safeUrl } = await load('markdown.js');
const { ACTIONS, buttonStates, readiness } = await load('server_buttons.js');

const snapshot = (more = {}) => ({ session_id: 's', state: 'idle', epoch: 1, seq: 10, messages: [], pending: [], ...more });

test('events up to the snapshot are discarded, later ones applied once', () => {
  const s = store.fromSnapshot(snapshot());
  assert.equal(store.apply(s, { type: 'MessageAdded', seq: 10, message: { id: 'old' } }), false);
  assert.equal(store.apply(s, { type: 'MessageAdded', seq: 11, message: { id: 'm', role: 'user', text: 'hi' } }), true);
  assert.equal(store.apply(s, { type: 'MessageAdded', seq: 11, message: { id: 'm' } }), false);
  assert.deepEqual(s.messages.map((m) => m.id), ['m']);
});

test('a stream joined in the middle goes on without a doubled or lost word', () => {
  const s = store.fromSnapshot(snapshot({ messages: [{ id: 'm', role: 'assistant', status: 'streaming', text: '' }], stream: { message_id: 'm', text: 'one two ', index: 1 } }));
  store.apply(s, { type: 'StreamChunkReceived', seq: 11, message_id: 'm', chunk: 'two ', index: 1 });
  store.apply(s, { type: 'StreamChunkReceived', seq: 12, message_id: 'm', chunk: 'three', index: 2 });
  assert.equal(s.messages[0].text, 'one two three');
  store.apply(s, { type: 'StreamCompleted', seq: 13, message_id: 'm', final_content: 'one two three.', tool_calls: [{ id: 'c', tool: 't' }] });
  store.apply(s, { type: 'StreamChunkReceived', seq: 14, message_id: 'm', chunk: 'late', index: 3 });
  assert.equal(s.messages[0].text, 'one two three.');
  assert.equal(s.messages[0].tool_calls[0].status, 'proposed');
});

test('an address names the site it leads to, and only those of the web are links', () => {
  assert.deepEqual(store.webAddress('https://accounts.example.com@evil.example/in?x=1'), { href: 'https://accounts.example.com@evil.example/in?x=1', site: 'evil.example' });
  assert.equal(store.webAddress('https://ex\u0430mple.org/').site, 'xn--exmple-4nf.org', 'a letter of another alphabet shows');
  for (const url of ['javascript:alert(1)', 'file:///etc/passwd', 'example.org', '', null]) assert.equal(store.webAddress(url), null, String(url));
});

test('what a server asks of the model is shown, and so is what it got', () => {
  const s = store.fromSnapshot(snapshot());
  const wanted = { system_prompt: 'Be brief.', messages: [{ role: 'user', text: 'say something' }], max_tokens: 20, model_hints: ['claude'], earlier_messages: 2 };
  store.apply(s, { type: 'PermissionRequired', seq: 11, request_id: 'r', kind: 'sampling', options: ['allow_once', 'deny'], arguments: wanted });
  const shown = store.samplingText(s.pending[0].arguments);
  for (const part of ['claude', 'system: Be brief.', '2 earlier', 'user: say something']) assert.ok(shown.includes(part), part);
  store.apply(s, { type: 'SamplingCompleted', seq: 12, server_name: 'srv', tool_name: 't', status: 'result', text: 'moo' });
  assert.match(s.notes.at(-1).text, /srv › t got this answer of the model:\nmoo/);
  store.apply(s, { type: 'SamplingCompleted', seq: 13, status: 'error', message: 'no key' });
  assert.match(s.notes.at(-1).text, /no key/);
  assert.equal(store.samplingText(null), '');
});

test('a tool call goes through its statuses and remembers who allowed it', () => {
  const s = store.fromSnapshot(snapshot({ messages: [{ id: 'm', role: 'assistant', status: 'complete', tool_calls: [{ id: 'c', tool: 't', status: 'proposed' }] }] }));
  const status = () => s.messages[0].tool_calls[0].status;
  store.apply(s, { type: 'PermissionRequired', seq: 11, request_id: 'r', call_id: 'c', server_name: 'demo', tool_name: 't' });
  assert.equal(status(), 'asked');
  assert.equal(s.pending[0].server, 'demo');
  store.apply(s, { type: 'PermissionResolved', seq: 12, request_id: 'r', decision: 'allow_once', resolved_by: 'ann (tui)' });
  assert.equal(status(), 'approved');
  assert.deepEqual(s.answers.c, { decision: 'allow_once', by: 'ann (tui)' });
  assert.equal(s.pending.length, 0);
  store.apply(s, { type: 'ToolCallIntent', seq: 13, call_id: 'c' });
  assert.equal(status(), 'running');
  store.apply(s, { type: 'MCPToolExecuted', seq: 14, call_id: 'c', status: 'outcome_unknown' });
  assert.equal(status(), 'outcome_unknown');
});

test('nonsense changes nothing and throws nothing', () => {
  for (const bad of [null, 5, 'x', [], {}, { messages: 'x', pending: 7, stream: 'y', stats: [] }]) {
    const s = store.fromSnapshot(bad);
    for (const type of ['MessageAdded', 'MessageUpdated', 'StreamChunkReceived', 'StreamCompleted', 'PermissionRequired', 'PermissionResolved', 'ToolCallIntent', 'MCPToolExecuted', 'SessionStateChanged', 'SessionConfigured', 'ErrorOccurred', 'SessionEnded', 'new thing'])
      for (const event of [{ type }, { type, seq: 'x', message: 7, message_id: {}, tool_calls: 'x', options: 5 }, null, 3]) store.apply(s, event);
    assert.ok(Array.isArray(s.messages));
  }
  for (const r of [null, undefined, 5, {}, { content: 'x' }, { content: [null, 3, { type: 'image' }] }]) assert.equal(typeof store.resultText(r), 'string');
});

test('earlier messages come before, once', () => {
  const s = store.fromSnapshot(snapshot({ messages: [{ id: 'b', seq: 5 }], has_more: true }));
  store.prepend(s, [{ id: 'a', seq: 4 }, { id: 'b', seq: 5 }], false);
  assert.deepEqual(s.messages.map((m) => m.id), ['a', 'b']);
  assert.equal(s.has_more, false);
});

test('links are http, https and mailto only', () => {
  for (const ok of ['https://x.y/z?a=1', 'http://x', 'mailto:a@b']) assert.equal(safeUrl(ok), ok);
  for (const bad of ['javascript:alert(1)', ' javascript:alert(1)', 'data:text/html,x', 'vbscript:x', '//x', '/x', 'https://a b']) assert.equal(safeUrl(bad), null);
  assert.deepEqual(parseInline('[click](javascript:alert(1))').flat(3).includes('a'), false);
});

test('markdown: inline', () => {
  assert.deepEqual(parseInline('a **b** `c*d*` *e*'), ['a ', ['strong', ['b']], ' ', ['code', 'c*d*'], ' ', ['em', ['e']]]);
  assert.deepEqual(parseInline('snake_case_name and 2 * 3 * 4'), ['snake_case_name and 2 * 3 * 4']);
  assert.deepEqual(parseInline('see https://a.b/c.'), ['see ', ['a', 'https://a.b/c', ['https://a.b/c']], '.']);
  assert.deepEqual(parseInline('<b>x</b> \\*y\\*'), ['<b>x</b> *y*']);
});

test('markdown: blocks, an unfinished fence included', () => {
  const kinds = (s) => parseBlocks(s).map((b) => b[0]);
  assert.deepEqual(kinds('# h\n\ntext\n- a\n- b\n\n1. c\n\n> q\n\n---\n```js\ncode'), ['h', 'p', 'ul', 'ol', 'quote', 'hr', 'pre']);
  assert.deepEqual(parseBlocks('```js\na\n')[0], ['pre', 'js', 'a\n', false]);
  assert.equal(parseBlocks('- a\n  - b\n  - c\n- d')[0][1].length, 2);
  assert.equal(parseBlocks('|a|b|\n|-|-|\n|1|2|\n|3|4|')[0][2].length, 2);
});

test('markdown: hostile input ends in time', () => {
  const begin = Date.now();
  for (const s of ['*'.repeat(20000), '['.repeat(20000), '`'.repeat(20000), '> '.repeat(5000), '- '.repeat(5000), '**a'.repeat(6000), '|'.repeat(20000) + '\n|-|', '_a'.repeat(9000), '![['.repeat(6000), '~~a'.repeat(6000)]) parseBlocks(s);
  assert.ok(Date.now() - begin < 5000, `${Date.now() - begin} ms`);
});

test('buttons follow the state, and every one says why', () => {
  for (const status of ['healthy', 'disconnected', 'circuit_open', 'disabled', 'new', undefined])
    for (const options of [{}, { offline: true }, { role: 'admin' }, { role: 'admin', busy: true }, { role: 'operator' }]) {
      const states = buttonStates({ status }, options);
      for (const a of ACTIONS) assert.ok(states[a].tooltip.length > 0);
      if (options.offline || options.busy || !options.role || !['healthy', 'disconnected', 'circuit_open', 'disabled'].includes(status)) assert.ok(ACTIONS.every((a) => states[a].disabled));
    }
  const on = (row) => ACTIONS.filter((a) => !buttonStates(row, { role: 'admin' })[a].disabled).join();
  assert.equal(on({ status: 'healthy' }), 'stop,restart,disable');
  assert.equal(on({ status: 'disconnected' }), 'stop,restart,disable');
  assert.equal(on({ status: 'circuit_open' }), 'stop,restart,disable');
  assert.equal(on({ status: 'disabled', enabled: false }), 'enable');
  assert.equal(on({ status: 'disabled', enabled: true, reason: 'stopped by a person' }), 'start,restart,disable');
  assert.equal(readiness('healthy', false).tooltip, 'Ready');
  assert.equal(readiness('healthy', true).tooltip, 'Dashboard offline');
  assert.equal(readiness('disconnected').tooltip, 'MCP disconnected, retrying...');
});
