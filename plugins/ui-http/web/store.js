// What a session looks like: a snapshot, then every event with a larger number. Pure: no DOM, no network.

const MAX_NOTES = 50;
const list = (x) => (Array.isArray(x) ? x : []);
const obj = (x) => (x && typeof x === 'object' && !Array.isArray(x) ? x : {});
const OPEN = new Set(['proposed', 'asked', 'approved', 'running']);

export function fromSnapshot(snapshot, previous = null) {
  const s = obj(snapshot);
  const state = {
    session_id: s.session_id || '',
    title: s.title || '',
    state: s.state || 'idle',
    epoch: s.epoch ?? null,
    seq: Number(s.seq) || 0,
    llm: s.llm || '',
    servers: list(s.servers),
    messages: list(s.messages).filter((m) => m && m.id).map((m) => ({ ...m, tool_calls: list(m.tool_calls).map((c) => ({ ...c })) })),
    has_more: !!s.has_more,
    pending: list(s.pending).filter((p) => p && p.request_id).map((p) => ({ ...p })),
    stats: obj(s.stats),
    answers: previous?.answers || {}, // call id → {decision, by}
    notes: previous?.notes || [],     // {id, after: message id, kind, text}: what is said beside the messages
    index: -1,                        // of the newest chunk of the streaming message
    ended: false,
  };
  const stream = obj(s.stream);
  const streaming = state.messages.find((m) => m.id === stream.message_id);
  if (streaming) {
    streaming.text = stream.text ?? streaming.text ?? '';
    streaming.status = 'streaming';
    state.index = Number.isFinite(stream.index) ? stream.index : -1;
  } else if (stream.message_id) {
    state.messages.push({ id: stream.message_id, role: 'assistant', text: stream.text || '', status: 'streaming', tool_calls: [] });
    state.index = Number.isFinite(stream.index) ? stream.index : -1;
  }
  return state;
}

export function prepend(state, messages, hasMore) {
  const known = new Set(state.messages.map((m) => m.id));
  state.messages.unshift(...list(messages).filter((m) => m && m.id && !known.has(m.id)).map((m) => ({ ...m, tool_calls: list(m.tool_calls) })));
  state.has_more = !!hasMore;
}

export function note(state, kind, text) {
  const last = state.messages[state.messages.length - 1];
  state.notes.push({ id: `note-${(state.noteCount = (state.noteCount || 0) + 1)}`, after: last ? last.id : '', kind, text: String(text ?? '') });
  if (state.notes.length > MAX_NOTES) state.notes.shift();
}

const message = (state, id) => state.messages.find((m) => m.id === id);
function toolCall(state, id) {
  if (!id) return null;
  for (let i = state.messages.length - 1; i >= 0; i -= 1) {
    const found = list(state.messages[i].tool_calls).find((c) => c.id === id);
    if (found) return found;
  }
  return null;
}

// Applies one event. Returns false for one that is already contained (its number is not larger), true otherwise.
export function apply(state, event) {
  const e = obj(event);
  if (Number.isFinite(e.seq)) {
    if (e.seq <= state.seq) return false;
    state.seq = e.seq;
  }
  switch (e.type) {
    case 'MessageAdded': {
      const m = obj(e.message);
      const id = m.id || e.message_id;
      if (!id || message(state, id)) break;
      state.messages.push({ role: 'assistant', text: '', status: 'complete', at: e.timestamp, seq: e.seq, ...m, id, tool_calls: list(m.tool_calls) });
      if (m.status === 'streaming') state.index = -1;
      break;
    }
    case 'MessageUpdated': {
      const m = message(state, e.message_id);
      if (!m) break;
      if (typeof e.content === 'string') m.text = e.content;
      m.status = e.status || 'complete';
      break;
    }
    case 'StreamChunkReceived': {
      let m = message(state, e.message_id);
      if (!m) {
        m = { id: e.message_id, role: 'assistant', text: '', status: 'streaming', tool_calls: [], at: e.timestamp };
        if (!m.id) break;
        state.messages.push(m);
        state.index = -1;
      }
      if (m.status !== 'streaming') break; // a late chunk of a finished message
      if (Number.isFinite(e.index)) {
        if (e.index <= state.index) break;
        state.index = e.index;
      }
      m.text = (m.text || '') + (typeof e.chunk === 'string' ? e.chunk : '');
      break;
    }
    case 'StreamCompleted': {
      const m = message(state, e.message_id);
      if (!m) break;
      if (typeof e.final_content === 'string') m.text = e.final_content;
      m.status = 'complete';
      if (Array.isArray(e.tool_calls)) m.tool_calls = e.tool_calls.map((c) => ({ status: 'proposed', ...obj(c) }));
      break;
    }
    case 'SessionStateChanged':
      state.state = e.new_state || state.state;
      break;
    case 'PermissionRequired': {
      if (!e.request_id || state.pending.some((p) => p.request_id === e.request_id)) break;
      state.pending.push({
        request_id: e.request_id, kind: e.kind || 'permission', prompt: e.prompt || '', options: list(e.options), expires_at: e.expires_at,
        server: e.server_name || '', tool: e.tool_name || '', arguments: e.arguments, schema: e.schema, url: e.url, call_id: e.call_id,
      });
      const call = toolCall(state, e.call_id);
      if (call && (e.kind || 'permission') === 'permission') call.status = 'asked';
      break;
    }
    case 'PermissionResolved': {
      const asked = state.pending.find((p) => p.request_id === e.request_id);
      state.pending = state.pending.filter((p) => p.request_id !== e.request_id);
      const callId = e.call_id || asked?.call_id;
      const kind = e.kind || asked?.kind || 'permission';
      if (callId && kind !== 'sampling') state.answers[callId] = { decision: e.decision || '', by: e.resolved_by || '' };
      const call = toolCall(state, callId);
      if (call && kind === 'permission') call.status = e.decision === 'deny' ? 'denied' : 'approved';
      break;
    }
    case 'ToolCallIntent': {
      const call = toolCall(state, e.call_id);
      if (call) call.status = 'running';
      break;
    }
    case 'MCPToolExecuted': {
      const call = toolCall(state, e.call_id);
      if (!call) break;
      call.status = e.status || 'result';
      call.result = e.result;
      call.duration = e.duration;
      break;
    }
    case 'SamplingCompleted':
      note(state, e.status === 'error' ? 'error' : 'info',
        `${e.server_name || 'A server'} › ${e.tool_name || 'tool'} ${e.status === 'error' ? `got no answer of the model: ${e.message || 'it failed'}` : `got this answer of the model:\n${e.text || ''}`}`);
      break;
    case 'SessionConfigured':
      if (typeof e.title === 'string') state.title = e.title;
      if (typeof e.llm === 'string') state.llm = e.llm;
      if (Array.isArray(e.servers)) state.servers = e.servers;
      break;
    case 'ErrorOccurred':
      note(state, 'error', e.message || e.error_type || 'something failed');
      break;
    case 'SessionEnded':
      state.ended = true;
      note(state, 'info', `The session ended${e.reason ? `: ${e.reason}` : '.'}`);
      break;
    default:
      break;
  }
  return true;
}

export const isOpen = (status) => OPEN.has(status);

// An address that a page of the web can stand behind, as the browser reads it: {href, site}. Null: it is shown, not linked.
export function webAddress(url) {
  try {
    const u = new URL(url);
    return u.protocol === 'https:' || u.protocol === 'http:' ? { href: u.href, site: u.host } : null;
  } catch {
    return null;
  }
}

// What a server wants to ask the model, as text.
export function samplingText(wanted) {
  const w = obj(wanted);
  const lines = [];
  if (list(w.model_hints).length) lines.push(`It would like: ${w.model_hints.join(', ')}`);
  if (w.system_prompt) lines.push(`system: ${w.system_prompt}`);
  if (w.earlier_messages) lines.push(`(${w.earlier_messages} earlier messages)`);
  for (const m of list(w.messages)) lines.push(`${obj(m).role}: ${obj(m).text}`);
  return lines.join('\n\n');
}

// "expires in": milliseconds left, or null.
export function timeLeft(pending, now) {
  const at = Date.parse(pending?.expires_at ?? '');
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

// The text of a CallToolResult for people; other content is named, not shown.
export function resultText(result) {
  if (result === null || result === undefined) return '';
  if (typeof result === 'string') return result;
  const parts = list(result.content).map((c) => {
    const item = obj(c);
    if (item.type === 'text') return String(item.text ?? '');
    if (item.type === 'resource') return item.resource?.text ?? `[resource ${item.resource?.uri ?? ''}]`;
    if (item.type === 'resource_link') return `[link ${item.uri ?? ''}]`;
    return `[${item.type || 'content'}${item.mimeType ? ` ${item.mimeType}` : ''}]`;
  });
  if (parts.length) return parts.join('\n');
  if (result.structuredContent !== undefined) return JSON.stringify(result.structuredContent, null, 2);
  if (typeof result.message === 'string') return result.message;
  return JSON.stringify(result, null, 2);
}
