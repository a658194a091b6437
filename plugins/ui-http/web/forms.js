// A form from a flat JSON Schema object: what a tool asks a person for.
import { h, list, obj, text } from './dom.js';
import { webAddress } from './store.js';

function field(name, schema, required) {
  const s = obj(schema);
  const id = `field-${name}-${Math.random().toString(36).slice(2, 8)}`;
  const type = Array.isArray(s.type) ? s.type.find((t) => t !== 'null') : s.type;
  const choices = Array.isArray(s.enum) ? s.enum.map((v, i) => [v, list(s.enumNames)[i] ?? v]) : list(s.oneOf).filter((o) => obj(o).const !== undefined).map((o) => [o.const, o.title ?? o.const]);
  const label = [text(s.title, name), required ? h('span', { class: 'required', title: 'required' }, ' *') : null];
  const help = s.description ? h('div', { class: 'help', id: `${id}-help` }, text(s.description)) : null;
  const common = { id, name, 'aria-describedby': help ? `${id}-help` : null };
  let input;
  let read;
  if (choices.length) {
    input = h('select', { ...common, required }, required ? null : h('option', { value: '' }, '—'), choices.map(([value, title], i) => h('option', { value: String(i), selected: value === s.default }, text(title))));
    read = () => (input.value === '' ? undefined : choices[Number(input.value)]?.[0]);
  } else if (type === 'boolean') {
    input = h('input', { ...common, type: 'checkbox', checked: s.default === true });
    read = () => input.checked;
    return { read, node: h('div', { class: 'field' }, h('label', { class: 'check' }, input, ' ', label), help) };
  } else if (type === 'number' || type === 'integer') {
    input = h('input', { ...common, type: 'number', required, step: type === 'integer' ? 1 : 'any', min: s.minimum, max: s.maximum, value: s.default === undefined ? '' : String(s.default) });
    read = () => (input.value === '' ? undefined : Number(input.value));
  } else if (type === 'object' || (type === 'array' && !obj(s.items).enum)) {
    input = h('textarea', { ...common, rows: 3, required, placeholder: 'JSON', value: s.default === undefined ? '' : JSON.stringify(s.default) });
    read = () => (input.value.trim() === '' ? undefined : JSON.parse(input.value));
  } else if (type === 'array') {
    input = h('select', { ...common, multiple: true, required }, list(s.items.enum).map((v) => h('option', { value: text(v), selected: list(s.default).includes(v) }, text(v))));
    read = () => [...input.selectedOptions].map((o) => o.value);
  } else {
    const kind = { email: 'email', uri: 'url', date: 'date', 'date-time': 'datetime-local' }[s.format] || 'text';
    input = h('input', { ...common, type: kind, required, minlength: s.minLength, maxlength: s.maxLength, pattern: s.pattern, value: text(s.default), autocomplete: 'off' });
    read = () => {
      if (input.value === '' && !required) return undefined;
      if (kind === 'datetime-local' && input.value) return new Date(input.value).toISOString();
      return input.value;
    };
  }
  return { read, node: h('div', { class: 'field' }, h('label', { for: id }, label), input, help) };
}

// answer(action, content?) is called with 'accept', 'decline' or 'cancel'.
export function inputForm(request, answer) {
  const schema = obj(request.schema);
  const required = new Set(list(schema.required));
  const fields = Object.entries(obj(schema.properties)).map(([name, s]) => [name, field(name, s, required.has(name))]);
  const error = h('div', { class: 'error-text', role: 'alert' });
  const address = webAddress(text(request.url));
  const link = !request.url ? null
    : address ? h('div', { class: 'address' }, h('div', null, 'Site: ', h('strong', null, address.site)),
        h('a', { href: address.href, target: '_blank', rel: 'noopener noreferrer' }, address.href),
        h('div', { class: 'help' }, 'Nothing is opened by itself: open it if you trust the site, and accept.'))
      : h('div', { class: 'address' }, h('code', null, text(request.url)), h('div', { class: 'help' }, 'This is not an address of the web, so it is no link.'));
  return h('form', {
    class: 'input-form',
    onsubmit: (event) => {
      event.preventDefault();
      const content = {};
      for (const [name, f] of fields) {
        try {
          const value = f.read();
          if (value !== undefined) content[name] = value;
        } catch {
          error.textContent = `${name}: this is not valid JSON`;
          return;
        }
      }
      error.textContent = '';
      if (request.url) answer('accept');
      else answer('accept', content);
    },
  }, link, fields.map(([, f]) => f.node), error,
  h('div', { class: 'buttons' },
    h('button', { class: 'primary', type: 'submit' }, fields.length ? 'Send' : 'Accept'),
    h('button', { type: 'button', onclick: () => answer('decline') }, 'Decline'),
    h('button', { type: 'button', onclick: () => answer('cancel') }, 'Cancel')));
}
