// The chat: sessions on the left, one session's messages, what it asks, and the line to type on.
import { h, replace, list, text, num, pretty, toast, clockTime, ago } from './dom.js';
import { render as markdown } from './markdown.js';
import { inputForm } from './forms.js';
import * as store from './store.js';

const STATES = { idle: 'Ready', thinking: 'Thinking…', awaiting_permission: 'Waiting for you', running_tool: 'Running a tool…' };
const CALLS = { proposed: 'proposed', asked: 'asks for permission', approved: 'allowed', running: 'running', result: 'done', error: 'failed', denied: 'denied', outcome_unknown: 'outcome unknown' };
const DECISIONS = { allow_once: 'Allow once', allow_always: 'Always allow', deny: 'Deny' };
const SAID = { allow_once: 'Allowed once', allow_always: 'Always allowed', deny: 'Denied', accept: 'Answered', decline: 'Declined', cancel: 'Cancelled' };
const REFRESH_LIST_MS = 15000;
const NEAR_BOTTOM_PX = 80;
const MAX_SHOWN_TEXT = 20000; // of arguments and results; the rest is counted

const randomKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
const clip = (s) => (s.length > MAX_SHOWN_TEXT ? `${s.slice(0, MAX_SHOWN_TEXT)}\n… ${s.length - MAX_SHOWN_TEXT} more characters` : s);

export class ChatView {
  constructor(app) {
    this.app = app;
    this.link = app.link;
    this.sessions = [];
    this.session = null; // store state of the open session
    this.subscription = null;
    this.opening = 0;
    this.nodes = new Map(); // message id → node
    this.dirty = new Set();
    this.openCalls = new Set();
    this.cards = new Map(); // request id → node
    this.typed = [];
    this.typedAt = 0;
    this.frame = null;
    this.build();
  }

  build() {
    this.sessionList = h('ul', { class: 'sessions', 'aria-label': 'Sessions' });
    this.sidebar = h('aside', { class: 'sidebar', id: 'sidebar' },
      h('button', { class: 'primary wide', onclick: () => this.create() }, '+ New chat'), this.sessionList);
    this.title = h('h1', { class: 'chat-title' }, 'Chat');
    this.facts = h('span', { class: 'facts' });
    this.indicator = h('span', { class: 'indicator', role: 'status', 'aria-live': 'polite' });
    this.cancelButton = h('button', { hidden: true, onclick: () => this.cancel() }, 'Stop');
    const toggle = h('button', { class: 'plain only-narrow', 'aria-controls': 'sidebar', onclick: () => this.sidebar.classList.toggle('open') }, '☰', h('span', { class: 'visually-hidden' }, 'Sessions'));
    this.more = h('button', { class: 'plain', hidden: true, onclick: () => this.loadMore() }, 'Earlier messages');
    this.messages = h('div', { class: 'messages', role: 'log', 'aria-label': 'Messages' });
    this.asks = h('div', { class: 'asks' });
    this.scroller = h('div', { class: 'scroller', tabindex: 0 }, h('div', { class: 'column' }, this.more, this.messages, this.asks));
    this.input = h('textarea', { class: 'line', rows: 1, placeholder: 'Message, or / for commands', 'aria-label': 'Message', onkeydown: (e) => this.key(e), oninput: () => this.grow() });
    this.sendButton = h('button', { class: 'primary', type: 'submit' }, 'Send');
    this.form = h('form', { class: 'composer', onsubmit: (e) => { e.preventDefault(); this.submit(); } }, h('div', { class: 'column composer-row' }, this.input, this.sendButton));
    this.root = h('div', { class: 'chat' }, this.sidebar,
      h('section', { class: 'conversation' }, h('div', { class: 'chat-head' }, toggle, this.title, this.facts, h('span', { class: 'spacer' }), this.indicator, this.cancelButton), this.scroller, this.form));
    this.showEmpty();
  }

  mount(root, id) {
    replace(root, this.root);
    this.refreshList();
    this.listTimer = setInterval(() => document.visibilityState === 'visible' && this.refreshList(), REFRESH_LIST_MS);
    this.clock = setInterval(() => this.tick(), 1000);
    if (id) this.open(id);
    else if (!this.session) this.openNewest();
    this.paint(true);
    this.input.focus({ preventScroll: true });
  }

  unmount() {
    clearInterval(this.listTimer);
    clearInterval(this.clock);
  }

  linkChanged(state) {
    const usable = state === 'live' || state === 'polling';
    this.sendButton.disabled = !usable;
    this.sendButton.title = usable ? '' : 'The host cannot be reached';
    if (usable) this.refreshList();
    if (usable && this.session && this.missed) this.resnapshot();
    this.missed = !usable && !!this.session && state === 'offline';
    this.paintHead();
  }

  // ---- sessions

  async refreshList() {
    if (this.app.link.state === 'signed_out') return;
    try {
      const answer = await this.link.call('session.list', { limit: 200 });
      this.sessions = list(answer.sessions).filter((s) => s && s.session_id).sort((a, b) => text(b.updated_at).localeCompare(text(a.updated_at)));
    } catch {
      return; // the header says that the host is away
    }
    this.paintList();
  }

  paintList() {
    const focused = document.activeElement?.dataset?.session;
    replace(this.sessionList, this.sessions.map((s) => {
      const current = this.session?.session_id === s.session_id;
      return h('li', { class: current ? 'current' : '' },
        h('button', { class: 'plain session', 'data-session': s.session_id, 'aria-current': current ? 'true' : null, onclick: () => this.go(s.session_id) },
          h('span', { class: 'session-title' }, text(s.title) || 'Untitled'),
          h('span', { class: `dot ${text(s.state)}`, title: STATES[s.state] || '' }),
          h('span', { class: 'session-meta' }, `${num(s.messages)} messages · ${clockTime(s.updated_at)}`)),
        h('button', { class: 'plain remove', title: 'Delete this session', 'aria-label': `Delete session ${text(s.title, s.session_id)}`, onclick: () => this.destroy(s) }, '×'));
    }));
    if (!this.sessions.length) replace(this.sessionList, h('li', { class: 'quiet' }, 'No sessions yet'));
    if (focused) this.sessionList.querySelector(`[data-session="${CSS.escape(focused)}"]`)?.focus();
  }

  go(id) {
    this.sidebar.classList.remove('open');
    location.hash = `#/chat/${encodeURIComponent(id)}`;
  }

  async openNewest() {
    await this.refreshList();
    if (!this.session && this.sessions.length) this.open(this.sessions[0].session_id);
  }

  async create() {
    try {
      const made = await this.link.call('session.create', {});
      if (made.session_id) this.go(made.session_id);
      this.refreshList();
      return text(made.session_id);
    } catch (error) {
      toast(error.message, 'bad');
      return '';
    }
  }

  async destroy(s) {
    if (!confirm(`Delete the session “${text(s.title) || 'Untitled'}” and everything in it?`)) return;
    try {
      await this.link.call('session.destroy', { session_id: s.session_id });
      if (this.session?.session_id === s.session_id) {
        this.leave();
        location.hash = '#/chat';
      }
    } catch (error) {
      toast(error.message, 'bad');
    }
    this.refreshList();
  }

  leave() {
    this.subscription?.close();
    this.subscription = null;
    this.session = null;
    this.nodes.clear();
    this.cards.clear();
    this.openCalls.clear();
    this.messages.replaceChildren();
    this.asks.replaceChildren();
    this.showEmpty();
    this.paintHead();
  }

  // Subscribe first, then take the snapshot: what happened in between is in both, and is recognised by its number.
  async open(id) {
    if (this.session?.session_id === id && this.subscription) return;
    this.leave();
    const turn = ++this.opening;
    const subscription = this.link.subscribe({ topic: `session:${id}`, hold: true, onEvent: (e) => this.event(e), onReset: () => this.resnapshot() });
    this.subscription = subscription;
    await Promise.race([subscription.ready, new Promise((resolve) => setTimeout(resolve, 3000))]);
    try {
      const snapshot = await this.link.call('session.get', { session_id: id });
      if (turn !== this.opening) return subscription.close();
      this.session = store.fromSnapshot(snapshot);
      this.session.session_id ||= id;
      subscription.release(this.session.seq, this.session.epoch);
      this.paint(true);
      this.paintList();
    } catch (error) {
      if (turn !== this.opening) return undefined;
      subscription.close();
      this.subscription = null;
      toast(error.code === 'session_not_found' ? 'This session does not exist any more.' : error.message, 'bad');
    }
    return undefined;
  }

  async resnapshot() {
    const current = this.session;
    if (!current || this.fetching) return;
    this.fetching = true;
    try {
      const snapshot = await this.link.call('session.get', { session_id: current.session_id });
      if (this.session === current) {
        this.session = store.fromSnapshot(snapshot, current);
        this.session.session_id ||= current.session_id;
        if (this.subscription) {
          this.subscription.seq = this.session.seq;
          this.subscription.epoch = this.session.epoch ?? this.subscription.epoch;
        }
        this.paint(true);
      }
    } catch {
      this.missed = true; // again when the host is back
    }
    this.fetching = false;
  }

  // ---- events

  event(e) {
    if (!this.session || !store.apply(this.session, e)) return;
    const owner = e.message_id || e.message?.id || this.ownerOf(e.call_id);
    if (owner) this.dirty.add(owner);
    if (e.type === 'SessionConfigured' || e.type === 'MessageAdded' || e.type === 'StreamCompleted' || e.type === 'SessionEnded') this.refreshSoon();
    const row = this.sessions.find((r) => r.session_id === this.session.session_id);
    if (row && (row.state !== this.session.state || text(row.title) !== this.session.title)) {
      Object.assign(row, { state: this.session.state, title: this.session.title });
      this.paintList();
    }
    if (e.type === 'PermissionRequired' && document.visibilityState === 'hidden') document.title = '● Holdfast: waiting for you';
    this.paint(false);
  }

  ownerOf(callId) {
    return callId ? this.session.messages.find((m) => list(m.tool_calls).some((c) => c.id === callId))?.id : null;
  }

  refreshSoon() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.refreshList(), 500);
  }

  // ---- painting: at most once per frame, only what changed

  paint(all) {
    if (all) for (const m of this.session?.messages || []) this.dirty.add(m.id);
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.paintNow();
    });
  }

  paintNow() {
    this.paintHead();
    const s = this.session;
    if (!s) return;
    const atBottom = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR_BOTTOM_PX;
    const wanted = [];
    for (const m of s.messages) {
      let node = this.nodes.get(m.id);
      if (!node || this.dirty.has(m.id)) {
        const fresh = this.messageNode(m);
        node?.replaceWith(fresh);
        node = fresh;
        this.nodes.set(m.id, node);
      }
      wanted.push(node);
      for (const n of s.notes) if (n.after === m.id) wanted.push(this.noteNode(n));
    }
    for (const n of s.notes) if (!n.after) wanted.push(this.noteNode(n));
    this.dirty.clear();
    if (!s.messages.length && !s.notes.length) this.showEmpty();
    else this.arrange(this.messages, wanted);
    for (const id of [...this.nodes.keys()]) if (!s.messages.some((m) => m.id === id)) this.nodes.delete(id);
    this.more.hidden = !s.has_more;
    this.paintAsks();
    if (atBottom) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  // Puts `wanted` into the box in this order, moving as little as possible.
  arrange(box, wanted) {
    let at = box.firstChild;
    for (const node of wanted) {
      if (node === at) at = at.nextSibling;
      else box.insertBefore(node, at);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  paintHead() {
    const s = this.session;
    this.title.textContent = s ? s.title || 'New chat' : 'Chat';
    this.facts.textContent = s ? [s.llm && `model ${s.llm}`, list(s.servers).length && `servers ${s.servers.join(', ')}`].filter(Boolean).join(' · ') : '';
    const state = s ? s.state : 'idle';
    this.indicator.className = `indicator ${state}`;
    this.indicator.textContent = s ? STATES[state] || text(state) : '';
    this.cancelButton.hidden = !s || state === 'idle';
    document.title = s?.title ? `${s.title} · Holdfast` : 'Holdfast';
  }

  showEmpty() {
    this.nodes.clear();
    replace(this.messages, h('div', { class: 'empty' }, h('h2', null, 'What can I do for you?'),
      h('p', null, 'The model may use the tools of your MCP servers. It asks you before it runs one.'),
      h('div', { class: 'chips' }, ['What time is it?', 'What tools do you have?', '/help'].map((t) => h('button', { type: 'button', onclick: () => { this.input.value = t; this.submit(); } }, t)))));
  }

  noteNode(n) {
    let node = this.nodes.get(n.id);
    if (!node) {
      node = h('div', { class: `note ${n.kind}` }, h('pre', null, n.text));
      this.nodes.set(n.id, node);
    }
    return node;
  }

  messageNode(m) {
    const role = text(m.role, 'assistant');
    const who = role === 'user' ? 'You' : role === 'tool' ? 'Tool' : 'Assistant';
    const body = role === 'user' ? h('div', { class: 'plain-text' }, text(m.text)) : markdown(text(m.text));
    const marks = { streaming: h('span', { class: 'cursor', 'aria-label': 'still writing' }), interrupted: h('span', { class: 'mark bad' }, 'interrupted'), failed: h('span', { class: 'mark bad' }, 'failed') };
    return h('article', { class: `message ${role} ${text(m.status)}`, 'data-id': m.id },
      h('div', { class: 'who' }, who, m.adapter ? h('span', { class: 'quiet' }, ` · ${m.adapter}`) : null, h('time', { class: 'quiet', datetime: text(m.at) }, m.at ? ` · ${clockTime(m.at)}` : '')),
      text(m.text) || role === 'user' ? body : null,
      marks[m.status] || null,
      list(m.tool_calls).map((c) => this.callNode(c)));
  }

  callNode(c) {
    const status = text(c.status, 'proposed');
    const answer = this.session?.answers?.[c.id];
    const result = store.resultText(c.result);
    const failed = status === 'error' || (c.result && c.result.isError === true);
    const args = c.arguments && Object.keys(c.arguments).length ? pretty(c.arguments) : '';
    const details = h('details', { class: `call ${failed ? 'error' : status}`, open: this.openCalls.has(c.id), ontoggle: () => (details.open ? this.openCalls.add(c.id) : this.openCalls.delete(c.id)) },
      h('summary', null,
        h('span', { class: 'call-name' }, `${text(c.server)}${c.server ? ' › ' : ''}${text(c.tool, text(c.name, 'tool'))}`),
        h('span', { class: `pill ${failed ? 'error' : status}` }, failed ? 'failed' : CALLS[status] || status),
        answer ? h('span', { class: 'quiet' }, `${SAID[answer.decision] || answer.decision}${answer.by ? ` by ${answer.by}` : ''}`) : null,
        Number.isFinite(c.duration) ? h('span', { class: 'quiet' }, `${Math.round(c.duration)} ms`) : null),
      args ? [h('div', { class: 'label' }, 'Arguments'), h('pre', { tabindex: 0 }, clip(args))] : h('div', { class: 'label' }, 'No arguments'),
      status === 'outcome_unknown' ? h('p', { class: 'warning-text' }, 'The host stopped while this ran: it may or may not have taken effect. It is not repeated by itself.') : null,
      result ? [h('div', { class: 'label' }, 'Result (untrusted: it came from the tool)'), h('pre', { tabindex: 0 }, clip(result))] : null);
    return details;
  }

  // ---- what the session asks

  paintAsks() {
    const pending = this.session?.pending || [];
    const ids = new Set(pending.map((p) => p.request_id));
    for (const [id, node] of this.cards) {
      if (ids.has(id)) continue;
      const focused = node.contains(document.activeElement);
      node.remove();
      this.cards.delete(id);
      if (focused) this.input.focus();
    }
    for (const p of pending) {
      if (this.cards.has(p.request_id)) continue;
      const card = p.kind === 'input' ? this.inputCard(p) : this.permissionCard(p);
      this.cards.set(p.request_id, card);
      this.asks.append(card);
    }
  }

  cardHead(p) {
    return [h('div', { class: 'ask-title' }, text(p.prompt) || `Allow ${text(p.server)}/${text(p.tool)} to run?`),
      h('div', { class: 'quiet' }, [text(p.server), text(p.tool)].filter(Boolean).join(' › '), ' ', h('span', { class: 'left', 'data-expires': text(p.expires_at) }))];
  }

  permissionCard(p) {
    const options = list(p.options).filter((o) => DECISIONS[o]);
    const args = p.kind === 'sampling' ? store.samplingText(p.arguments) : p.arguments && Object.keys(p.arguments).length ? pretty(p.arguments) : '';
    const card = h('section', { class: 'ask', role: 'group', 'aria-label': 'Permission request', 'data-request': p.request_id }, this.cardHead(p),
      args ? h('pre', { tabindex: 0 }, clip(args)) : null,
      h('div', { class: 'buttons' }, (options.length ? options : Object.keys(DECISIONS)).map((decision) =>
        h('button', { class: decision === 'allow_once' ? 'primary' : decision === 'deny' ? 'danger' : '', 'data-decision': decision, onclick: () => this.answer(card, 'session.resolve', { request_id: p.request_id, decision }) }, DECISIONS[decision]))));
    return card;
  }

  inputCard(p) {
    const card = h('section', { class: 'ask', role: 'group', 'aria-label': 'Input request', 'data-request': p.request_id }, this.cardHead(p),
      inputForm(p, (action, content) => this.answer(card, 'session.input', content === undefined ? { request_id: p.request_id, action } : { request_id: p.request_id, action, content })));
    return card;
  }

  async answer(card, method, params) {
    const buttons = [...card.querySelectorAll('button')];
    for (const b of buttons) b.disabled = true;
    try {
      const said = await this.link.call(method, { session_id: this.session?.session_id, ...params });
      if (said.first === false) toast(`Already answered by ${text(said.resolved_by, 'somebody else')}: ${SAID[said.decision] || text(said.decision)}`);
      if (this.link.state === 'polling') this.resnapshot();
    } catch (error) {
      toast(error.message, 'bad');
      for (const b of buttons) b.disabled = false;
      if (error.code === 'not_found' || error.code === 'stale') this.resnapshot();
    }
  }

  tick() {
    for (const node of this.asks.querySelectorAll('[data-expires]')) {
      const left = store.timeLeft({ expires_at: node.dataset.expires }, Date.now());
      node.textContent = left === null ? '' : `· ${ago(left)} left`;
    }
  }

  // ---- typing

  grow() {
    this.input.style.height = 'auto';
    this.input.style.height = `${Math.min(220, this.input.scrollHeight)}px`;
  }

  key(e) {
    if (e.isComposing) return;
    if (e.key === 'Enter' && !e.shiftKey) {
      e.preventDefault();
      this.submit();
    } else if (e.key === 'Escape' && this.session && this.session.state !== 'idle') {
      this.cancel();
    } else if ((e.key === 'ArrowUp' || e.key === 'ArrowDown') && (this.input.value === '' || this.input.value === this.typed[this.typedAt])) {
      const next = this.typedAt + (e.key === 'ArrowUp' ? -1 : 1);
      if (next < 0 || next > this.typed.length) return;
      e.preventDefault();
      this.typedAt = next;
      this.input.value = this.typed[next] || '';
      this.grow();
    }
  }

  async submit() {
    const line = this.input.value.trim();
    if (!line || this.sending) return;
    this.sending = true;
    this.input.value = '';
    this.grow();
    if (this.typed[this.typed.length - 1] !== line) this.typed.push(line);
    if (this.typed.length > 100) this.typed.shift();
    this.typedAt = this.typed.length;
    try {
      let id = this.session?.session_id;
      if (!id) {
        const made = await this.link.call('session.create', {});
        id = made.session_id;
        await this.open(id);
        this.go(id);
      }
      if (line.startsWith('/')) await this.command(id, line);
      else await this.sendMessage(id, line);
      this.scroller.scrollTop = this.scroller.scrollHeight;
    } catch (error) {
      toast(error.message, 'bad');
      if (!this.input.value) this.input.value = line;
      this.grow();
    }
    this.sending = false;
    if (this.link.state === 'polling') this.resnapshot();
  }

  // The same key for the second attempt: stored once, whatever became of the first answer.
  async sendMessage(id, content) {
    const params = { session_id: id, content, idem_key: randomKey() };
    try {
      await this.link.call('session.send', params);
    } catch (error) {
      if (error.code !== 'offline' && error.code !== 'overloaded' && error.code !== 'unavailable') throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.max(1000, error.retryAfterMs)));
      await this.link.call('session.send', params);
    }
  }

  async command(id, line) {
    const answer = await this.link.call('session.command', { session_id: id, command: line });
    if (this.session && text(answer.text)) {
      store.note(this.session, 'info', `${line}\n${answer.text}`);
      this.paint(false);
    }
  }

  async cancel() {
    if (!this.session) return;
    try {
      await this.link.call('session.cancel', { session_id: this.session.session_id });
    } catch (error) {
      toast(error.message, 'bad');
    }
  }

  async loadMore() {
    const s = this.session;
    if (!s) return;
    this.more.disabled = true;
    try {
      const first = s.messages.find((m) => Number.isFinite(m.seq));
      const page = await this.link.call('session.history', { session_id: s.session_id, before: first ? first.seq : 0, limit: 50 });
      if (this.session === s) {
        const height = this.scroller.scrollHeight;
        store.prepend(s, page.messages, page.has_more);
        this.paintNow();
        this.scroller.scrollTop += this.scroller.scrollHeight - height;
      }
    } catch (error) {
      toast(error.message, 'bad');
    }
    this.more.disabled = false;
  }
}
