import { askForAnswer } from './answer.js';
import { get, post } from './api.js';
import { confirmed } from './confirm.js';
import { byId, el, row, say, table, time } from './dom.js';

export const STATES = {
  'in-progress': 'In progress',
  uncertain: 'Uncertain',
  parked: 'Parked',
  completed: 'Completed',
  tombstone: 'Done, no result',
};

const ACTIONS = {
  absent: {
    label: 'It has not happened',
    title: 'Has it not happened?',
    text: 'The next request with this key runs again, behind the steps that are finished. If it has happened, it happens twice.',
  },
  done: {
    label: 'It has happened',
    title: 'Has it happened?',
    text: 'It does not run again. Retries are told that it is done, and that there is no result to give.',
  },
  resolve: {
    label: 'It has happened, with this answer…',
  },
  redrive: {
    label: 'Try again',
    title: 'Let it be tried again?',
    text: 'When it is tried next, its attempts count from the beginning, behind the steps that are finished.',
  },
  discard: {
    label: 'Give up',
    title: 'Give it up?',
    text: 'It does not run again. Retries are told that there is no result to give, and messages are skipped.',
  },
  forget: {
    label: 'Forget',
    title: 'Forget this record?',
    text: 'The next request with this key runs as if it were the first. What has happened before happens twice.',
    isDangerous: true,
  },
};
const ACTIONS_OF = {
  'in-progress': [],
  uncertain: ['absent', 'done', 'resolve', 'forget'],
  parked: ['redrive', 'discard', 'forget'],
  completed: ['forget'],
  tombstone: ['forget'],
};

let next = null;
let isRevealed = false;
let afterChange = async () => undefined;

/** @param change what else is shown anew when a record has changed */
export function startRecords(change) {
  afterChange = change;
  byId('search').addEventListener('submit', (event) => {
    event.preventDefault();
    void showRecords();
  });
  byId('more').addEventListener('click', () => void showRecords(next));
}

export function reveal(value) {
  isRevealed = value;
}

export function filterByState(state) {
  byId('search').reset();
  byId('search').elements.state.value = state;
  return showRecords();
}

export const badge = (state) => el('span', { class: `state ${state}` }, STATES[state]);

export async function showRecords(after = null) {
  const { state, scope, key, operation } = Object.fromEntries(new FormData(byId('search')));
  try {
    const query = { state, after };
    const found = await get('records', { query, named: { scope, key, operation } });
    draw(found.records, after !== null);
    next = found.next;
    byId('more').hidden = next === null;
  } catch (error) {
    say(error.message, true);
  }
}

function draw(records, isMore) {
  const rows = records.map(rowOf);
  const body = byId('list').querySelector('tbody');
  if (isMore && body) {
    body.append(...rows);
    rows[0]?.querySelector('button').focus();
    return;
  }
  const heads = ['Record', 'Operation', 'State', 'Attempts', 'Begun'];
  if (isRevealed) heads.splice(1, 0, 'Key', 'Scope');
  const none = el('p', { class: 'empty' }, 'There are no such records.');
  byId('list').replaceChildren(rows.length === 0 ? none : table('Found records', heads, rows));
}

function rowOf(record) {
  const open = el(
    'button',
    { type: 'button', class: 'link', 'data-id': record.id, onclick: () => void show(record.id) },
    record.id.slice(0, 12),
  );
  const named = isRevealed ? [record.key ?? 'not kept', record.scope ?? 'not kept'] : [];
  const { operation, state, attemptsStarted, claimedAt } = record;
  return row(
    open,
    ...named,
    operation ?? '',
    badge(state),
    String(attemptsStarted),
    time(claimedAt),
  );
}

async function show(id) {
  const dialog = byId('record');
  try {
    const { record, steps } = await get(`records/${id}`);
    dialog.replaceChildren(...details(record, steps));
    if (!dialog.open) dialog.showModal();
  } catch (error) {
    say(error.message, true);
  }
}

function details(record, steps) {
  const { state, lastError } = record;
  const hidden = (text) => (text === null ? 'not kept' : isRevealed ? text : `${text} (masked)`);
  const facts = [
    ['State', badge(state)],
    ['Record', el('code', {}, record.id)],
    ['Operation', record.operation ?? 'not kept'],
    ['Key', hidden(record.key)],
    ['Scope', record.scope === '' ? 'none' : hidden(record.scope)],
    ['Attempts', `${record.attemptsStarted} begun, ${record.attemptsFinished} ended`],
    ['Fence', record.fence],
    ['Begun', time(record.claimedAt)],
    ['Lease until', record.leaseUntil && time(record.leaseUntil)],
    ['Kept until', record.expiresAt && time(record.expiresAt)],
    ['Last error', lastError && [lastError.name, lastError.message].filter(Boolean).join(': ')],
  ].filter(([, value]) => value);
  return [
    el('h2', { id: 'record-title', tabindex: '-1', autofocus: true }, 'Record'),
    el('dl', {}, facts.map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]).flat()),
    el('h3', {}, 'Finished steps'),
    stepsOf(steps, state),
    el(
      'div',
      { class: 'buttons' },
      ACTIONS_OF[state].map((action) => button(action, record)),
      el('button', { type: 'button', onclick: () => byId('record').close() }, 'Close'),
    ),
  ];
}

function stepsOf(steps, state) {
  if (steps === null) return el('p', { class: 'empty' }, 'They cannot be read.');
  if (steps.length > 0)
    return el(
      'ol',
      {},
      steps.map((name) => el('li', {}, name)),
    );
  const isOver = state === 'completed' || state === 'tombstone';
  const why = isOver ? 'They are not kept once there is an outcome.' : 'There are none.';
  return el('p', { class: 'empty' }, why);
}

function button(action, record) {
  const { label, isDangerous = false } = ACTIONS[action];
  const style = isDangerous ? { class: 'danger' } : {};
  return el('button', { type: 'button', ...style, onclick: () => void act(action, record) }, label);
}

async function act(action, record) {
  const { id } = record;
  try {
    const done = action === 'resolve' ? await askForAnswer(record) : await asked(action, record);
    if (done === undefined) return;
    byId('record').close();
    await Promise.all([showRecords(), afterChange()]);
    if (done) say(`Record ${id.slice(0, 12)}: done.`);
    else say('The record has changed meanwhile. Nothing was done.', true);
  } catch (error) {
    byId('record').close();
    say(error.message, true);
  }
  // what had the focus may be gone
  (document.querySelector(`[data-id="${id}"]`) ?? byId('records')).focus();
}

/** Whether it counted; `undefined` when it was not confirmed. */
async function asked(action, { id, fence }) {
  const { label, title, text } = ACTIONS[action];
  if (!(await confirmed({ title, text, yes: label }))) return undefined;
  return (await post(`records/${id}/${action}`, { query: { fence } })).done;
}
