import { post } from './api.js';
import { confirmed } from './confirm.js';
import { byId } from './dom.js';

const dialog = byId('answer');
const form = byId('answer-form');
const error = byId('answer-error');
const MOST_SHOWN = 300;
let given = async () => undefined;

/**
 * Asks for the answer that retries of an uncertain record are to get, and gives it.
 *
 * @returns whether it counted; `undefined` when somebody thought better of it
 */
export function askForAnswer({ id, fence, operation }) {
  const isRequest = operation === 'http';
  byId('answer-text').textContent = isRequest
    ? 'The response that every retry of this request gets. Write what the application would have answered.'
    : 'What every retry gets: the result of the handler or method. Write what it would have answered.';
  form.reset();
  form.elements.status.value = '200';
  for (const label of form.querySelectorAll('label')) {
    label.hidden = label.classList.contains(isRequest ? 'value' : 'request');
  }
  complain('');
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    given = async () => {
      const verdict = isRequest ? responseIn(form.elements) : resultIn(form.elements);
      if (verdict === undefined) return;
      if (!(await confirmed(question(verdict)))) return;
      try {
        const body = { verdict: JSON.stringify(verdict) };
        const { done } = await post(`records/${id}/resolve`, { query: { fence }, body });
        resolve(done);
        dialog.close();
      } catch (failure) {
        complain(failure.message);
      }
    };
    dialog.addEventListener('close', () => resolve(undefined), { once: true });
  });
}

function question(verdict) {
  const told = JSON.stringify(verdict);
  return {
    title: 'Give this answer to every retry?',
    text: `It does not run again, and cannot be changed but by forgetting the record. ${told.length > MOST_SHOWN ? `${told.slice(0, MOST_SHOWN)}…` : told}`,
    yes: 'Give this answer',
  };
}

function resultIn({ result }) {
  const value = jsonIn(result);
  return value && { result: value.json };
}

function responseIn({ status, headers, kind, body }) {
  const code = Number(status.value);
  if (!Number.isInteger(code) || code < 200 || code > 599) {
    return complain('The status is a number from 200 to 599.', status);
  }
  const lines = headers.value.split('\n').filter((line) => line.trim() !== '');
  const pairs = lines.map((line) => /^\s*([^\s:]+)\s*:\s*(.*?)\s*$/.exec(line));
  if (pairs.includes(null)) {
    return complain(
      'Write each header in a line of its own, such as Location: /orders/17',
      headers,
    );
  }
  const named = pairs.length > 0 && { headers: together(pairs) };
  if (kind.value === 'none') return { response: { status: code, ...named } };
  const content = kind.value === 'text' ? { json: body.value } : jsonIn(body);
  return content && { response: { status: code, ...named, body: content.json } };
}

/** A header may come more than once. */
function together(pairs) {
  const headers = {};
  for (const [, name, value] of pairs) {
    headers[name] = Object.hasOwn(headers, name) ? [headers[name], value].flat() : value;
  }
  return headers;
}

function jsonIn(field) {
  try {
    return { json: JSON.parse(field.value) };
  } catch {
    return complain('This is not JSON. Text stands in double quotes.', field);
  }
}

/** Said by screen readers too, and the focus goes where it is wrong. */
function complain(sentence, field) {
  error.textContent = sentence;
  for (const element of form.elements) {
    const marks = { 'aria-invalid': 'true', 'aria-describedby': error.id };
    for (const [name, value] of Object.entries(marks)) {
      if (element === field) element.setAttribute(name, value);
      else element.removeAttribute(name);
    }
  }
  field?.focus();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void given();
});
byId('answer-cancel').addEventListener('click', () => dialog.close());
