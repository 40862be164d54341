import { get, post } from './api.js';
import { confirmed } from './confirm.js';
import { byId, el, row, say, table, time } from './dom.js';

const ACTIONS = {
  redrive: {
    label: 'Send again',
    title: 'Send this message again?',
    text: 'It is sent with all its attempts. A receiver that has had it already recognises its id.',
  },
  discard: {
    label: 'Discard',
    title: 'Discard this message?',
    text: 'It is deleted and never sent. Those behind it in its order are sent.',
    isDangerous: true,
  },
};

export async function showOutbox() {
  const { parked, pending, most } = await get('outbox');
  byId('messages').replaceChildren(
    ...listed('Parked messages', parked, most, (message) => [
      message.lastError ?? '',
      Object.keys(ACTIONS).map((action) => button(action, message)),
    ]),
    ...listed('Messages to be sent', pending, most),
  );
}

function listed(title, messages, most, more) {
  const count = messages.length === most ? `the oldest ${most}` : messages.length;
  const rows = messages.map((message) =>
    row(
      message.pattern,
      message.sink,
      message.orderingKey ?? '',
      String(message.attempts),
      time(message.createdAt),
      ...(more?.(message) ?? []),
    ),
  );
  const heads = ['Pattern', 'Sink', 'Ordering key', 'Attempts', 'Written'];
  const all = more ? [...heads, 'Last error', 'What to do'] : heads;
  const none = el('p', { class: 'empty' }, 'There are none.');
  return [el('h3', {}, `${title} (${count})`), rows.length === 0 ? none : table(title, all, rows)];
}

function button(action, message) {
  const { label, isDangerous = false } = ACTIONS[action];
  return el(
    'button',
    {
      type: 'button',
      class: isDangerous ? 'danger' : null,
      'aria-label': `${label}: ${message.pattern}, number ${message.position}`,
      onclick: () => void act(action, message),
    },
    label,
  );
}

async function act(action, { position, pattern }) {
  const { label, title, text } = ACTIONS[action];
  if (!(await confirmed({ title, text, yes: label }))) return;
  try {
    const { done } = await post(`outbox/${position}/${action}`);
    await showOutbox();
    if (done) say(`Message ${pattern}: done.`);
    else say('The message is no longer parked. Nothing was done.', true);
  } catch (error) {
    say(error.message, true);
  }
  byId('outbox-title').focus();
}
