import { randomBytes } from 'node:crypto';
import { claimed, openStore, request, storePaths, token } from '../support/typeorm-stores.js';
import { createTestDatabase } from '../support/databases.js';
import type { TestDatabase } from '../support/databases.js';
import { getDataSourceToken } from '@nestjs/typeorm';
import { TypeOrmStore, typeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';

describe.each(storePaths())('TypeOrmStore on $path', ({ create, options }) => {
  let database: TestDatabase;
  let store: TypeOrmStore;

  beforeAll(async () => {
    database = await create();
    store = await openStore(database, { options });
  });
  afterAll(() => database.drop());

  it('lets one claim win and shows it to the others', async () => {
    const winner = await claimed(store);
    expect(winner).toMatchObject({ attempt: 1, takenOver: false });
    const other = await store.claim(request({ id: winner.id }));
    expect(other).toMatchObject({
      type: 'held',
      record: {
        id: winner.id,
        owner: winner.owner,
        state: 'in-progress',
        fence: winner.fence,
        fingerprint: new Uint8Array(winner.fingerprint),
        scope: 'tenant-1',
        operation: 'POST /payments',
        key: 'order-42',
        attemptsStarted: 1,
        attemptsFinished: 0,
        expiresAt: null,
        result: null,
      },
    });
  });

  it('keeps megabytes of any bytes', async () => {
    const result = new Uint8Array(randomBytes(3 * 1024 * 1024));
    result.set(Array.from({ length: 256 }, (_, byte) => byte));
    const { id, owner } = await claimed(store);
    expect(await store.complete({ id, owner, result, ttlMs: 60_000 })).toEqual({ applied: true });
    const again = await store.claim(request({ id }));
    if (again.type !== 'held') throw new Error('expected to be held off');
    expect(Buffer.compare(again.record.result!, result)).toBe(0);
    expect(again.record.result).toBeInstanceOf(Uint8Array);
    expect(Buffer.isBuffer(again.record.result)).toBe(false);
  });

  it.each([
    ['quotes', `'"\`\\'; DROP TABLE idempotency_record; --`],
    ['4,000 characters of four bytes', '\u{1F600}'.repeat(2_000)],
    ['trailing blanks', 'key  \t'],
    ['placeholders', '? :name $1 %s'],
  ])('keeps text with %s', async (_, text) => {
    const { id } = await claimed(store, { key: text, scope: text, operation: text });
    expect(await store.find(id)).toMatchObject({ key: text, scope: text, operation: text });
    expect(await store.list({ scope: text, limit: 10 })).toMatchObject([{ id }]);
  });

  it('keeps no text at all where there is none', async () => {
    const { id } = await claimed(store, { key: null, scope: null, operation: null });
    expect(await store.find(id)).toMatchObject({ key: null, scope: null, operation: null });
  });

  it('takes text that a database can not hold', async () => {
    const { id } = await claimed(store, { key: 'a\0b\uD800c', scope: '\0' });
    expect(await store.find(id)).toMatchObject({ id });
  });

  it('keeps a fence beyond 2^53 exactly', async () => {
    const fresh = await create();
    try {
      const dataSource = await fresh.open({ synchronize: true });
      const beyond = new TypeOrmStore(dataSource, options);
      await beyond.init();
      const last = 2n ** 53n + 1n;
      const statement = {
        postgres: `SELECT setval('idempotency_record_fence', ${last})`,
        mariadb: `SELECT SETVAL(idempotency_record_fence, ${last})`,
        mysql: `INSERT INTO idempotency_record_fence VALUES (${last})`,
        sqlite: `UPDATE idempotency_record_fence SET value = ${last}`,
      }[beyond.name as 'postgres'];
      await dataSource.query(statement);
      const first = await claimed(beyond);
      const second = await claimed(beyond);
      expect(second.fence).toBe(first.fence + 1n);
      expect(first.fence).toBeGreaterThan(last);
      expect((await beyond.find(second.id))?.fence).toBe(second.fence);
    } finally {
      await fresh.drop();
    }
  });

  it('tells a late owner that the record was resolved otherwise', async () => {
    const { id, owner } = await claimed(store);
    const result = new Uint8Array([1]);
    await store.markUncertain({ id, owner });
    expect(await store.resolve(id, { result, ttlMs: 60_000 })).toBe(true);
    const late = await store.complete({ id, owner, result: new Uint8Array([2]), ttlMs: 60_000 });
    expect(late).toMatchObject({ applied: false, record: { state: 'completed', result } });
  });

  it('renews only the pairs of id and owner that belong together', async () => {
    const one = await claimed(store);
    const two = await claimed(store);
    const crossed = [
      { id: one.id, owner: two.owner },
      { id: two.id, owner: one.owner },
      { id: token(), owner: token() },
    ];
    expect(await store.renew(crossed, 1_000)).toEqual(new Set());
    expect(await store.renew([two, one], 90_000)).toEqual(new Set([one.owner, two.owner]));
    const record = await store.find(one.id);
    expect(record!.leaseUntil! - record!.claimedAt).toBeGreaterThanOrEqual(90_000);
  });

  it('lets one of many concurrent claims win, at every turn of the record', async () => {
    const id = token();
    const turns: bigint[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const requests = Array.from({ length: 24 }, () => request({ id }));
      const results = await Promise.all(requests.map((asked) => store.claim(asked)));
      const winners = requests.filter((_, index) => results[index]!.type === 'claimed');
      expect(winners).toHaveLength(1);
      for (const result of results) {
        if (result.type === 'held') expect(result.record.owner).toBe(winners[0]!.owner);
        else turns.push(result.fence);
      }
      expect(await store.release(winners[0]!)).toEqual({ applied: true });
    }
    expect(turns).toEqual([...turns].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(turns).size).toBe(4);
  });
});

describe('typeOrmStore()', () => {
  it('takes the DataSource of a name from the application', async () => {
    expect(typeOrmStore().inject).toEqual([getDataSourceToken()]);
    expect(typeOrmStore({ dataSource: 'orders' }).inject).toEqual([getDataSourceToken('orders')]);
    const database = await createTestDatabase('sqlite');
    const create = typeOrmStore({ table: 'my_record' }).useFactory as (
      dataSource: DataSource,
    ) => TypeOrmStore;
    const store = create(await database.open({ synchronize: true }));
    await store.init();
    expect(await claimed(store)).toMatchObject({ attempt: 1 });
    await database.drop();
  });

  it('takes a DataSource as it is', async () => {
    const database = await createTestDatabase('sqlite');
    const dataSource = await database.open({ synchronize: true });
    const definition = typeOrmStore({ dataSource });
    expect(definition.inject).toBeUndefined();
    const store = await definition.useFactory();
    await store.init();
    expect(store.name).toBe('sqlite');
    await database.drop();
  });
});
