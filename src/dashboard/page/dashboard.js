import { get } from './api.js';
import { showActivity } from './chart.js';
import { byId, el, say } from './dom.js';
import { showOutbox } from './outbox.js';
import { badge, filterByState, reveal, showRecords, startRecords, STATES } from './records.js';

const EVERY_MS = 10_000;

async function showOverview() {
  const { store, counts, most, isRevealed, hasOutbox } = await get('overview');
  reveal(isRevealed);
  byId('about').textContent =
    `Store: ${store}. ${isRevealed ? 'Keys are shown.' : 'Keys are masked.'}`;
  const count = (state) => el('b', {}, counts[state] === most ? `${most}+` : String(counts[state]));
  const tiles = Object.keys(STATES).map((state) =>
    el(
      'li',
      {},
      el(
        'button',
        { type: 'button', class: 'tile', onclick: () => void showThose(state) },
        count(state),
        badge(state),
      ),
    ),
  );
  const expired = el('span', { class: 'state' }, 'Expired');
  const last = el('li', {}, el('div', { class: 'tile' }, count('expired'), expired));
  byId('states').replaceChildren(...tiles, last);
  byId('outbox').hidden = !hasOutbox;
  if (hasOutbox) await showOutbox();
}

async function showThose(state) {
  await filterByState(state);
  byId('records').focus();
}

/** Errors are told, and nothing else stops. */
async function told(work) {
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  }
}

async function showAll() {
  await told(showOverview);
  await Promise.all([told(showActivity), showRecords()]);
}

byId('refresh').addEventListener('click', async () => {
  say('');
  await showAll();
  if (byId('status').textContent === '') say('Refreshed.');
});
byId('range').addEventListener('change', () => void told(showActivity));
setInterval(() => {
  if (byId('live').checked && !document.hidden) void told(showActivity);
}, EVERY_MS);
startRecords(() => told(showOverview));
await showAll();
document.documentElement.dataset.ready = '';
