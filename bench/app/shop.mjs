import { EntitySchema } from 'typeorm';

export const Stock = new EntitySchema({
  name: 'Stock',
  tableName: 'bench_stock',
  columns: {
    id: { type: 'integer', primary: true },
    quantity: { type: 'integer' },
  },
});

export const Sale = new EntitySchema({
  name: 'Sale',
  tableName: 'bench_sale',
  columns: {
    id: { type: 'integer', primary: true, generated: true },
    key: { type: 'text' },
    quantity: { type: 'integer' },
  },
});

/** So many that two requests at once hardly ever want the same row. */
export const STOCK_ROWS = 10_000;
export const STOCK_PER_ROW = 1_000_000_000;

/** Two statements that must both happen or neither: takes what is there, and writes down who took it. */
export async function sell(manager, { quantity }, key) {
  const { affected } = await manager
    .getRepository(Stock)
    .createQueryBuilder()
    .update()
    .set({ quantity: () => 'quantity - :quantity' })
    .where('id = :id AND quantity >= :quantity', { id: rowOf(key), quantity })
    .execute();
  if (affected !== 1) {
    throw new Error('There is not enough in stock.');
  }
  await manager.getRepository(Sale).save({ key, quantity });
}

/** A retry wants the same. */
function rowOf(key) {
  return (parseInt(key.slice(0, 8), 16) % STOCK_ROWS) + 1;
}
