import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { hasBrowser, launchBrowser } from '../../test/support/browser.js';
import type { Counters } from '../src/lab/lab.controller.js';
import { databases } from './databases.js';
import { startLabServer, type LabServer } from './lab-server.js';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
/** Processes are started, killed and waited for, on a machine that may have other things to do. */
const TIMEOUT_MS = 90_000;

type Changes = Partial<Record<'orders' | 'chargeAttempts' | 'charges' | 'mails' | 'tea', number>>;
type Mode = 'on' | 'off';

const ONCE: Changes = { orders: 1, chargeAttempts: 1, charges: 1, mails: 1, tea: -1 };
const TWICE: Changes = { orders: 2, chargeAttempts: 2, charges: 2, mails: 2, tea: -2 };

/** What is counted, and the outcomes of all attempts but the `waited` ones, of which there may be any number. */
const runs: [button: string, mode: Mode, changes: Changes, outcomes: string[]][] = [
  ['double-click', 'on', ONCE, ['executed', 'replayed']],
  ['double-click', 'off', TWICE, ['executed', 'executed']],
  ['lost-response', 'on', ONCE, ['lost', 'replayed']],
  ['lost-response', 'off', TWICE, ['lost', 'executed']],
  ['two-servers', 'on', ONCE, ['executed', 'replayed']],
  ['two-servers', 'off', TWICE, ['executed', 'executed']],
  // the retry asks the provider again, under the same key: it is charged once
  ['crash', 'on', { ...ONCE, chargeAttempts: 2 }, ['executed', 'lost']],
  ['crash', 'off', TWICE, ['lost', 'executed']],
  ['changed-body', 'on', ONCE, ['executed', 'refused']],
  ['changed-body', 'off', { ...TWICE, tea: -3 }, ['executed', 'executed']],
  ['stranger', 'on', TWICE, ['executed', 'executed']],
  ['stranger', 'off', TWICE, ['executed', 'executed']],
];

/** Those in which several processes meet in the database: it is another one on a server. */
const isOfProcesses = ([button, mode]: (typeof runs)[number]): boolean =>
  mode === 'on' && (button === 'two-servers' || button === 'crash');
const inBrowser = hasBrowser() ? describe : describe.skip;

/** One server's database: what the lab asks is the same on the other. */
const places = databases.filter(([name]) => name !== 'MariaDB');

inBrowser.each(places)('the Retry lab on %s', (name, create) => {
  const isOnServer = name !== 'SQLite';
  let server: LabServer;
  let browser: Browser;
  let tab: Page;

  beforeAll(async () => {
    server = await startLabServer(await create());
    browser = await launchBrowser();
  }, TIMEOUT_MS);
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });
  beforeEach(async () => {
    tab = await browser.newPage();
    tab.setDefaultTimeout(TIMEOUT_MS);
    await tab.goto(server.url);
  });
  afterEach(() => tab.close());

  async function counted(): Promise<Required<Changes>> {
    const response = await fetch(`${server.url}/lab/counters`);
    const { orders, chargeAttempts, charges, mails, stock } = (await response.json()) as Counters;
    return { orders, chargeAttempts, charges, mails, tea: stock.tea as number };
  }

  const choose = (mode: Mode) => tab.check(`input[value=${mode}]`, { force: true });
  const newest = () => tab.locator('.run').first();
  const finished = () => tab.locator('.run .verdict:is(.good, .bad)').first().waitFor();

  it.each(isOnServer ? runs.filter(isOfProcesses) : runs)(
    '%s, library %s',
    async (button, mode, changes, outcomes) => {
      await choose(mode);
      const before = await counted();
      await tab.click(`#${button}`);
      await finished();
      const after = await counted();

      const names = Object.keys(before) as (keyof Changes)[];
      expect(Object.fromEntries(names.map((name) => [name, after[name] - before[name]]))).toEqual(
        changes,
      );
      const rows = newest().locator('tbody tr');
      expect(
        await rows.evaluateAll((all) =>
          all.map((row) => [row.dataset.counter, Number(row.dataset.change)]),
        ),
      ).toEqual(
        ['orders', 'charges', 'mails', 'tea'].map((name) => [name, changes[name as 'tea']]),
      );
      const shown = await newest()
        .locator('.answer b')
        .evaluateAll((all) => all.map((outcome) => outcome.dataset.outcome));
      const ended = shown.filter((outcome) => outcome !== 'waited');
      expect(ended).toHaveLength(outcomes.length);
      expect(ended).toEqual(expect.arrayContaining(outcomes));
      const isRight = mode === 'on' || button === 'stranger';
      expect(await tab.textContent('#status')).toContain(isRight ? '✔ As wanted' : '✘ 2 orders');
    },
    TIMEOUT_MS,
  );

  if (isOnServer) return;

  it(
    'is used with the keyboard alone, and says what has happened',
    async () => {
      await tab.keyboard.press('Tab');
      await tab.keyboard.press('ArrowRight');
      expect(await tab.isChecked('input[value=off]')).toBe(true);
      await tab.keyboard.press('Tab');
      await tab.keyboard.press('Enter');
      // as long as one runs, another press does nothing
      await tab.keyboard.press('Enter');
      await finished();
      expect(await tab.locator('.run').count()).toBe(1);
      expect(await tab.evaluate(() => document.activeElement?.id)).toBe('double-click');
      expect(await tab.locator('[role=status]').textContent()).toBe(
        'Double click: ✘ 2 orders, 2 charges, 2 mails. Wanted: 1 of each.',
      );
    },
    TIMEOUT_MS,
  );

  it.each([
    ['light', 1100],
    ['dark', 320],
  ] as const)(
    'keeps the rules of accessibility in %s colours, %i pixels wide',
    async (colorScheme, width) => {
      await tab.emulateMedia({ colorScheme });
      await tab.setViewportSize({ width, height: 800 });
      await tab.click('#changed-body');
      await finished();
      await choose('off');
      await tab.click('#lost-response');
      await tab.locator('.run .verdict.bad').waitFor();
      await tab.addScriptTag({ path: AXE });
      const { violations } = (await tab.evaluate('axe.run()')) as AxeResults;
      expect(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])).toEqual([]);
      const overflow = await tab.evaluate(
        () => document.documentElement.scrollWidth - window.innerWidth,
      );
      expect(overflow).toBeLessThanOrEqual(0);
    },
    TIMEOUT_MS,
  );
});
