import 'reflect-metadata';
import type { Browser, Page } from 'playwright-core';
import {
  hasBrowser,
  launchBrowser,
  serveWebSite,
  type WebSite,
} from '../../test/support/browser.js';
import { startTcpProxy, type TcpProxy } from '../../test/support/tcp-proxy.js';
import { databases } from './databases.js';
import { Shop } from './shop.js';

/** A shop window that may be clicked twice, loses its line and is reloaded, on another origin than the shop. */
const page = (shop: string): string => `<!doctype html>
<button id="order" disabled>Order</button>
<button id="remembered" disabled>Order (remembered)</button>
<ul></ul>
<script type="module">
  import { idempotentFetch, uuidv7 } from '/modules/index.js';
  const formKey = uuidv7();
  async function order(options) {
    const line = document.querySelector('ul').appendChild(document.createElement('li'));
    try {
      const answer = await idempotentFetch('${shop}/orders', {
        method: 'POST',
        headers: { authorization: 'Bearer alice', 'content-type': 'application/json' },
        body: JSON.stringify({ sku: 'tea', quantity: 1 }),
      }, options);
      const { id } = await answer.json();
      line.textContent = [answer.status, id, answer.headers.get('idempotent-replayed')].join(' ');
    } catch (error) {
      line.textContent = error.code ?? String(error);
    }
  }
  const [one, remembered] = document.querySelectorAll('button');
  one.onclick = () => order({ key: formKey });
  remembered.onclick = () => order({ intent: 'order/draft-1', storage: localStorage });
  one.disabled = remembered.disabled = false;
</script>`;

(hasBrowser() ? describe : describe.skip)('a browser', () => {
  let shop: Shop;
  let line: TcpProxy;
  let site: WebSite;
  let browser: Browser;
  let tab: Page;

  beforeAll(async () => {
    const [[, createDatabase]] = databases as [(typeof databases)[number]];
    shop = await Shop.open(createDatabase);
    line = await startTcpProxy({ host: '127.0.0.1', port: shop.port });
    site = await serveWebSite(
      page(`http://127.0.0.1:${line.port}`),
      new URL('../../src/client/', import.meta.url),
    );
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await site?.close();
    await line?.close();
    await shop?.close();
  });
  beforeEach(async () => {
    const context = await browser.newContext();
    tab = await context.newPage();
    await tab.goto(site.url);
  });
  afterEach(() => tab.context().close());

  /** What the page says, once it says something `count` times. */
  async function lines(count: number): Promise<string[]> {
    await tab.waitForFunction(
      (n) => [...document.querySelectorAll('li')].filter((li) => li.textContent).length >= n,
      count,
    );
    return tab.locator('li').allTextContents();
  }
  const answers = async (count: number): Promise<string[][]> =>
    (await lines(count)).map((text) => text.split(' '));

  it('clicks twice and orders once', async () => {
    const changes = await shop.changes(async () => {
      await tab.dblclick('#order', { delay: 50 });
      const [[first, id], [second, same]] = (await answers(2)) as [string[], string[]];
      expect([first, second]).toEqual(['201', '201']);
      expect(same).toBe(id);
    });
    expect(changes).toEqual({ orders: 1, tea: -1 });
  });

  it('loses the answer, asks again and has ordered once', async () => {
    const changes = await shop.changes(async () => {
      const cut = line.cutAt('POST /orders', 'answered');
      await tab.click('#order');
      await cut;
      const [[status, , replayed]] = (await answers(1)) as [string[]];
      expect([status, replayed]).toEqual(['201', 'true']);
    });
    expect(changes).toEqual({ orders: 1, tea: -1 });
  });

  it('is reloaded in the middle of an order and keeps its key', async () => {
    const changes = await shop.changes(async () => {
      const cut = line.cutAt('POST /orders', 'answered');
      await tab.click('#remembered');
      await cut;
      line.mode('cut');
      await tab.reload();
      expect(await tab.evaluate(() => Object.keys(localStorage))).toEqual([
        'idempotency-key:order/draft-1',
      ]);
      line.mode('through');
      await tab.click('#remembered');
      const [[status, , replayed]] = (await answers(1)) as [string[]];
      expect([status, replayed]).toEqual(['201', 'true']);
    });
    expect(changes).toEqual({ orders: 1, tea: -1 });
    expect(await tab.evaluate(() => localStorage.length)).toBe(0);
  });

  it('is told when its mode would take the header away, and orders nothing', async () => {
    const changes = await shop.changes(async () => {
      const code = await tab.evaluate(async (url) => {
        const modules = '/modules/index.js';
        const { idempotentFetch } = (await import(modules)) as {
          idempotentFetch: typeof fetch;
        };
        return idempotentFetch(url, { method: 'POST', mode: 'no-cors' }).then(
          String,
          (error: { code: string }) => error.code,
        );
      }, `http://127.0.0.1:${line.port}/orders`);
      expect(code).toBe('IDEMPOTENCY_HEADER_REMOVED');
    });
    expect(changes).toEqual({});
  });
});
