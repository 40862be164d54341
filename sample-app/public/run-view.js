const element = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
};
const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

const OUTCOMES = {
  executed: '✔ executed',
  replayed: '↺ replayed',
  waited: '◷ waited',
  refused: '✘ refused',
  lost: '⚡ no answer',
};

const LABELS = {
  orders: 'orders',
  charges: 'charges',
  mails: 'mails',
  tea: 'tea in stock',
};

/** One run: every attempt as a bar in time, beside the counters. */
export class RunView {
  #rows = new Map();
  #start = 0;
  #isOver = false;
  #timeline = element('ol', { className: 'timeline', ariaLabel: 'Attempts' });
  #end = element('span');
  #verdict = element('p', { className: 'verdict', textContent: 'Under way …' });
  #counters = element('div');

  constructor({ id, title }, mode) {
    const axis = element('div', { className: 'axis', ariaHidden: 'true' }, '0', this.#end);
    const mark = mode === 'on' ? 'with the library' : 'without the library';
    this.node = element(
      'article',
      { className: 'run', ariaLabel: `${title}, ${mark}` },
      element(
        'header',
        {},
        element('h3', { textContent: title }),
        element('span', { className: 'mode', textContent: mark }),
        this.#verdict,
      ),
      element(
        'div',
        { className: 'body' },
        element('div', {}, this.#timeline, axis),
        this.#counters,
      ),
    );
    this.node.dataset.run = `${id}/${mode}`;
  }

  /** Shows an attempt that has begun or ended, and makes room for it. */
  show(attempt) {
    if (this.#rows.size === 0) this.#start = attempt.start;
    if (!this.#rows.has(attempt)) {
      const row = rowOf(attempt);
      this.#rows.set(attempt, row);
      this.#timeline.append(row.node);
    }
    this.draw();
  }

  draw() {
    if (this.#rows.size === 0) return;
    const ends = [...this.#rows.keys()].map(({ end }) => end ?? performance.now());
    const end = this.#isOver ? Math.max(...ends) : performance.now();
    const share = (ms) => `${(100 * ms) / Math.max(end - this.#start, 1)}%`;
    for (const [attempt, { bar, pause, outcome, answer }] of this.#rows) {
      bar.style.left = share(attempt.start - this.#start);
      bar.style.width = share((attempt.end ?? end) - attempt.start);
      if (!attempt.outcome) continue;
      const resumed = attempt.resumed ?? attempt.end;
      pause.style.left = share(attempt.end - this.#start);
      pause.style.width = share(resumed - attempt.end);
      for (const node of [bar, pause, outcome]) node.dataset.outcome = attempt.outcome;
      outcome.textContent = OUTCOMES[attempt.outcome];
      const status = attempt.status === undefined ? '' : `${attempt.status} after `;
      const paused = attempt.resumed ? `, again ${seconds(resumed - attempt.end)} later` : '';
      answer.textContent = status + seconds(attempt.end - attempt.start) + paused;
    }
    this.#end.textContent = seconds(end - this.#start);
  }

  /** No more attempts will come. */
  end() {
    this.#isOver = true;
    this.draw();
  }

  /** @returns what a person is told in one sentence */
  finish(before, after, wanted) {
    const changes = Object.fromEntries(
      Object.keys(LABELS).map((name) => [name, after[name] - before[name]]),
    );
    this.#counters.append(counterTable(before, after, changes, wanted));
    const isAsWanted = Object.keys(LABELS).every((name) => changes[name] === wanted[name]);
    const happened = ['order', 'charge', 'mail'].map((name) => counted(changes[`${name}s`], name));
    const sentence = isAsWanted
      ? `✔ As wanted: ${happened.join(', ')}.`
      : `✘ ${happened.join(', ')}. Wanted: ${wanted.orders} of each.`;
    this.#verdict.textContent = sentence;
    this.#verdict.classList.add(isAsWanted ? 'good' : 'bad');
    return sentence;
  }

  fail(error) {
    this.#verdict.textContent = `✘ ${error.message}`;
    this.#verdict.classList.add('bad');
    return this.#verdict.textContent;
  }
}

function rowOf({ name, way }) {
  const bar = element('span', { className: 'bar' });
  const pause = element('span', { className: 'pause' });
  const outcome = element('b', { textContent: '… on its way' });
  const answer = element('small');
  const node = element(
    'li',
    {},
    element('span', { className: 'who' }, name, element('small', { textContent: way })),
    element('span', { className: 'track', ariaHidden: 'true' }, bar, pause),
    element('span', { className: 'answer' }, outcome, answer),
  );
  return { node, bar, pause, outcome, answer };
}

function counterTable(before, after, changes, wanted) {
  const rows = Object.entries(LABELS).map(([name, label]) => {
    const isWanted = changes[name] === wanted[name];
    const change = (changes[name] > 0 ? '+' : '') + String(changes[name]).replace('-', '−');
    const cell = element('td', {
      className: isWanted ? 'change' : 'change twice',
      textContent: isWanted ? `${change} ✔` : `${change} ✘`,
    });
    const row = element(
      'tr',
      {},
      element('th', { scope: 'row', textContent: label }),
      element('td', { textContent: before[name] }),
      element('td', { textContent: after[name] }),
      cell,
    );
    row.dataset.counter = name;
    row.dataset.change = changes[name];
    return row;
  });
  const heads = ['', 'before', 'after', 'change'].map((textContent) =>
    textContent ? element('th', { scope: 'col', textContent }) : element('td'),
  );
  return element(
    'table',
    {},
    element('caption', { textContent: 'Counters' }),
    element('thead', {}, element('tr', {}, ...heads)),
    element('tbody', {}, ...rows),
  );
}

function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
