/** Makes the pictures of the Retry lab in docs/images anew: `npm run build && node tools/lab-screenshots.mjs`. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const ROOT = join(import.meta.dirname, '..');
const { DATABASE_URL: _, BROKER_URL: __, TEST_CHROMIUM, ...env } = process.env;

const home = await mkdtemp(join(tmpdir(), 'lab-screenshots-'));
execFileSync('npm', ['run', 'build', '-w', 'sample-app'], { cwd: ROOT, stdio: 'inherit' });
const app = spawn(process.execPath, ['sample-app/dist/main.js'], {
  cwd: ROOT,
  env: {
    ...env,
    PORT: '0',
    DATABASE_FILE: join(home, 'orders.sqlite'),
    FULFILMENT_DATABASE_FILE: join(home, 'fulfilment.sqlite'),
  },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const browser = await chromium.launch({
  executablePath: TEST_CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-lcd-text'],
});
try {
  const url = await address();
  const page = await browser.newPage({
    viewport: { width: 1080, height: 600 },
    colorScheme: 'light',
  });
  await page.goto(url);
  await press(page, 'off', 'crash');
  await press(page, 'on', 'crash');
  await page.addStyleTag({ content: 'footer { display: none }' });
  await picture(page, 'retry-lab.png');
  await page.goto(url);
  await press(page, 'off', 'double-click');
  await press(page, 'on', 'double-click');
  await picture(page, 'double-click.png', '#runs');
} finally {
  await browser.close();
  app.kill();
  await rm(home, { recursive: true, force: true });
}

async function address() {
  for await (const line of createInterface({ input: app.stdout })) {
    const [, url] = /ready on (http:\S+)/.exec(line) ?? [];
    if (url) return url;
  }
  throw new Error('The app ended before it listened.');
}

async function press(page, mode, button) {
  await page.check(`input[value=${mode}]`, { force: true });
  await page.click(`#${button}`);
  await page.locator(`[data-run="${button}/${mode}"] .verdict:is(.good, .bad)`).waitFor();
  // no button is marked as the one under the pointer
  await page.mouse.move(0, 0);
}

/** Of the whole page, or of what the selector finds with some air around it. */
async function picture(page, name, selector) {
  const box = selector && (await page.locator(selector).boundingBox());
  const clip = box && {
    x: box.x - 16,
    y: box.y - 16,
    width: box.width + 32,
    height: box.height + 16,
  };
  await page.screenshot({ path: join(ROOT, 'docs/images', name), fullPage: true, clip });
  console.log(`docs/images/${name}`);
}
