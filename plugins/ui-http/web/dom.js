// Making nodes. Text always becomes a text node: nothing a model, a tool or a server says is ever parsed as HTML.

export const list = (x) => (Array.isArray(x) ? x : []);
export const text = (x, otherwise = '') => (typeof x === 'string' ? x : x === null || x === undefined ? otherwise : String(x));
export const num = (x, otherwise = 0) => (typeof x === 'number' && Number.isFinite(x) ? x : otherwise);
export const obj = (x) => (x && typeof x === 'object' && !Array.isArray(x) ? x : {});

const PROPERTIES = new Set(['value', 'checked', 'disabled', 'open', 'hidden', 'selected', 'readOnly', 'required', 'tabIndex']);

// h('button', {class: 'x', onclick: f, disabled: true}, 'text', node, [more]) — null, undefined and false children are skipped.
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value === null || value === undefined) continue;
    if (key.startsWith('on') && typeof value === 'function') node.addEventListener(key.slice(2), value);
    else if (PROPERTIES.has(key)) node[key] = value;
    else if (value === false) continue;
    else node.setAttribute(key, value === true ? '' : String(value));
  }
  append(node, children);
  return node;
}

export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === true) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

// Replaces the content only when `key` changed since the last time: keeps focus and selection where nothing happened.
export function replaceIf(node, key, make) {
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  replace(node, make());
}

export function ago(ms) {
  const s = Math.max(0, Math.round(num(ms) / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function clockTime(stamp) {
  const date = new Date(typeof stamp === 'number' ? stamp : text(stamp));
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleTimeString();
}

export function pretty(value) {
  if (typeof value === 'string') return value;
  try {
    return JSON.stringify(value, null, 2) ?? '';
  } catch {
    return String(value);
  }
}

const TOAST_MS = 7000;
const MAX_TOASTS = 4;
export function toast(message, kind = 'info') {
  const box = document.getElementById('toasts');
  if (!box) return;
  const close = () => item.remove();
  const item = h('div', { class: `toast ${kind}` }, h('span', null, text(message)), h('button', { class: 'plain', 'aria-label': 'Dismiss', onclick: close }, '×'));
  box.append(item);
  while (box.children.length > MAX_TOASTS) box.firstChild.remove();
  setTimeout(close, TOAST_MS);
}
