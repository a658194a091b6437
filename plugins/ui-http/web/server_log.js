// The last lines of one server's stderr, followed while the panel is open. What a server writes is shown as text alone.
import { h, list, text } from './dom.js';

const FOLLOW_MS = 2000;
const LINES = 500;
const AT_END_PX = 24; // scrolled up by more than this: new lines do not pull the reader down

export class ServerLog {
  constructor(link) {
    this.link = link;
    this.name = null;
    this.title = h('h3', null);
    this.note = h('p', { class: 'warning-text', role: 'status' });
    this.lines = h('pre', { class: 'server-log', tabindex: 0 });
    this.root = h('section', { hidden: true, id: 'server-log', onkeydown: (e) => e.key === 'Escape' && this.close() },
      h('div', { class: 'toolbar' }, this.title, h('button', { onclick: () => this.close() }, 'Close')), this.note, this.lines);
  }

  // `from`: gets the focus back when the panel is closed.
  toggle(name, from) {
    if (this.name === name) return this.close();
    this.name = name;
    this.from = from;
    this.title.textContent = `Log of ${name}`;
    this.root.setAttribute('aria-label', `Log of ${name}`);
    this.lines.setAttribute('aria-label', `Last lines that ${name} wrote to stderr`);
    this.lines.textContent = 'Loading…';
    this.note.textContent = '';
    this.root.hidden = false;
    this.lines.focus();
    this.follow();
  }

  close() {
    clearTimeout(this.timer);
    this.name = null;
    this.root.hidden = true;
    this.from?.();
  }

  // Also for a page that is left: it goes on when the page is shown again.
  pause() {
    clearTimeout(this.timer);
  }

  async follow() {
    clearTimeout(this.timer);
    const name = this.name;
    if (name === null) return;
    if (document.visibilityState === 'visible') await this.read(name);
    if (this.name === name && this.root.isConnected) this.timer = setTimeout(() => this.follow(), FOLLOW_MS);
  }

  async read(name) {
    try {
      const got = list((await this.link.call('server.log', { name, limit: LINES }))?.lines).map((l) => text(l)).join('\n');
      if (this.name !== name) return;
      this.note.textContent = '';
      const shown = got || 'It has written nothing.';
      if (this.lines.textContent === shown) return;
      const atEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < AT_END_PX;
      this.lines.textContent = shown;
      if (atEnd) this.lines.scrollTop = this.lines.scrollHeight;
    } catch (error) {
      if (this.name === name) this.note.textContent = `Not current: ${error.message}`;
    }
  }
}
