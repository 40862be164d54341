import { randomBytes } from 'node:crypto';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import type { TestDatabase } from '../support/databases.js';
import { EntryEntity } from '../support/ledger.js';
import { partitionedPaths, storePaths } from '../support/typeorm-stores.js';

const paths = [...storePaths(), ...partitionedPaths()].filter(
  ({ path }) => path !== 'sqlite' && !path.startsWith('mysql'),
);
const token = (): string => randomBytes(16).toString('hex');

describe.each(paths)('transactions of the store on $path', ({ create }) => {
  let database: TestDatabase;
  let store: TypeOrmStore;
  let names: () => Promise<string[]>;
  let add: (name: string) => Promise<unknown>;

  beforeAll(async () => {
    database = await create();
    const dataSource = await database.open({ synchronize: true, entities: [EntryEntity] });
    store = new TypeOrmStore(dataSource);
    await store.init();
    const entries = dataSource.getRepository(EntryEntity);
    add = (name) => entries.insert({ name });
    names = async () => (await entries.find()).map(({ name }) => name);
  });
  afterAll(() => database.drop());

  const request = () => ({
    id: token(),
    owner: token(),
    fingerprint: randomBytes(17),
    scope: null,
    operation: null,
    key: null,
    leaseMs: 10_000,
    ttlMs: 60_000,
  });
  const begin = async (claim: ReturnType<typeof request>) => {
    const begun = await store.transactions.begin(claim, () => undefined);
    if (begun.type !== 'claimed') {
      throw new Error(begun.type);
    }
    return begun.transaction;
  };

  // a small result goes out with COMMIT, a large one by itself
  it.each([10, 100_000])(
    'fail to commit what was rolled back after its completion of %i bytes',
    async (size) => {
      const claim = request();
      const transaction = await begin(claim);
      await transaction.run(() => add(`lost-${size}`));
      const { id, owner } = claim;
      const result = randomBytes(size);
      expect(await transaction.complete({ id, owner, result, ttlMs: 60_000 })).toBe(true);
      await transaction.rollback();
      await expect(transaction.commit()).rejects.toThrow('rolled back before it was committed');
      expect(await names()).not.toContain(`lost-${size}`);
      expect(await store.find(id)).toBeNull();
    },
  );

  describe('whose start is kept', () => {
    const keepStart = async (claim: ReturnType<typeof request>) => {
      const begun = await store.transactions.begin({ ...claim, keepStart: true }, () => undefined);
      if (begun.type !== 'claimed') throw new Error(begun.type);
      return begun;
    };

    it('are claims with a lease after a rollback, and become part of the next one', async () => {
      const claim = request();
      const { id, owner } = claim;
      const first = await keepStart(claim);
      await first.transaction.run(() => add(`undone-${id}`));
      await first.transaction.rollback();
      expect(await store.find(id)).toMatchObject({
        state: 'in-progress',
        owner,
        fence: first.fence,
        attemptsStarted: 1,
      });
      expect(await names()).not.toContain(`undone-${id}`);
      const other = await store.transactions.begin({ ...claim, owner: token() }, () => undefined);
      expect(other).toMatchObject({ type: 'held', record: { state: 'in-progress', owner } });
      for (const again of [await keepStart(claim), undefined]) {
        const transaction = again?.transaction ?? (await begin(claim));
        expect(again ?? first).toMatchObject({ attempt: 1, fence: first.fence, takenOver: false });
        await transaction.rollback();
      }
      expect(await store.release(claim)).toEqual({ applied: true });
      const next = await keepStart(claim);
      await next.transaction.rollback();
      expect(next).toMatchObject({ attempt: 2, takenOver: false });
    });

    it('are completed, and told by it, as all others are', async () => {
      const claim = request();
      const { id, owner } = claim;
      const { transaction } = await keepStart(claim);
      await transaction.run(() => add(`kept-${id}`));
      await transaction.complete({ id, owner, result: randomBytes(10), ttlMs: 60_000 });
      await transaction.commit();
      expect(await names()).toContain(`kept-${id}`);
      expect(await store.find(id)).toMatchObject({
        state: 'completed',
        attemptsStarted: 1,
        attemptsFinished: 1,
      });
      const again = await store.transactions.begin({ ...claim, keepStart: true }, () => undefined);
      expect(again).toMatchObject({ type: 'held', record: { state: 'completed', owner } });
    });

    it('follow one whose lease ran out, of which they tell', async () => {
      const claim = { ...request(), leaseMs: 1_000 };
      const { transaction } = await keepStart(claim);
      await transaction.rollback();
      const next = { ...claim, owner: token() };
      for (;;) {
        const begun = await store.transactions.begin({ ...next, keepStart: true }, () => undefined);
        if (begun.type !== 'claimed') continue;
        expect(begun).toMatchObject({ attempt: 2, takenOver: true });
        await begun.transaction.rollback();
        break;
      }
    });
  });

  it('do nothing on a rollback that comes after their commit', async () => {
    const claim = request();
    const transaction = await begin(claim);
    await transaction.run(() => add('kept'));
    const { id, owner } = claim;
    await transaction.complete({ id, owner, result: randomBytes(10), ttlMs: 60_000 });
    await Promise.all([transaction.commit(), transaction.rollback()]);
    expect(await names()).toContain('kept');
    expect((await store.find(id))?.state).toBe('completed');
  });

  it('tell errors of the database without what was to be written', async () => {
    const claim = request();
    const transaction = await begin(claim);
    await transaction.run(() => add('twice'));
    await transaction.run(() => add('twice')).catch(() => undefined);
    const { id, owner } = claim;
    const result = Buffer.from('a secret response '.repeat(5_000));
    const failed = await transaction
      .complete({ id, owner, result, ttlMs: 60_000 })
      .then(() => transaction.commit())
      .catch((error: unknown) => error);
    await transaction.rollback();
    expect(JSON.stringify(failed ?? null, Object.getOwnPropertyNames(failed ?? {}))).not.toContain(
      'a secret response',
    );
    expect(Object.keys(Object(failed))).not.toContain('parameters');
  });
});
