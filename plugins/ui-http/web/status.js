// The status page: servers, plugins, the supervision tree, events as they happen. Whatever fails, the rest is still shown.
import { h, replace, list, text, num, obj, toast, ago, clockTime } from './dom.js';
import { ACTIONS, buttonStates, readiness } from './server_buttons.js';
import { ServerLog } from './server_log.js';

const REFRESH_MS = 10000;         // while events arrive by themselves
const POLL_MS = 2000;             // without them
const AFTER_EVENT_MS = 250;
const MIN_BETWEEN_MS = 1000;      // however many events: a mass failure must not become a mass of requests
const MAX_EVENTS = 300;
const EVENT_TOPICS = ['session:admin_dashboard', 'supervision', 'health', 'session:system'];
const STATUS_TEXT = { healthy: 'healthy', disconnected: 'disconnected', circuit_open: 'circuit open', disabled: 'disabled' };

export class StatusView {
  constructor(app) {
    this.app = app;
    this.link = app.link;
    this.data = { health: null, servers: null, plugins: null, tree: null, llm: null };
    this.failed = {};
    this.busy = new Set(); // "server/name" while an action is under way
    this.events = [];
    this.paused = false;
    this.closedNodes = new Set();
    this.subscriptions = [];
    this.build();
  }

  build() {
    this.summary = h('div', { class: 'cards' });
    this.servers = h('div', { class: 'scroll' });
    this.serverLog = new ServerLog(this.link);
    this.plugins = h('div', { class: 'scroll' });
    this.tree = h('div', { class: 'tree', role: 'tree', 'aria-label': 'Supervision tree' });
    this.log = h('ol', { class: 'events', tabindex: 0, 'aria-label': 'Events, newest first' });
    this.filter = h('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter events', oninput: () => this.paintLog() });
    this.pauseButton = h('button', { onclick: () => { this.paused = !this.paused; this.pauseButton.textContent = this.paused ? 'Go on' : 'Pause'; if (!this.paused) this.paintLog(); } }, 'Pause');
    const section = (title, ...content) => h('section', { class: 'panel' }, h('h2', null, title), ...content);
    this.root = h('div', { class: 'status' }, h('h1', { class: 'visually-hidden' }, 'Status'), this.summary,
      section('MCP servers', this.servers, this.serverLog.root), section('Plugins', this.plugins),
      h('div', { class: 'two' }, section('Supervision tree', this.tree),
        section('Events', h('div', { class: 'toolbar' }, this.filter, this.pauseButton, h('button', { onclick: () => { this.events = []; this.paintLog(); } }, 'Clear')), this.log)));
  }

  mount(root) {
    replace(root, this.root);
    document.title = 'Status · Holdfast';
    for (const topic of EVENT_TOPICS)
      this.subscriptions.push(this.link.subscribe({ topic, onEvent: (e) => this.event(topic, e), onReset: () => this.refreshSoon() }));
    this.mounted = true;
    this.refresh();
    this.schedule();
    this.paint();
    this.serverLog.follow();
  }

  unmount() {
    this.mounted = false;
    this.serverLog.pause();
    clearTimeout(this.timer);
    clearTimeout(this.soon);
    for (const s of this.subscriptions) s.close();
    this.subscriptions = [];
  }

  linkChanged() {
    if (!this.mounted) return;
    this.schedule();
    this.refreshSoon();
    this.paint();
  }

  offline() {
    return this.link.state === 'offline' || this.link.state === 'signed_out' || (this.link.state === 'connecting' && !this.data.servers);
  }

  schedule() {
    clearTimeout(this.timer);
    if (!this.mounted) return;
    this.timer = setTimeout(async () => {
      if (document.visibilityState === 'visible') await this.refresh();
      this.schedule();
    }, this.link.state === 'live' ? REFRESH_MS : POLL_MS);
  }

  refreshSoon() {
    if (!this.mounted || this.soon) return;
    const wait = Math.max(AFTER_EVENT_MS, MIN_BETWEEN_MS - (Date.now() - (this.lastRefresh || 0)));
    this.soon = setTimeout(() => {
      this.soon = null;
      this.refresh();
    }, wait);
  }

  // Each part by itself: one that fails keeps what was known and says that it is old.
  async refresh() {
    if (this.refreshing) {
      this.again = true;
      return;
    }
    this.refreshing = true;
    this.lastRefresh = Date.now();
    const parts = { health: 'host.health', servers: 'server.list', plugins: 'plugin.list', tree: 'host.tree', llm: 'llm.list' };
    await Promise.all(Object.entries(parts).map(async ([key, method]) => {
      try {
        this.data[key] = await this.link.call(method, {});
        delete this.failed[key];
      } catch (error) {
        this.failed[key] = error.message;
      }
    }));
    this.refreshing = false;
    this.app.serversSeen(list(this.data.servers?.servers));
    if (this.mounted) this.paint();
    if (this.again) {
      this.again = false;
      this.refreshSoon();
    }
  }

  event(topic, e) {
    this.events.unshift({ topic, ...obj(e), seen: Date.now() });
    if (this.events.length > MAX_EVENTS) this.events.length = MAX_EVENTS;
    if (e.type === 'mcp_status_change') {
      const row = list(this.data.servers?.servers).find((s) => s?.name === e.mcp_name);
      if (row) {
        row.status = text(e.new_status, row.status);
        row.reason = text(e.reason, row.reason);
        row.recovery_eta = e.recovery_eta ?? row.recovery_eta;
        this.app.serversSeen(list(this.data.servers?.servers));
      }
    }
    this.refreshSoon();
    this.paintSoon();
  }

  paintSoon() {
    if (this.frame || !this.mounted) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.paintServers();
      this.paintLog();
    });
  }

  paint() {
    this.paintSummary();
    this.paintServers();
    this.paintPlugins();
    this.paintTree();
    this.paintLog();
  }

  stale(key) {
    return this.failed[key] ? h('p', { class: 'warning-text' }, this.data[key] ? `Not current: ${this.failed[key]}` : `Not available: ${this.failed[key]}`) : null;
  }

  paintSummary() {
    const health = obj(this.data.health);
    const servers = obj(health.servers);
    const plugins = obj(health.plugins);
    const llm = obj(this.data.llm);
    const down = num(servers.disconnected) + num(servers.circuit_open);
    const offline = this.offline();
    const overall = offline ? 'unreachable' : text(health.status, 'unknown');
    const card = (label, value, kind, detail) => h('div', { class: `card ${kind}` }, h('div', { class: 'label' }, label), h('div', { class: 'value' }, value), h('div', { class: 'quiet' }, detail));
    const store = obj(health.store);
    const inactive = Object.entries(plugins).filter(([state, n]) => state !== 'active' && num(n) > 0).map(([state, n]) => `${n} ${state.replace(/_/g, ' ')}`).join(', ');
    const readOnly = health.store && store.writable === false;
    replace(this.summary,
      card('Host', overall, overall === 'ok' || overall === 'healthy' ? 'good' : offline ? 'bad' : 'warn', health.uptime_ms ? `up ${ago(health.uptime_ms)}` : ''),
      card('Servers', `${num(servers.healthy)} healthy`, down ? 'warn' : 'good', [num(servers.disconnected) && `${servers.disconnected} disconnected`, num(servers.circuit_open) && `${servers.circuit_open} circuit open`, num(servers.disabled) && `${servers.disabled} disabled`].filter(Boolean).join(', ') || 'none in trouble'),
      card('Plugins', `${num(plugins.active)} active`, num(plugins.failed) || num(plugins.quarantined) ? 'warn' : 'good', inactive || 'all active'),
      card('Store', readOnly ? 'read-only' : health.store ? 'writable' : 'unknown', readOnly ? 'bad' : health.store ? 'good' : 'warn', readOnly ? text(store.reason, 'new messages are refused') : ''),
      card('Model', text(llm.chosen, text(llm.default, 'unknown')), llm.chosen ? 'good' : 'warn', text(llm.reason)));
    const problem = this.stale('health');
    if (problem) this.summary.append(problem);
  }

  async act(key, method, params, done) {
    if (this.busy.has(key)) return;
    this.busy.add(key);
    this.paint();
    try {
      await this.link.call(method, params);
      toast(done);
    } catch (error) {
      toast(`${text(params.name || params.id)}: ${error.message}`, 'bad');
    }
    this.busy.delete(key);
    await this.refresh();
  }

  keepFocus(box, make) {
    const focused = box.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    replace(box, make());
    if (focused) box.querySelector(`[data-act="${CSS.escape(focused)}"]`)?.focus();
  }

  paintServers() {
    this.keepFocus(this.servers, () => {
      const rows = list(this.data.servers?.servers).filter((r) => r && typeof r === 'object');
      const offline = this.offline();
      const stale = this.stale('servers');
      if (!rows.length) return [stale, h('p', { class: 'quiet' }, this.data.servers ? 'No MCP server is configured. Add one under "mcpServers" of the configuration.' : stale ? '' : 'Loading…')];
      return [stale, h('table', null,
        h('thead', null, h('tr', null, ['Server', 'Status', 'Tools', 'Circuit', 'Failures', 'Downtime', 'Recovery', 'Last check', 'Actions'].map((t) => h('th', { scope: 'col' }, t)))),
        h('tbody', null, rows.map((r) => this.serverRow(r, offline))))];
    });
  }

  serverRow(r, offline) {
    const name = text(r.name, '?');
    const ready = readiness(r.status, offline);
    const states = buttonStates(r, { offline, busy: this.busy.has(`server/${name}`), role: this.app.person.role });
    const downtime = num(r.total_downtime_seconds);
    return h('tr', { 'data-server': name },
      h('th', { scope: 'row' }, h('span', { class: `light ${ready.disabled ? 'off' : 'on'}`, title: ready.tooltip }), name, h('div', { class: 'quiet' }, [text(r.transport), text(r.protocol_version)].filter(Boolean).join(' · '))),
      h('td', null, h('span', { class: `pill ${text(r.status)}` }, STATUS_TEXT[r.status] || text(r.status, 'unknown')), r.reason && r.status !== 'healthy' ? h('div', { class: 'quiet reason' }, text(r.reason)) : null),
      h('td', null, Array.isArray(r.tools) ? r.tools.length : num(r.tools)),
      h('td', null, text(r.circuit_state, '—').replace(/_/g, ' ')),
      h('td', null, num(r.consecutive_failures)),
      h('td', null, downtime ? ago(downtime * 1000) : '—'),
      h('td', null, this.eta(r)),
      h('td', null, r.last_check ? clockTime(r.last_check) || text(r.last_check) : '—'),
      h('td', { class: 'actions' }, ACTIONS.map((a) => h('button', { 'data-act': `server/${name}/${a}`, 'aria-disabled': states[a].disabled ? 'true' : null, class: states[a].disabled ? 'off' : '', title: states[a].tooltip, 'aria-label': `${a} ${name}: ${states[a].tooltip}`, onclick: () => !states[a].disabled && this.act(`server/${name}`, `server.${a}`, { name }, `${name}: ${a} done`) }, a)), this.logButton(name)));
  }

  logButton(name) {
    const open = this.serverLog.name === name;
    const act = `server/${name}/log`;
    const back = () => {
      this.paintServers();
      this.servers.querySelector(`[data-act="${CSS.escape(act)}"]`)?.focus();
    };
    const toggle = () => {
      this.serverLog.toggle(name, back);
      this.paintServers();
    };
    return h('button', { 'data-act': act, 'aria-expanded': open ? 'true' : 'false', 'aria-controls': 'server-log', 'aria-label': `log ${name}`, title: 'What it wrote to stderr', onclick: toggle }, 'log');
  }

  eta(r) {
    const eta = r.recovery_eta;
    if (eta === null || eta === undefined || eta === '' || r.status === 'healthy') return '—';
    if (typeof eta === 'number') return eta > 1e11 ? `in ${ago(eta - Date.now())}` : `in ${ago(eta * 1000)}`;
    const at = Date.parse(eta);
    return Number.isNaN(at) ? text(eta) : `in ${ago(at - Date.now())}`;
  }

  paintPlugins() {
    this.keepFocus(this.plugins, () => {
      const rows = list(this.data.plugins?.plugins).filter((r) => r && typeof r === 'object');
      const stale = this.stale('plugins');
      if (!rows.length) return [stale, h('p', { class: 'quiet' }, stale ? '' : 'Loading…')];
      const offline = this.offline();
      return [stale, h('table', null,
        h('thead', null, h('tr', null, ['Plugin', 'Kind', 'State', 'Restarts', 'Version', 'Actions'].map((t) => h('th', { scope: 'col' }, t)))),
        h('tbody', null, rows.map((r) => {
          const id = text(r.id, '?');
          const admin = this.app.person.role === 'admin';
          const running = r.state === 'active';
          const why = offline ? 'Dashboard offline' : !admin ? 'Only administrators may do this' : this.busy.has(`plugin/${id}`) ? 'Working on it...' : '';
          const button = (action, enabled, tip) => h('button', { 'data-act': `plugin/${id}/${action}`, 'aria-disabled': why || !enabled ? 'true' : null, class: why || !enabled ? 'off' : '', title: why || tip, onclick: () => !why && enabled && this.act(`plugin/${id}`, `plugin.${action}`, { id }, `${id}: ${action} done`) }, action);
          return h('tr', { 'data-plugin': id },
            h('th', { scope: 'row' }, id, h('div', { class: 'quiet' }, text(r.use))), h('td', null, text(r.kind)),
            h('td', null, h('span', { class: `pill ${text(r.state)}` }, text(r.state, 'unknown').replace(/_/g, ' ')), r.reason ? h('div', { class: 'quiet reason' }, text(r.reason)) : null),
            h('td', null, num(r.restarts)), h('td', null, text(r.version)),
            h('td', { class: 'actions' }, button('start', !running, running ? 'Already running' : 'Start it'), button('stop', running, running ? 'Stop it' : 'Not running'), button('restart', running, running ? 'Stop and start again' : 'Not running')));
        })))];
    });
  }

  paintTree() {
    const tree = this.data.tree;
    const node = (n, path, depth) => {
      const o = obj(n);
      const children = depth > 40 ? [] : list(o.children);
      const id = text(o.id, '?');
      const here = `${path}/${id}`;
      const line = [h('span', { class: `dot ${text(o.state)}`, title: text(o.state) }), h('span', { class: 'node-id' }, id), h('span', { class: 'quiet' }, [text(o.kind), text(o.state), o.pid ? `pid ${o.pid}` : '', num(o.restarts) ? `${o.restarts} restarts` : '', o.uptime_ms ? `up ${ago(o.uptime_ms)}` : '', o.last_exit && num(o.restarts) ? `last exit: ${typeof o.last_exit === 'string' ? o.last_exit : JSON.stringify(o.last_exit)}` : ''].filter(Boolean).join(' · '))];
      if (!children.length) return h('div', { class: 'leaf', role: 'treeitem' }, line);
      const details = h('details', { open: !this.closedNodes.has(here), role: 'treeitem', ontoggle: () => (details.open ? this.closedNodes.delete(here) : this.closedNodes.add(here)) }, h('summary', null, line), h('div', { role: 'group' }, children.map((c) => node(c, here, depth + 1))));
      return details;
    };
    replace(this.tree, this.stale('tree'), tree ? node(tree.root || tree, '', 0) : h('p', { class: 'quiet' }, this.failed.tree ? '' : 'Loading…'));
  }

  paintLog() {
    if (this.paused) return;
    const wanted = this.filter.value.trim().toLowerCase();
    const rows = [];
    for (const e of this.events) {
      const line = describe(e);
      if (wanted && !`${e.topic} ${e.type} ${line}`.toLowerCase().includes(wanted)) continue;
      rows.push(h('li', { class: severity(e) }, h('time', null, clockTime(e.timestamp) || clockTime(e.seen)), h('span', { class: 'type' }, text(e.type || e.event, 'event')), h('span', null, line)));
      if (rows.length >= 100) break;
    }
    replace(this.log, rows.length ? rows : h('li', { class: 'quiet' }, 'Nothing has happened yet.'));
  }
}

function severity(e) {
  if (e.type === 'critical_alert' || e.severity === 'critical' || e.type === 'circuit_opened') return 'bad';
  if (e.type === 'start_error' || e.type === 'child_terminated' || e.severity === 'warning' || (e.type === 'mcp_status_change' && e.new_status !== 'healthy')) return 'warn';
  return '';
}

function describe(e) {
  switch (e.type) {
    case 'mcp_status_change':
      return `${text(e.mcp_name)}: ${text(e.old_status)} → ${text(e.new_status)}${e.reason ? ` (${text(e.reason)})` : ''}`;
    case 'recovery_progress':
      return `${text(e.mcp_name)}: attempt ${num(e.attempt)}${e.max_attempts ? ` of ${e.max_attempts}` : ''} ${text(e.status)}`;
    case 'circuit_opened':
      return `${text(e.mcp_name)}: ${text(e.reason)}`;
    case 'critical_alert':
      return `${list(e.mcp_names).join(', ')}: ${text(e.reason)}`;
    case 'admin_notification':
      return text(e.message);
    default: {
      const rest = { ...e };
      for (const key of ['topic', 'seq', 'epoch', 'type', 'timestamp', 'seen', 'spec']) delete rest[key];
      return Object.entries(rest).map(([k, v]) => `${k}=${typeof v === 'object' ? JSON.stringify(v) : v}`).join(' ').slice(0, 300);
    }
  }
}
