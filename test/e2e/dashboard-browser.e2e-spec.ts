import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { Outbox } from 'nestjs-idempotency/outbox';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { hasBrowser, launchBrowser } from '../support/browser.js';
import {
  AdminGuard,
  fillRecords,
  KEYS,
  SCOPE,
  startDashboardWithOutbox,
  type DashboardApp,
} from '../support/dashboard.js';
import { eventually, send } from '../support/http.js';

interface Axe {
  run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

const themes = ['light', 'dark'] as const;

(hasBrowser() ? describe : describe.skip)('the dashboard in a browser', () => {
  let app: DashboardApp;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let axe: string;
  let isUp: boolean;
  const sent: string[] = [];
  const complaints: string[] = [];

  beforeAll(async () => {
    browser = await launchBrowser();
    axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  });
  afterAll(() => browser?.close());

  beforeEach(async () => {
    isUp = false;
    sent.length = complaints.length = 0;
    app = await startDashboardWithOutbox({ guards: [AdminGuard] }, ({ id }) => {
      if (!isUp) throw new Error('down');
      sent.push(id);
    });
    await fillRecords(app.service);
    await app.service.execute(
      { key: KEYS.completed, scope: SCOPE, operation: 'Orders.pay' },
      () => 'replayed',
    );
    await app.app.get(Outbox).emit('order.placed', {}, { id: 'order-1' });
    await eventually(
      async () => (await app.app.get(Outbox).listParked()).length === 1,
      'a parked message',
    );
    await open('light');
  });
  afterEach(async () => {
    await context?.close();
    await app?.close();
  });

  async function open(colorScheme: (typeof themes)[number]): Promise<void> {
    await context?.close();
    context = await browser.newContext({
      colorScheme,
      extraHTTPHeaders: { 'x-user': 'admin' },
      viewport: { width: 1200, height: 1100 },
    });
    page = await context.newPage();
    page.setDefaultTimeout(10_000);
    page.on('console', (line) => {
      if (line.type() === 'error' || line.type() === 'warning') complaints.push(line.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(`http://127.0.0.1:${app.port}/idempotency`);
    await page.waitForSelector('html[data-ready]');
  }

  /** Presses Tab until the focus is on what is called so, as a person would who has no mouse. */
  async function tabTo(name: string): Promise<void> {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press('Tab');
      const focused = await page.evaluate(() => {
        const { activeElement: element } = document;
        const label = element?.getAttribute('aria-label') ?? element?.textContent ?? '';
        return label.trim();
      });
      if (focused === name) return;
    }
    throw new Error(`The keyboard does not get to '${name}'.`);
  }
  const focusedField = (): Promise<{ name: string | null; invalid: string | null }> =>
    page.evaluate(() => {
      const { activeElement: element } = document;
      const read = (name: string) => element?.getAttribute(name) ?? null;
      return { name: read('name'), invalid: read('aria-invalid') };
    });
  async function tabToField(name: string): Promise<void> {
    for (let presses = 0; presses < 20; presses += 1) {
      if ((await focusedField()).name === name) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`The keyboard does not get to the field '${name}'.`);
  }
  const status = (text: string): Promise<unknown> =>
    page.waitForFunction(
      (wanted) => document.getElementById('status')?.textContent?.includes(wanted),
      text,
    );
  const stateOf = async (key: string) =>
    (await app.service.find({ key, scope: SCOPE, operation: 'Orders.pay' }))?.state;

  it('shows counts, activity, records and messages, and the browser has nothing to say', async () => {
    const tiles = await page.locator('#states li').allInnerTexts();
    expect(tiles.map((text) => text.replace(/\s+/g, ' '))).toEqual([
      '0 In progress',
      '1 Uncertain',
      '1 Parked',
      '1 Completed',
      '0 Done, no result',
      '0 Expired',
    ]);
    expect(await page.locator('#chart svg').getAttribute('aria-label')).toContain(
      'executed: 1, replayed: 1',
    );
    expect(await page.locator('#list tbody tr').count()).toBe(3);
    expect(await page.locator('#messages').innerText()).toContain('Parked messages (1)');
    expect(await page.content()).not.toMatch(new RegExp(`${KEYS.parked}|${SCOPE}|order-1"`));
    expect(complaints).toEqual([]);
  });

  it.each(themes)('has nothing that axe finds fault with, in %s colours', async (theme) => {
    await open(theme);
    await page.locator('summary').click();
    const faults = async (): Promise<string[]> => {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() =>
        (globalThis as unknown as { axe: Axe }).axe.run(),
      );
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`);
    };
    expect(await faults()).toEqual([]);
    await page.getByRole('button', { name: 'Uncertain' }).click();
    await page.waitForFunction(() => document.querySelectorAll('#list tbody tr').length === 1);
    await page.locator('#list tbody button').click();
    await page.waitForSelector('#record[open]');
    expect(await faults()).toEqual([]);
    await page.getByRole('button', { name: 'with this answer…' }).click();
    await page.waitForSelector('#answer[open]');
    expect(await faults()).toEqual([]);
    await page.getByRole('button', { name: 'Give this answer' }).click();
    expect(await page.getByRole('alert').textContent()).toContain('This is not JSON.');
    expect(await faults()).toEqual([]);
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Forget' }).click();
    await page.waitForSelector('#confirm[open]');
    expect(await faults()).toEqual([]);
  });

  it('is used with the keyboard alone, and changes nothing before it has asked', async () => {
    await tabTo('1Uncertain');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('#list tbody tr').length === 1);
    const id = (await page.locator('#list tbody button').getAttribute('data-id')) as string;
    await tabTo(id.slice(0, 12));
    await page.keyboard.press('Enter');
    await page.waitForSelector('#record[open]');
    expect(await page.locator('#record ol li').allInnerTexts()).toEqual([
      'reserve stock',
      'charge card',
    ]);

    await tabTo('It has happened');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#confirm[open]');
    await page.keyboard.press('Escape');
    await page.waitForSelector('#confirm:not([open])', { state: 'attached' });
    expect(await stateOf(KEYS.uncertain)).toBe('uncertain');

    await tabTo('It has happened');
    await page.keyboard.press('Enter');
    await tabTo('It has happened');
    await page.keyboard.press('Enter');
    await status('done.');
    expect(await stateOf(KEYS.uncertain)).toBe('tombstone');
    const focused = await page.evaluate(() => document.activeElement?.id);
    expect(focused).toBe('records');
    expect(complaints).toEqual([]);
  });

  const charge = () => send(app, { path: '/charges', key: 'c-1', body: {} });
  const openRecord = async (operation: string): Promise<void> => {
    await page.getByRole('button', { name: 'Refresh' }).click();
    await page.locator('#list tbody tr', { hasText: operation }).locator('button').click();
    await page.waitForSelector('#record[open]');
  };

  it('gives a request the response that somebody writes, with the keyboard alone', async () => {
    await charge();
    await openRecord('http');
    await tabTo('It has happened, with this answer…');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#answer[open]');
    const type = (text: string): Promise<void> => page.keyboard.type(text);
    await tabToField('status');
    await page.keyboard.press('Control+A');
    await type('201');
    await tabToField('headers');
    await type('Location: /charges/7');
    await tabToField('body');
    await type('{"id": ch_7}');
    await tabTo('Give this answer');
    await page.keyboard.press('Enter');
    // told at once, and the focus is where it is wrong
    const alert = page.getByRole('alert');
    expect(await alert.textContent()).toContain('This is not JSON.');
    expect(await focusedField()).toEqual({ name: 'body', invalid: 'true' });
    await page.keyboard.press('Control+A');
    await type('{"id": "ch_7"}');

    await tabTo('Give this answer');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#confirm[open]');
    expect(await page.locator('#confirm-text').textContent()).toContain('"Location":"/charges/7"');
    await page.keyboard.press('Escape');
    await page.waitForSelector('#confirm:not([open])', { state: 'attached' });
    expect((await charge()).status).toBe(409);

    await page.keyboard.press('Enter');
    await tabTo('Give this answer');
    await page.keyboard.press('Enter');
    await status('done.');
    expect(await page.locator('dialog[open]').count()).toBe(0);
    const replay = await charge();
    expect([replay.status, replay.header('location')]).toEqual([201, '/charges/7']);
    expect(replay.header('idempotent-replayed')).toBe('true');
    expect(replay.json()).toEqual({ id: 'ch_7' });
    expect(complaints).toEqual([]);
  });

  it('gives a method the result that somebody writes, and says what cannot be kept', async () => {
    await charge();
    await openRecord('http');
    await page.getByRole('button', { name: 'with this answer…' }).click();
    await page.getByLabel('Headers, one in a line').fill('Date: today');
    await page.getByLabel('Its body is').selectOption('none');
    await page.getByRole('button', { name: 'Give this answer' }).click();
    await page.locator('#confirm-yes').click();
    await page.getByText("has a header 'date'").waitFor();
    expect((await charge()).status).toBe(409);
    await page.locator('#answer-cancel').click();
    await page.locator('#record').getByRole('button', { name: 'Close' }).click();

    await page.getByRole('button', { name: 'Uncertain' }).first().click();
    await openRecord('Orders.pay');
    await page.getByRole('button', { name: 'with this answer…' }).click();
    expect(await page.getByLabel('Status').isVisible()).toBe(false);
    await page.getByLabel('Result, as JSON').fill('{"paid": true}');
    await page.getByRole('button', { name: 'Give this answer' }).click();
    await page.locator('#confirm-yes').click();
    await status('done.');
    const whose = { key: KEYS.uncertain, scope: SCOPE, operation: 'Orders.pay' };
    expect(await app.service.execute(whose, () => 'again')).toEqual({ paid: true });
  });

  it('finds the record of a key, and lets a parked operation be tried again', async () => {
    await page.getByLabel('Scope').fill(SCOPE);
    await page.getByLabel('Key', { exact: true }).fill(KEYS.parked);
    await page.getByLabel('Operation of the key').fill('Orders.pay');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('#list tbody tr').length === 1);
    await page.locator('#list tbody button').click();
    await page.locator('#record').getByRole('button', { name: 'Try again' }).click();
    await page.locator('#confirm-yes').click();
    await status('done.');
    expect(await stateOf(KEYS.parked)).toBeUndefined();
  });

  it('says so when a record has changed since it was shown', async () => {
    await page.getByRole('button', { name: 'Parked' }).first().click();
    await page.waitForFunction(() => document.querySelectorAll('#list tbody tr').length === 1);
    await page.locator('#list tbody button').click();
    await page.locator('#record').getByRole('button', { name: 'Give up' }).click();
    await app.service.redrive({ key: KEYS.parked, scope: SCOPE, operation: 'Orders.pay' });
    await page.locator('#confirm-yes').click();
    await status('Nothing was done.');
  });

  it('sends a parked message again', async () => {
    isUp = true;
    await page.getByRole('button', { name: /^Send again/ }).click();
    await page.locator('#confirm-yes').click();
    await status('done.');
    await eventually(() => sent.length === 1, 'a message that is sent');
  });

  it('says what is wrong when it may no longer ask', async () => {
    await context.setExtraHTTPHeaders({});
    await page.getByRole('button', { name: 'Refresh' }).click();
    await status('Reload the page to sign in.');
  });

  it('fits a small screen', async () => {
    await page.setViewportSize({ width: 360, height: 700 });
    const { scrollWidth, clientWidth } = await page.evaluate(() => ({
      scrollWidth: document.documentElement.scrollWidth,
      clientWidth: document.documentElement.clientWidth,
    }));
    expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
  });
});
