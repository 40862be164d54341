import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { claimed, request } from '../support/typeorm-stores.js';
import { createTestDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';

describe('TypeOrmStore on the one connection of a SQLite DataSource', () => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let store: TypeOrmStore;

  beforeEach(async () => {
    database = await createTestDatabase('sqlite-file');
    dataSource = await database.open({ synchronize: true });
    store = new TypeOrmStore(dataSource);
    await store.init();
    await dataSource.query('CREATE TABLE orders (name text)');
  });
  afterEach(() => database.drop());

  it('keeps what it acknowledged when a transaction of the application is rolled back', async () => {
    const before = await claimed(store);
    const id = request().id;
    let claiming: Promise<unknown> | undefined;
    let completing: Promise<unknown> | undefined;
    const transaction = dataSource.transaction(async (manager) => {
      await manager.query(`INSERT INTO orders VALUES ('lost')`);
      claiming = store.claim(request({ id }));
      completing = store.complete({ ...before, result: new Uint8Array([1]), ttlMs: 60_000 });
      await manager.query(`INSERT INTO orders VALUES ('lost too')`);
      throw new Error('rolled back');
    });
    await expect(transaction).rejects.toThrow('rolled back');
    expect(await claiming).toMatchObject({ type: 'claimed' });
    expect(await completing).toEqual({ applied: true });
    expect(await store.find(id)).toMatchObject({ state: 'in-progress' });
    expect(await store.find(before.id)).toMatchObject({ state: 'completed' });
    expect(await dataSource.query('SELECT * FROM orders')).toEqual([]);
  });

  it('waits for the end of the transaction, reads included', async () => {
    const { id } = await claimed(store);
    const order: string[] = [];
    const reading: Promise<unknown>[] = [];
    await dataSource.transaction(async (manager) => {
      await manager.query(`INSERT INTO orders VALUES ('kept')`);
      reading.push(
        store.find(id).then(() => order.push('find')),
        store.claim(request({ id })).then(() => order.push('claim')),
        store.ping().then(() => order.push('ping')),
      );
      for (let n = 0; n < 50; n++) await new Promise(setImmediate);
      order.push('commit');
    });
    await Promise.all(reading);
    expect(order[0]).toBe('commit');
    expect(order).toHaveLength(4);
    expect(await dataSource.query('SELECT * FROM orders')).toEqual([{ name: 'kept' }]);
  });

  it('leaves no transaction and no setting of its own behind', async () => {
    const timeout = (): Promise<unknown> => dataSource.query('PRAGMA busy_timeout');
    const before = await timeout();
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const claim = await claimed(store);
        await store.renew([claim], 60_000);
        await store.release(claim);
      }),
    );
    expect(await timeout()).toEqual(before);
    await dataSource.transaction((manager) => manager.query(`INSERT INTO orders VALUES ('one')`));
    expect(await dataSource.query('SELECT * FROM orders')).toEqual([{ name: 'one' }]);
  });

  it('does not stop the event loop while another process writes', async () => {
    // The driver would sleep with the whole process for that long.
    const patient = new TypeOrmStore(await database.open({ timeout: 25_000 }));
    await patient.init();
    const other = await database.open();
    await other.query('BEGIN IMMEDIATE');
    const started = performance.now();
    const claiming = patient.claim(request());
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    await other.query('COMMIT');
    expect(await claiming).toMatchObject({ type: 'claimed' });
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it('says that the database did not answer when another process never stops writing', async () => {
    const other = await database.open();
    await other.query('BEGIN IMMEDIATE');
    await expect(store.claim(request())).rejects.toMatchObject({
      code: 'IDEMPOTENCY_STORE_UNAVAILABLE',
    });
    await other.query('COMMIT');
    await claimed(store);
  }, 30_000);
});
