/** The examples of docs/testing.md are tests, which are run as they stand there. */
import 'reflect-metadata';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Logger } from '@nestjs/common';
import { examples } from '../support/examples.js';

const LOADER = new URL('../../sample-app/test/library-loader.mjs', import.meta.url).href;

const page = await examples('docs/testing.md');
const folder = await mkdtemp(join(tmpdir(), 'idempotency-docs-'));
const before = { ...process.env };

process.env.DATABASE = join(folder, 'shop.sqlite');
process.env.MAIN = page.pathOf('main.ts');
// processes that an example starts run the sources
process.env.NODE_OPTIONS = `${before.NODE_OPTIONS ?? ''} --import=${LOADER}`;

beforeAll(() => Logger.overrideLogger(false));
afterAll(async () => {
  process.env = before;
  await page.remove();
  await rm(folder, { recursive: true });
});

for (const name of ['storm', 'crash', 'lease', 'memory']) await page.load(`${name}.spec.ts`);
