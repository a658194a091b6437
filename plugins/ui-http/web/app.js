// Sign in, then two views over one connection.
import { h, replace, list, text, toast } from './dom.js';
import { Link, exchange, whoami, logout } from './link.js';
import { ChatView } from './chat.js';
import { StatusView } from './status.js';

const KEEP_ALIVE_MS = 60000; // a login lasts 30 minutes without requests; an open, visible page makes some
const LINK_TEXT = { connecting: 'connecting…', live: 'live', polling: 'polling', offline: 'offline', signed_out: 'signed out' };
const LINK_HINT = {
  connecting: 'Attaching to the host', live: 'Events arrive as they happen', polling: 'The WebSocket is unavailable: asking every 2 seconds',
  offline: 'The host cannot be reached; trying again', signed_out: 'Sign in again',
};

addEventListener('error', (event) => {
  if (event.error) toast('Something in this page failed; it goes on. Reload if it looks wrong.', 'bad');
});
addEventListener('unhandledrejection', (event) => {
  event.preventDefault();
  toast(text(event.reason?.message, 'Something in this page failed.'), 'bad');
});

class App {
  constructor() {
    this.person = { user: '', role: 'viewer' };
    this.main = document.getElementById('main');
    this.alerts = document.getElementById('alerts');
    this.dismissed = '';
  }

  async begin() {
    const token = new URLSearchParams(location.hash.replace(/^#/, '')).get('token');
    if (token) history.replaceState(null, '', location.pathname); // before anything else can see or store it
    try {
      this.person = token ? await exchange(token) : await whoami();
    } catch (error) {
      if (error.status === 401 || error.status === 403 || error.status === 429) return this.askToken(error.status === 401 && !token ? '' : error.message);
      return this.waitForHost();
    }
    return this.open();
  }

  waitForHost() {
    replace(this.main, h('div', { class: 'sign-in' }, h('h1', null, 'The host cannot be reached'), h('p', null, 'Trying again every few seconds.')));
    setTimeout(() => this.begin(), 3000);
  }

  askToken(problem) {
    this.link?.stop();
    this.view?.unmount();
    this.view = null;
    document.getElementById('top').replaceChildren();
    const input = h('input', { type: 'password', autocomplete: 'off', 'aria-label': 'Token', required: true, id: 'token' });
    const message = h('p', { class: 'error-text', role: 'alert' }, problem);
    replace(this.main, h('form', {
      class: 'sign-in',
      onsubmit: async (e) => {
        e.preventDefault();
        try {
          this.person = await exchange(input.value.trim());
          this.open();
        } catch (error) {
          message.textContent = error.message;
          input.select();
        }
      },
    }, h('h1', null, 'Sign in to Holdfast'), h('p', null, 'Open the link that ', h('code', null, 'holdfast run'), ' prints, or paste its token here. The token is also in the file ', h('code', null, 'token'), ' of the data directory.'),
    h('label', { for: 'token' }, 'Token'), input, h('button', { class: 'primary', type: 'submit' }, 'Sign in'), message));
    input.focus();
  }

  open() {
    this.link = new Link((state) => this.linkChanged(state));
    this.linkLabel = h('span', { class: 'link-state connecting', role: 'status' });
    const tab = (name, label) => h('a', { href: `#/${name}`, 'data-tab': name }, label);
    replace(document.getElementById('top'), h('a', { class: 'brand', href: '#/chat' }, h('img', { src: '/icon.svg', alt: '', width: 22, height: 22 }), 'Holdfast'),
      h('nav', { 'aria-label': 'Views' }, tab('chat', 'Chat'), tab('status', 'Status')), h('span', { class: 'spacer' }), this.linkLabel,
      h('button', { class: 'plain', title: `Signed in as ${text(this.person.user)} (${text(this.person.role)})`, onclick: () => this.signOut() }, 'Sign out'));
    this.chat = new ChatView(this);
    this.status = new StatusView(this);
    if (!this.routed) addEventListener('hashchange', () => this.route());
    this.routed = true;
    this.linkChanged('connecting');
    this.link.start();
    this.route();
    this.watch();
    clearInterval(this.keepAlive);
    this.keepAlive = setInterval(() => document.visibilityState === 'visible' && this.link.state === 'live' && this.link.call('host.health').catch(() => {}), KEEP_ALIVE_MS);
  }

  route() {
    if (!this.chat) return;
    const [, name, id] = /^#\/(\w+)(?:\/(.*))?$/.exec(location.hash) || [null, 'chat', ''];
    const view = name === 'status' ? this.status : this.chat;
    for (const a of document.querySelectorAll('[data-tab]')) a.setAttribute('aria-current', a.dataset.tab === (view === this.status ? 'status' : 'chat') ? 'page' : 'false');
    let session = '';
    try {
      session = decodeURIComponent(id || '');
    } catch {
      session = '';
    }
    if (this.view !== view) {
      this.view?.unmount();
      this.view = view;
      view.mount(this.main, session);
    } else if (view === this.chat && session) {
      this.chat.open(session);
    }
  }

  linkChanged(state) {
    this.linkLabel.textContent = LINK_TEXT[state] || state;
    this.linkLabel.title = LINK_HINT[state] || '';
    this.linkLabel.className = `link-state ${state}`;
    if (state === 'signed_out') {
      this.askToken('You were signed out. Open the link again, or paste the token.');
      return;
    }
    this.chat?.linkChanged(state);
    this.status?.linkChanged(state);
  }

  // Alerts reach every view. Two sources: what the host says, and what the rows show.
  watch() {
    this.link.subscribe({
      topic: 'session:admin_dashboard',
      onEvent: (e) => {
        if (e.type === 'critical_alert') this.alert(`${text(e.reason, 'Critical')}${list(e.mcp_names).length ? `: ${list(e.mcp_names).join(', ')}` : ''}`, `alert-${e.seq}`);
        else if (e.type === 'admin_notification' && e.severity === 'critical') this.alert(text(e.message), `alert-${e.seq}`);
      },
    });
  }

  serversSeen(rows) {
    const down = rows.filter((r) => r && (r.status === 'disconnected' || r.status === 'circuit_open')).map((r) => text(r.name));
    const wanted = rows.filter((r) => r && r.status !== 'disabled').length;
    if (down.length >= 2 && down.length * 2 >= wanted) this.alert(`${down.length} of ${wanted} MCP servers are failing: ${down.slice(0, 8).join(', ')}${down.length > 8 ? ' …' : ''}`, `down-${down.join()}`);
    else if (this.alertKey?.startsWith('down-')) this.alert('', '');
  }

  alert(message, key) {
    if (message && key === this.dismissed) return;
    this.alertKey = key;
    if (!message) this.alerts.replaceChildren();
    else {
      replace(this.alerts, h('div', { class: 'banner' }, h('strong', null, 'Alert '), h('span', null, message), h('a', { href: '#/status' }, 'Show'),
        h('button', { class: 'plain', 'aria-label': 'Dismiss the alert', onclick: () => { this.dismissed = key; this.alert('', ''); } }, '×')));
    }
  }

  async signOut() {
    try {
      await logout();
    } catch {
      // the login ends here anyway
    }
    this.askToken('You are signed out.');
  }
}

new App().begin();
