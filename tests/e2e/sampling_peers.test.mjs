// What servers of the official SDKs ask a session while a tool runs, in both eras: an answer of the model, which a person allows, and roots.
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { configuration, peers, source, withHost } from './host.mjs';

const { LLMock } = await import(pathToFileURL(path.join(peers, 'node_modules', '@copilotkit', 'aimock', 'dist', 'index.js')));
const script = path.join(source, 'tests', 'peers', 'sdk_server.mjs');
const kinds = { sdk1: 'SDK 1.x', 'sdk2-legacy': 'SDK 2.x of 2025-11-25', sdk2: 'SDK 2.x' };
const roots = [{ uri: 'file:///meadow', name: 'meadow' }, { uri: 'file:///barn' }];

/// A model that calls the tool it is told to, answers the servers' question with "moo", and is done with any result.
async function withModel(body) {
  const mock = new LLMock({ port: 0 });
  mock.on({ hasToolResult: true }, { content: 'Done.' });
  mock.on({ userMessage: 'say something' }, { content: 'moo' });
  for (const kind of Object.keys(kinds))
    for (const tool of ['sample', 'roots'])
      mock.on({ userMessage: `use ${kind} ${tool}!` }, { toolCalls: [{ id: `call_${kind}_${tool}`, name: `${kind}__${tool}`, arguments: '{}' }] });
  await mock.start();
  try {
    const mcpServers = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, { command: process.execPath, args: [script, kind, kind, peers], roots }]));
    const config = configuration({ llm: { default: 'mock' }, mcpServers });
    config.plugins.mock = { use: 'llm-openai', settings: { base_url: `${mock.url}/v1`, api_key: 'sk-e2e', model: 'gpt-test' } };
    await withHost(config, (host) => body(host, mock));
  } finally {
    await mock.stop();
  }
}

/// One turn; `say`: decisions by kind of question.
async function turn(host, content, say) {
  const { session_id } = await host.call('session.create');
  const events = await host.control.subscribe(`session:${session_id}`);
  const { seq } = await host.call('session.send', { session_id, content });
  const asked = [];
  for (;;) {
    const e = await events.wait((x) => x.seq > seq && ((x.type === 'PermissionRequired' && !asked.includes(x)) || (x.type === 'SessionStateChanged' && x.new_state === 'idle')), { ms: 30000 });
    if (e.type !== 'PermissionRequired') break;
    asked.push(e);
    await host.call('session.resolve', { session_id, request_id: e.request_id, decision: say[e.kind] });
  }
  const executed = events.list.find((e) => e.type === 'MCPToolExecuted');
  return { asked, status: executed.status, result: JSON.stringify(executed.result), told: events.list.find((e) => e.type === 'SamplingCompleted') };
}

describe('what servers ask a session', () => {
  test('the model answers once a person allows it, roots are the configured ones, and a refusal is said', () =>
    withModel(async (host, mock) => {
      for (const [kind, title] of Object.entries(kinds)) {
        const allowed = await turn(host, `use ${kind} sample!`, { permission: 'allow_once', sampling: 'allow_once' });
        assert.deepEqual(allowed.asked.map((e) => e.kind), ['permission', 'sampling'], title);
        const question = allowed.asked[1];
        assert.deepEqual([question.server_name, question.options, question.arguments], [kind, ['allow_once', 'deny'], { messages: [{ role: 'user', text: 'say something' }], max_tokens: 20 }]);
        assert.match(allowed.result, /it said moo/, title);
        assert.equal(allowed.told.text, 'moo');
        const sent = mock.getRequests().map((r) => r.body).find((b) => JSON.stringify(b.messages).includes('say something'));
        assert.equal(sent.max_tokens ?? sent.max_completion_tokens, 20);
        assert.ok(!sent.tools?.length, 'the tools of the session are not the server\'s to use');

        const denied = await turn(host, `use ${kind} sample!`, { permission: 'allow_once', sampling: 'deny' });
        assert.match(denied.result, /User rejected sampling request/, title);
        assert.ok(kind === 'sdk2' ? denied.status === 'error' : /"isError":true/.test(denied.result), `${title}: ${denied.status}`);

        const listed = await turn(host, `use ${kind} roots!`, { permission: 'allow_once' });
        assert.equal(listed.asked.length, 1, 'nobody is asked for roots');
        assert.match(listed.result, /file:\/\/\/meadow,file:\/\/\/barn/, title);
      }
      const unattended = await host.cli(['chat', '-m', 'use sdk1 sample!', '--yes']);
      assert.equal(unattended.code, 0, unattended.stderr);
      assert.match(unattended.stdout, /Done\./);
    }));
});
