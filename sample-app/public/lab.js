import { RunView } from './run-view.js';
import { scenarios } from './scenarios.js';
import { buyer, counters, settledCounters } from './shop.js';

const KEPT_RUNS = 12;

const form = document.querySelector('#lab');
const status = document.querySelector('#status');
const runs = document.querySelector('#runs');
let isBusy = false;

/** One at a time: the counters are those of the whole shop. */
async function run(scenario) {
  if (isBusy) return;
  setBusy(true);
  const mode = form.elements.mode.value;
  status.textContent = `${scenario.title}: under way …`;
  const view = new RunView(scenario, mode);
  runs.prepend(view.node);
  while (runs.children.length > KEPT_RUNS) runs.lastElementChild.remove();
  const ticker = setInterval(() => view.draw(), 50);
  try {
    await scenario.prepare?.();
    const before = await counters();
    const { buy, done } = buyer(mode, (attempt) => view.show(attempt));
    try {
      await scenario.run(buy);
    } finally {
      done();
      view.end();
    }
    const { wishes, units } = scenario;
    const wanted = { orders: wishes, charges: wishes, mails: wishes, tea: -units };
    const sentence = view.finish(before, await settledCounters(before), wanted);
    status.textContent = `${scenario.title}: ${sentence}`;
  } catch (error) {
    status.textContent = view.fail(error);
  } finally {
    clearInterval(ticker);
    setBusy(false);
  }
}

/** Not `disabled`, which would take the focus away from the button that was pressed. */
function setBusy(busy) {
  isBusy = busy;
  runs.setAttribute('aria-busy', busy);
  for (const button of form.querySelectorAll('button')) button.setAttribute('aria-disabled', busy);
}

for (const scenario of scenarios) {
  const button = document.createElement('button');
  button.type = 'button';
  button.id = scenario.id;
  for (const [name, text] of [
    ['b', scenario.title],
    ['span', scenario.text],
  ]) {
    button.append(Object.assign(document.createElement(name), { textContent: text }));
  }
  button.addEventListener('click', () => void run(scenario));
  document.querySelector('#scenarios').append(button);
}
