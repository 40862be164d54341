/** The store that the documentation shows keeps the contract, on a PostgreSQL of its own. */
import { createTestDatabase } from '../support/databases.js';
import { examples } from '../support/examples.js';

const page = await examples('docs/own-store.md');
const database = await createTestDatabase('postgres');
const before = process.env.DATABASE_URL;
process.env.DATABASE_URL = (database.options as { url: string }).url;

afterAll(async () => {
  process.env.DATABASE_URL = before;
  await page.remove();
  await database.drop();
});

await page.load('store.spec.ts');
