// A small, safe subset of Markdown: text → tree (plain arrays, testable anywhere) → DOM nodes. No HTML, no images, links only to
// http, https and mailto.

const MAX_DEPTH = 8;
const MAX_INLINE = 20000; // characters of one paragraph that are looked at for markup; the rest stays plain

export function safeUrl(url) {
  return /^(https?:\/\/|mailto:)[^\s]+$/i.test(url) ? url : null;
}

// Inline nodes: 'text' | ['code', text] | ['strong'|'em'|'del', children] | ['a', href, children] | ['br']
export function parseInline(source, depth = 0) {
  if (depth > MAX_DEPTH || source.length > MAX_INLINE) return [source];
  const out = [];
  let plain = '';
  const flush = () => {
    if (plain) out.push(plain);
    plain = '';
  };
  let i = 0;
  while (i < source.length) {
    const c = source[i];
    const rest = source.slice(i, i + 2100);
    let m;
    if (c === '\\' && /[\\`*_{}[\]()#+\-.!~|>]/.test(source[i + 1] || '')) {
      plain += source[i + 1];
      i += 2;
    } else if (c === '`' && (m = /^(`+)([^]*?[^`])\1(?!`)/.exec(rest))) {
      flush();
      out.push(['code', m[2].trim() || m[2]]);
      i += m[0].length;
    } else if ((c === '*' || c === '_') && (m = /^(\*\*|__)(?=\S)([^]*?\S)\1/.exec(rest)) && !(c === '_' && /\w/.test(source[i - 1] || ''))) {
      flush();
      out.push(['strong', parseInline(m[2], depth + 1)]);
      i += m[0].length;
    } else if ((c === '*' || c === '_') && (m = /^([*_])(?=\S)([^*_]*?[^\s*_])\1(?![*_\w])/.exec(rest)) && !(c === '_' && /\w/.test(source[i - 1] || ''))) {
      flush();
      out.push(['em', parseInline(m[2], depth + 1)]);
      i += m[0].length;
    } else if (c === '~' && (m = /^~~(?=\S)([^]*?\S)~~/.exec(rest))) {
      flush();
      out.push(['del', parseInline(m[1], depth + 1)]);
      i += m[0].length;
    } else if ((c === '[' || (c === '!' && source[i + 1] === '[')) && (m = /^!?\[([^\]]*)\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/.exec(rest))) {
      flush();
      const href = safeUrl(m[2]);
      const label = parseInline(m[1] || m[2], depth + 1);
      if (href) out.push(['a', href, label]);
      else out.push(...label);
      i += m[0].length;
    } else if (c === 'h' && !/\w/.test(source[i - 1] || '') && (m = /^https?:\/\/[^\s<>"')\]]+[^\s<>"')\].,;:!?]/.exec(rest))) {
      flush();
      out.push(['a', m[0], [m[0]]]);
      i += m[0].length;
    } else if (c === '\n') {
      flush();
      out.push(['br']);
      i += 1;
    } else {
      plain += c;
      i += 1;
    }
  }
  flush();
  return out;
}

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

const cells = (line) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((cell) => cell.trim());

// Blocks: ['p', inline] | ['h', level, inline] | ['pre', language, text, closed] | ['ul'|'ol', [blocks…], start] | ['quote', blocks]
//         | ['table', head, rows] | ['hr']
export function parseBlocks(source, depth = 0) {
  const lines = source.split('\n');
  const out = [];
  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    let m;
    if (!line.trim()) {
      i += 1;
    } else if ((m = FENCE.exec(line))) {
      const body = [];
      const fence = m[1];
      i += 1;
      let closed = false;
      while (i < lines.length) {
        if (lines[i].trim().startsWith(fence) && /^[`~]+$/.test(lines[i].trim())) {
          closed = true;
          i += 1;
          break;
        }
        body.push(lines[i]);
        i += 1;
      }
      out.push(['pre', m[2], body.join('\n'), closed]);
    } else if ((m = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line))) {
      out.push(['h', m[1].length, parseInline(m[2])]);
      i += 1;
    } else if (/^ {0,3}([-*_])\s*(\1\s*){2,}$/.test(line)) {
      out.push(['hr']);
      i += 1;
    } else if (/^ {0,3}>/.test(line) && depth < MAX_DEPTH) {
      const body = [];
      while (i < lines.length && /^ {0,3}>/.test(lines[i])) body.push(lines[i++].replace(/^ {0,3}> ?/, ''));
      out.push(['quote', parseBlocks(body.join('\n'), depth + 1)]);
    } else if ((m = ITEM.exec(line)) && depth < MAX_DEPTH) {
      const ordered = /\d/.test(m[2]);
      const indent = m[1].length;
      const items = [];
      const start = ordered ? parseInt(m[2], 10) : 1;
      while (i < lines.length) {
        const item = ITEM.exec(lines[i]);
        if (!item || item[1].length > indent + 1 || item[1].length < indent || /\d/.test(item[2]) !== ordered) break;
        const body = [item[3]];
        const inner = item[1].length + item[2].length + 1;
        i += 1;
        while (i < lines.length) {
          const next = lines[i];
          const lead = next.length - next.trimStart().length;
          if (!next.trim() && i + 1 < lines.length && lines[i + 1].startsWith(' '.repeat(inner)) && lines[i + 1].trim()) body.push('');
          else if (next.trim() && (lead >= inner || (lead > indent && ITEM.test(next)))) body.push(next.slice(Math.min(lead, inner)));
          else if (next.trim() && lead <= indent && !ITEM.test(next) && !FENCE.test(next) && !/^\s*(#{1,6}\s|>)/.test(next) && body[body.length - 1] !== '') body.push(next.trimStart());
          else break;
          i += 1;
        }
        items.push(parseBlocks(body.join('\n'), depth + 1));
        while (i + 1 < lines.length && !lines[i].trim() && ITEM.test(lines[i + 1])) i += 1;
      }
      out.push([ordered ? 'ol' : 'ul', items, start]);
    } else if (line.includes('|') && i + 1 < lines.length && TABLE_RULE.test(lines[i + 1]) && lines[i + 1].includes('-') && lines[i + 1].includes('|')) {
      const head = cells(line).map((cell) => parseInline(cell));
      const rows = [];
      i += 2;
      while (i < lines.length && lines[i].includes('|') && lines[i].trim()) rows.push(cells(lines[i++]).slice(0, head.length).map((cell) => parseInline(cell)));
      out.push(['table', head, rows]);
    } else {
      const body = [line.trimStart()];
      i += 1;
      while (i < lines.length && lines[i].trim() && !FENCE.test(lines[i]) && !/^ {0,3}(#{1,6}\s|>)/.test(lines[i]) && !(ITEM.test(lines[i]) && depth < MAX_DEPTH)) body.push(lines[i++]);
      out.push(['p', parseInline(body.join('\n'))]);
    }
  }
  return out;
}

function inlineNodes(nodes) {
  return nodes.map((node) => {
    if (typeof node === 'string') return document.createTextNode(node);
    const element = document.createElement(node[0]);
    if (node[0] === 'code') element.textContent = node[1];
    else if (node[0] === 'a') {
      element.href = node[1];
      element.rel = 'noopener noreferrer nofollow';
      element.target = '_blank';
      element.append(...inlineNodes(node[2]));
    } else if (node[1]) element.append(...inlineNodes(node[1]));
    return element;
  });
}

function codeBlock([, language, body]) {
  const box = document.createElement('div');
  box.className = 'code';
  const bar = document.createElement('div');
  bar.className = 'code-bar';
  const name = document.createElement('span');
  name.textContent = language || 'text';
  const copy = document.createElement('button');
  copy.type = 'button';
  copy.className = 'plain';
  copy.textContent = 'Copy';
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(body);
      copy.textContent = 'Copied';
    } catch {
      copy.textContent = 'Select and copy by hand';
    }
    setTimeout(() => (copy.textContent = 'Copy'), 1500);
  });
  bar.append(name, copy);
  const pre = document.createElement('pre');
  pre.tabIndex = 0;
  const code = document.createElement('code');
  code.textContent = body;
  pre.append(code);
  box.append(bar, pre);
  return box;
}

function blockNodes(blocks) {
  return blocks.map((block) => {
    switch (block[0]) {
      case 'pre':
        return codeBlock(block);
      case 'h': {
        const element = document.createElement(`h${Math.min(6, block[1] + 2)}`); // the page's own headings are h1 and h2
        element.append(...inlineNodes(block[2]));
        return element;
      }
      case 'hr':
        return document.createElement('hr');
      case 'quote': {
        const element = document.createElement('blockquote');
        element.append(...blockNodes(block[1]));
        return element;
      }
      case 'ul':
      case 'ol': {
        const element = document.createElement(block[0]);
        if (block[0] === 'ol' && block[2] !== 1) element.start = block[2];
        for (const item of block[1]) {
          const li = document.createElement('li');
          if (item.length === 1 && item[0][0] === 'p') li.append(...inlineNodes(item[0][1]));
          else li.append(...blockNodes(item));
          element.append(li);
        }
        return element;
      }
      case 'table': {
        const box = document.createElement('div');
        box.className = 'scroll';
        const table = document.createElement('table');
        const row = (tag, values) => {
          const tr = document.createElement('tr');
          for (const value of values) {
            const cell = document.createElement(tag);
            cell.append(...inlineNodes(value));
            tr.append(cell);
          }
          return tr;
        };
        table.append(row('th', block[1]), ...block[2].map((values) => row('td', values)));
        box.append(table);
        return box;
      }
      default: {
        const p = document.createElement('p');
        p.append(...inlineNodes(block[1]));
        return p;
      }
    }
  });
}

export function render(source) {
  const box = document.createElement('div');
  box.className = 'markdown';
  box.append(...blockNodes(parseBlocks(String(source ?? ''))));
  return box;
}
