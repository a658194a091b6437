// The connection to the host: calls over HTTP, events over one WebSocket that attaches again by itself, polling when it cannot.
//
// States: 'connecting' | 'live' | 'polling' (HTTP works, the WebSocket does not) | 'offline' | 'signed_out'

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10000;
const POLL_MS = 2000;
const FAILURES_BEFORE_POLLING = 2;
const MAX_HELD = 5000; // events kept while a snapshot is on its way

export class ApiError extends Error {
  constructor(error, status) {
    super(error?.message || `the server answered ${status}`);
    this.code = error?.code || 'internal';
    this.status = status;
    this.retryAfterMs = Number(error?.retry_after_ms) || 0;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: 'same-origin', cache: 'no-store', ...options });
  } catch {
    throw new ApiError({ code: 'offline', message: 'the host cannot be reached' }, 0);
  }
  let body = null;
  try {
    body = await response.json();
  } catch {
    body = null;
  }
  if (!response.ok) throw new ApiError(body?.error, response.status);
  return body;
}

const post = (path, body) => request(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });

export const exchange = (token) => post('/auth/exchange', { token });
export const whoami = () => request('/auth/whoami');
export const logout = () => post('/auth/logout', {});

export class Link {
  constructor(onState) {
    this.state = 'connecting';
    this.onState = onState;
    this.subscriptions = new Set();
    this.byNumber = new Map();
    this.waiting = new Map(); // request id → subscription
    this.nextId = 1;
    this.failures = 0;
    this.socket = null;
    this.timer = null;
    this.poller = null;
    this.stopped = false;
  }

  start() {
    this.stopped = false;
    this.open();
    addEventListener('online', () => this.retryNow());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.retryNow();
    });
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    clearInterval(this.poller);
    this.poller = null;
    this.socket?.close();
  }

  async call(method, params = {}) {
    try {
      const result = await post(`/api/v1/call/${encodeURIComponent(method)}`, params);
      if (this.state === 'offline') this.set(this.poller ? 'polling' : 'connecting');
      return result ?? {};
    } catch (error) {
      if (error.status === 401) this.set('signed_out');
      else if (error.code === 'offline' && this.state !== 'live') this.set('offline');
      throw error;
    }
  }

  // options: topic, onEvent(event), onReset() — called when events were missed and a new snapshot is needed.
  subscribe({ topic, onEvent, onReset, hold = false }) {
    const s = { topic, onEvent, onReset, seq: null, epoch: null, number: null, held: hold ? [] : null, closed: false, pattern: topic.includes('*') };
    let ready;
    s.ready = new Promise((resolve) => (ready = resolve));
    s.markReady = ready;
    // Events after `seq` are delivered from now on; those up to it are in the snapshot.
    s.release = (seq, epoch) => {
      const held = s.held || [];
      s.held = null;
      if (Number.isFinite(seq)) s.seq = seq;
      if (epoch !== undefined && epoch !== null) s.epoch = epoch;
      for (const event of held) this.deliver(s, event);
    };
    s.close = () => {
      s.closed = true;
      this.subscriptions.delete(s);
      if (s.number !== null) {
        this.byNumber.delete(s.number);
        this.send({ id: this.nextId++, unsubscribe: s.number });
      }
    };
    this.subscriptions.add(s);
    if (this.state === 'live') this.attach(s);
    else if (this.state === 'polling' || this.state === 'offline') s.markReady();
    return s;
  }

  // ---- WebSocket

  set(state) {
    if (this.state === state) return;
    this.state = state;
    if (state === 'polling' || state === 'offline') for (const s of this.subscriptions) s.markReady();
    this.onState(state);
  }

  open() {
    clearTimeout(this.timer);
    if (this.stopped || this.socket) return;
    let socket;
    try {
      socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`, 'holdfast.v1');
    } catch {
      this.retryLater();
      return;
    }
    this.socket = socket;
    socket.onopen = () => {
      this.failures = 0;
      clearInterval(this.poller);
      this.poller = null;
      this.set('live');
      for (const s of this.subscriptions) this.attach(s);
    };
    socket.onmessage = (message) => this.receive(message.data);
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.byNumber.clear();
      this.waiting.clear();
      for (const s of this.subscriptions) s.number = null;
      if (event.code === 4401) this.set('signed_out');
      else if (event.code === 1001 && !this.stopped) {
        this.set('connecting'); // the server makes room for the next one, which accepts already
        this.open();
      } else this.retryLater();
    };
  }

  retryLater() {
    if (this.stopped || this.state === 'signed_out') return;
    this.failures += 1;
    if (this.failures >= FAILURES_BEFORE_POLLING) this.startPolling();
    else this.set('connecting');
    const delay = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(6, this.failures - 1));
    this.timer = setTimeout(() => this.open(), delay * (0.8 + 0.4 * Math.random()));
  }

  retryNow() {
    if (!this.socket && !this.stopped && this.state !== 'signed_out') this.open();
  }

  send(object) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(object));
  }

  attach(s) {
    if (s.closed || s.number !== null) return;
    const options = { topic: s.topic };
    if (!s.pattern && s.seq !== null) {
      options.from = s.seq + 1;
      if (s.epoch !== null) options.epoch = s.epoch;
    }
    const id = this.nextId++;
    this.waiting.set(id, s);
    this.send({ id, subscribe: options });
  }

  receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (!message || typeof message !== 'object') return;
    if (message.subscription !== undefined && message.event) {
      const s = this.byNumber.get(message.subscription);
      if (s) this.deliver(s, message.event);
      return;
    }
    const s = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (!s) return;
    if (message.error) {
      const wait = Number(message.error.retry_after_ms) || 0;
      if (wait) setTimeout(() => this.attach(s), wait + 50);
      else s.markReady();
      return;
    }
    const answer = message.result || {};
    if (s.closed) {
      this.send({ id: this.nextId++, unsubscribe: answer.subscription });
      return;
    }
    s.number = answer.subscription;
    this.byNumber.set(s.number, s);
    if (s.seq === null && !s.pattern && !s.held && Number.isFinite(answer.seq)) s.seq = answer.seq;
    if (s.epoch === null && answer.epoch !== undefined) s.epoch = answer.epoch;
    else if (s.epoch !== null && answer.epoch !== undefined && answer.epoch !== s.epoch) {
      s.epoch = answer.epoch;
      this.reset(s);
    }
    s.markReady();
  }

  deliver(s, event) {
    if (s.closed || !event || typeof event !== 'object') return;
    if (event.type === 'closed') {
      if (s.number !== null) this.byNumber.delete(s.number);
      s.number = null;
      if (event.reason === 'overrun') this.attach(s); // from the newest event we have
      return;
    }
    if (event.type === 'gap' || event.type === 'epoch') {
      if (event.type === 'epoch' && event.epoch !== undefined) s.epoch = event.epoch;
      this.reset(s);
      return;
    }
    if (s.held) {
      s.held.push(event);
      if (s.held.length > MAX_HELD) s.held.shift();
      return;
    }
    if (!s.pattern && Number.isFinite(event.seq)) {
      if (s.seq !== null && event.seq <= s.seq) return;
      s.seq = event.seq;
    }
    try {
      s.onEvent(event);
    } catch (error) {
      console.warn('an event could not be shown', error);
    }
  }

  reset(s) {
    if (s.onReset) s.onReset();
  }

  // ---- polling

  startPolling() {
    if (this.poller || this.stopped) return;
    let busy = false;
    const round = async () => {
      if (busy || document.visibilityState === 'hidden') return;
      busy = true;
      try {
        await this.call('host.health');
        this.set('polling');
        for (const s of [...this.subscriptions]) await this.poll(s);
      } catch {
        // call() has set the state
      }
      busy = false;
    };
    this.poller = setInterval(round, POLL_MS);
    round();
  }

  async poll(s) {
    if (s.closed || s.pattern || s.held || this.state !== 'polling') return;
    const params = { topic: s.topic, limit: 500 };
    if (s.seq !== null) params.from = s.seq + 1;
    let page;
    try {
      page = await this.call('events.read', params);
    } catch {
      return;
    }
    if (s.closed || s.held) return;
    if (s.epoch !== null && page.epoch !== undefined && page.epoch !== s.epoch) {
      s.epoch = page.epoch;
      s.seq = null;
      this.reset(s);
      return;
    }
    if (s.epoch === null && page.epoch !== undefined) s.epoch = page.epoch;
    if (s.seq !== null && Number.isFinite(page.first) && page.first > s.seq + 1 && page.seq > s.seq) {
      s.seq = page.seq;
      this.reset(s);
      return;
    }
    for (const event of Array.isArray(page.events) ? page.events : []) this.deliver(s, event);
    if (Number.isFinite(page.seq) && (s.seq === null || !page.events?.length)) s.seq = Math.max(s.seq ?? 0, page.seq);
  }
}
