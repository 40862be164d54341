/** An element. Properties that are functions are listeners: `onclick`. Text is only ever text. */
export function el(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

export const byId = (id) => document.getElementById(id);

const moment = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'short' });

export const time = (text) =>
  text == null ? 'no' : el('time', { datetime: text }, moment.format(new Date(text)));
export const clockTime = (ms) => clock.format(ms);

/** Wide tables scroll by themselves, also by keyboard. */
export function table(caption, heads, rows) {
  const head = el(
    'tr',
    {},
    heads.map((text) => el('th', { scope: 'col' }, text)),
  );
  return el(
    'div',
    { class: 'scroll', role: 'region', 'aria-label': caption, tabindex: '0' },
    el('table', {}, el('caption', {}, caption), el('thead', {}, head), el('tbody', {}, rows)),
  );
}

/** The first cell tells what the row is about. */
export function row(first, ...cells) {
  const rest = cells.map((cell) => el('td', {}, cell));
  return el('tr', {}, el('th', { scope: 'row' }, first), rest);
}

export function say(text, isError = false) {
  const status = byId('status');
  status.textContent = text;
  status.classList.toggle('error', isError);
}
