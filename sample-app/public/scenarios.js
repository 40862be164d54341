import { uuidv7 } from '/client/index.js';
import { ready } from './shop.js';

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * What can go wrong. `wishes` is how many purchases were wanted, and `units` how many teas; `run(buy)` makes the
 * requests. Each wish has one key, whatever becomes of its requests.
 */
export const scenarios = [
  {
    id: 'double-click',
    title: 'Double click',
    text: 'The buyer clicks twice, and both requests are on their way at once.',
    wishes: 1,
    units: 1,
    async run(buy) {
      const key = uuidv7();
      const first = buy({ key, name: 'Click 1' });
      await later(120);
      await Promise.all([first, buy({ key, name: 'Click 2' })]);
    },
  },
  {
    id: 'lost-response',
    title: 'Lost response and retry',
    text: 'The server does its work, the line breaks before the answer comes, and the client asks again.',
    wishes: 1,
    units: 1,
    run: (buy) => buy({ key: uuidv7(), via: '/via/lossy', to: ['a line that breaks', 'server 1'] }),
  },
  {
    id: 'two-servers',
    title: 'Two servers at once',
    text: 'The same request reaches two processes at the same moment.',
    wishes: 1,
    units: 1,
    prepare: () => ready('second'),
    run(buy) {
      const key = uuidv7();
      return Promise.all([
        buy({ key, name: 'Copy 1' }),
        buy({ key, name: 'Copy 2', via: '/via/second', to: ['server 2'] }),
      ]);
    },
  },
  {
    id: 'crash',
    title: 'Crash between charge and record',
    text: 'The process is killed when the card is charged and nothing is noted. Another one gets the retry.',
    wishes: 1,
    units: 1,
    prepare: () => ready('doomed'),
    run: (buy) =>
      buy({ key: uuidv7(), via: '/via/doomed', to: ['a server that is killed', 'server 1'] }),
  },
  {
    id: 'changed-body',
    title: 'Changed body',
    text: 'A client sends another order with the key of the one before: two teas instead of one.',
    wishes: 1,
    units: 1,
    async run(buy) {
      const key = uuidv7();
      await buy({ key, name: 'One tea' });
      await buy({ key, name: 'Two teas', quantity: 2 });
    },
  },
  {
    id: 'stranger',
    title: 'Stranger with the same key',
    text: 'Bob sends the key of Alice. He gets a tea of his own, and sees nothing of hers.',
    wishes: 2,
    units: 2,
    async run(buy) {
      const key = uuidv7();
      await buy({ key, name: 'Alice' });
      await buy({ key, name: 'Bob', user: 'bob' });
    },
  },
];
