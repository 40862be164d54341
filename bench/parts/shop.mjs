import { STOCK_PER_ROW, STOCK_ROWS } from '../app/shop.mjs';
import { createDatabase, onPostgres } from '../lib/databases.mjs';

/** A PostgreSQL database with a stock to sell; nobody waits for a connection for ever, as the library asks. */
export async function createShop() {
  const { options, drop } = await createDatabase('postgres');
  await onPostgres(
    `CREATE TABLE bench_stock (id integer PRIMARY KEY, quantity integer NOT NULL) WITH (fillfactor = 50);
     INSERT INTO bench_stock SELECT id, ${STOCK_PER_ROW} FROM generate_series(1, ${STOCK_ROWS}) id;
     CREATE TABLE bench_sale (id serial PRIMARY KEY, key text NOT NULL, quantity integer NOT NULL);`,
    options.url,
  );
  return { options: { ...options, connectTimeoutMS: 5_000 }, drop };
}

/** As many sales as there must be, and none twice. */
export async function expectSales(url, expected) {
  const [{ sales, most }] = await onPostgres(
    `SELECT coalesce(sum(count), 0)::int AS sales, coalesce(max(count), 0)::int AS most
     FROM (SELECT count(*) FROM bench_sale GROUP BY key) AS per_key`,
    url,
  );
  if (sales !== expected || most > 1) {
    throw new Error(`There are ${sales} sales and not ${expected}; one key has ${most}.`);
  }
}

/** What was taken from the stock is what was sold. */
export async function expectStockTaken(url) {
  const [{ taken, sold }] = await onPostgres(
    `SELECT (SELECT sum(${STOCK_PER_ROW} - quantity) FROM bench_stock)::int AS taken,
       (SELECT coalesce(sum(quantity), 0) FROM bench_sale)::int AS sold`,
    url,
  );
  if (taken !== sold) {
    throw new Error(`${taken} were taken from the stock and ${sold} were sold.`);
  }
}
