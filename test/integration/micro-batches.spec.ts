import { randomBytes } from 'node:crypto';
import { jest } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { ClaimRequest, IdempotencyStore } from '../../src/engine/store.js';
import { driverError } from '../../src/stores/typeorm/errors.js';
import type { TestDatabase } from '../support/databases.js';
import { describeSqlStore } from '../support/model/sql-contract.js';
import { StatementLog } from '../support/typeorm-statement-log.js';
import { claimed, openStore, request, storePaths, token } from '../support/typeorm-stores.js';

const paths = storePaths()
  .filter(({ path }) => path !== 'mysql')
  .map((path) => ({ ...path, options: { ...path.options, microBatch: true } }));
const servers = paths.filter(({ path }) => ['postgres', 'mariadb'].includes(path));

const RESULT = new Uint8Array([1, 2, 3]);
const done = (claim: ClaimRequest, result = RESULT) => ({ ...claim, result, ttlMs: 60_000 });
const requests = (count: number): ClaimRequest[] => Array.from({ length: count }, () => request());

/** Nothing is ever asked alone: beside each claim, completion and look-up there is another one in its turn. */
function inCompany(store: IdempotencyStore): IdempotencyStore {
  const others: Record<string, () => Promise<unknown>> = {
    claim: async () => {
      const other = request({ ttlMs: 1e12 });
      await store.claim(other);
      await store.release(other);
    },
    complete: () => store.complete(done(request())),
    find: () => store.find(token()),
  };
  return new Proxy(store, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown;
      if (typeof value !== 'function') return value;
      const other = others[String(name)];
      return async (...given: unknown[]): Promise<unknown> => {
        const company = other?.();
        const answer = Reflect.apply(value, target, given) as unknown;
        await Promise.allSettled([answer, company]);
        return answer;
      };
    },
  });
}

const contracts = paths.filter(({ path }) => ['sqlite', 'postgres', 'mariadb'].includes(path));

describe.each(contracts)('the store contract in shared statements ($path)', (path) => {
  describeSqlStore(path, 'test clock', inCompany);
});

describe.each(paths)('shared statements on $path', ({ create, options }) => {
  const log = new StatementLog();
  let database: TestDatabase;
  let store: TypeOrmStore;
  beforeAll(async () => {
    database = await create();
    store = await openStore(database, { options });
  });
  afterAll(() => database.drop());

  it('claims, completes and finds a crowd that comes at once', async () => {
    const crowd = requests(250);
    const claims = await Promise.all(crowd.map((each) => store.claim(each)));
    expect(claims.map(({ type }) => type)).toEqual(crowd.map(() => 'claimed'));
    const fences = claims.flatMap((claim) => (claim.type === 'claimed' ? [claim.fence] : []));
    expect(new Set(fences).size).toBe(crowd.length);
    const ends = await Promise.all(
      crowd.map((each, n) => store.complete(done(each, new Uint8Array([n])))),
    );
    expect(ends).toEqual(crowd.map(() => ({ applied: true })));
    const records = await Promise.all(crowd.map(({ id }) => store.find(id)));
    expect(records.map((record) => record?.result)).toEqual(
      crowd.map((_, n) => new Uint8Array([n])),
    );
    expect(records.map((record) => record?.owner)).toEqual(crowd.map(({ owner }) => owner));
  });

  it('lets one of the claims for the same key win, and tells the others of it', async () => {
    const known = await claimed(store);
    await store.complete(done(known));
    const same = Array.from({ length: 20 }, () => request({ id: known.id }));
    const others = requests(5);
    const twins = Array.from({ length: 20 }, () => request({ id: others[0]!.id }));
    const asked = [...same, ...others, ...twins];
    const answers = await Promise.all(asked.map((each) => store.claim(each)));
    const winners = answers.flatMap(({ type }, n) => (type === 'claimed' ? [asked[n]!.id] : []));
    expect(winners.sort()).toEqual(others.map(({ id }) => id).sort());
    for (const [n, answer] of answers.entries()) {
      const owner = answer.type === 'held' ? answer.record.owner : asked[n]!.owner;
      const expected = asked[n]!.id === known.id ? known.owner : undefined;
      if (expected !== undefined) expect(owner).toBe(expected);
    }
    const winner = await store.find(others[0]!.id);
    const held = answers.slice(25).filter(({ type }) => type === 'held');
    for (const answer of held) {
      expect(answer).toMatchObject({
        record: { owner: winner!.owner, fingerprint: winner!.fingerprint },
      });
    }
  });

  it('refuses those alone who are no longer the owners', async () => {
    const [lost, ...kept] = await Promise.all(Array.from({ length: 5 }, () => claimed(store)));
    await store.release(lost!);
    const successor = await claimed(store, { id: lost!.id });
    const ends = await Promise.all([lost!, ...kept].map((each) => store.complete(done(each))));
    expect(ends[0]).toMatchObject({ applied: false, record: { owner: successor.owner } });
    expect(ends.slice(1)).toEqual(kept.map(() => ({ applied: true })));
  });

  it('gives one of two outcomes of the same claim, and says which', async () => {
    const [claim, other] = [await claimed(store), await claimed(store)];
    const outcomes = [new Uint8Array([1]), new Uint8Array([2])];
    const [one, two] = await Promise.all([
      store.complete(done(claim, outcomes[0])),
      store.complete(done(claim, outcomes[1])),
      store.complete(done(other)),
    ]);
    expect(one.applied).not.toBe(two.applied);
    expect((await store.find(claim.id))?.result).toEqual(outcomes[one.applied ? 0 : 1]);
  });

  it('takes dead records over beside new ones', async () => {
    const dead = await Promise.all(Array.from({ length: 3 }, () => claimed(store)));
    await Promise.all(dead.map((claim) => store.release(claim)));
    const again = dead.map(({ id }) => request({ id }));
    const answers = await Promise.all([...again, ...requests(3)].map((each) => store.claim(each)));
    expect(answers.map((answer) => answer.type === 'claimed' && answer.attempt)).toEqual([
      2, 2, 2, 1, 1, 1,
    ]);
  });

  it('fails each with the error of the store when that is gone', async () => {
    const gone = await create();
    try {
      const lost = await openStore(gone, { options });
      const asked = requests(150).map((each) => lost.claim(each));
      await lost.source().destroy();
      const answers = await Promise.allSettled(asked);
      const codes = answers.map((answer) =>
        answer.status === 'rejected' ? (answer.reason as { code: string }).code : 'claimed',
      );
      expect(new Set(codes)).toEqual(new Set(['IDEMPOTENCY_STORE_UNAVAILABLE']));
    } finally {
      await gone.drop();
    }
  });

  it('sends what comes alone as if nothing were shared', async () => {
    const own = await create();
    try {
      const logged = { logging: true, logger: log };
      const extra = { ...logged, synchronize: true };
      const alone = await openStore(own, { extra, options: { ...options, microBatch: false } });
      const shared = await openStore(own, { extra, options });
      const sent = async (to: TypeOrmStore) => {
        const claim = request();
        const statements = await log.during(async () => {
          await to.claim(claim);
          await to.complete(done(claim));
          await to.find(claim.id);
        });
        return statements.map(({ sql }) => sql);
      };
      expect(await sent(shared)).toEqual(await sent(alone));
    } finally {
      await own.drop();
    }
  });
});

describe.each(servers)('shared statements on the server of $path', ({ path, create, options }) => {
  const log = new StatementLog();
  let database: TestDatabase;
  let dataSource: DataSource;
  let store: TypeOrmStore;
  beforeAll(async () => {
    database = await create();
    store = await openStore(database, { options, extra: { logging: true, logger: log } });
    dataSource = store.source();
  });
  afterAll(() => database.drop());

  const writes = (statements: readonly { sql: string }[], word: RegExp) =>
    statements.filter(({ sql }) => word.test(sql)).length;

  it('sends one statement for a hundred', async () => {
    const crowd = requests(250);
    const claims = await log.during(() => Promise.all(crowd.map((each) => store.claim(each))));
    expect(writes(claims, /INSERT INTO \S*idempotency_record/)).toBe(3);
    const ends = await log.during(() =>
      Promise.all(crowd.map((each) => store.complete(done(each)))),
    );
    expect(writes(ends, /UPDATE/)).toBe(3);
    const looks = await log.during(() => Promise.all(crowd.map(({ id }) => store.find(id))));
    expect(looks).toHaveLength(3);
  });

  it('answers the others while one waits for a transaction that has its key', async () => {
    const held = await claimed(store);
    await store.complete(done(held));
    const literal = path === 'postgres' ? `'${held.id}'::uuid` : `X'${held.id}'`;
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction();
    try {
      // a record that is being forgotten, and is written anew under the same key
      await runner.query(`DELETE FROM idempotency_record WHERE id = ${literal}`);
      const key = request();
      const columns = `owner, fingerprint, fence, state, attempts_started, attempts_finished,
        claimed_at, lease_until, expires_at, sweep_at`;
      const id = path === 'postgres' ? `'${key.id}'::uuid` : `X'${key.id}'`;
      const fingerprint = path === 'postgres' ? `'\\x00'` : `X'00'`;
      await runner.query(`INSERT INTO idempotency_record (id, ${columns})
        VALUES (${id}, ${id}, ${fingerprint}, 0, 0, 1, 0, 0, 0, 0, 0)`);
      for (let round = 0; round < 3; round += 1) {
        let isAnswered = false;
        const blocked = store.claim(request({ id: key.id })).finally(() => (isAnswered = true));
        const others = await Promise.all(requests(20).map((each) => store.claim(each)));
        expect(others.map(({ type }) => type)).toEqual(others.map(() => 'claimed'));
        expect(isAnswered).toBe(false);
        blocked.catch(() => undefined);
      }
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
  });

  it('completes the others while the row of one is locked', async () => {
    const claims = await Promise.all(Array.from({ length: 20 }, () => claimed(store)));
    const [locked, ...others] = claims;
    const literal = path === 'postgres' ? `'${locked!.id}'::uuid` : `X'${locked!.id}'`;
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(`SELECT 1 FROM idempotency_record WHERE id = ${literal} FOR UPDATE`);
    let isCompleted = false;
    const last = store.complete(done(locked!)).finally(() => (isCompleted = true));
    const ends = await Promise.all(others.map((each) => store.complete(done(each))));
    expect(ends).toEqual(others.map(() => ({ applied: true })));
    expect(isCompleted).toBe(false);
    await runner.rollbackTransaction();
    await runner.release();
    expect(await last).toEqual({ applied: true });
  });

  it('fails only the one that the database can not take', async () => {
    const bad = request({ ttlMs: 1e30 });
    const others = requests(20);
    const claims = await Promise.allSettled([bad, ...others].map((each) => store.claim(each)));
    expect(claims[0]).toMatchObject({
      status: 'rejected',
      reason: { code: 'IDEMPOTENCY_STORE_UNAVAILABLE' },
    });
    expect(claims.slice(1)).toMatchObject(others.map(() => ({ value: { type: 'claimed' } })));
    const [first, ...rest] = others;
    const ends = await Promise.allSettled([
      store.complete({ ...done(first!), ttlMs: 1e30 }),
      ...rest.map((each) => store.complete(done(each))),
    ]);
    expect(ends[0]).toMatchObject({ status: 'rejected' });
    expect(ends.slice(1)).toMatchObject(rest.map(() => ({ value: { applied: true } })));
  });

  it('lets processes that want the same keys in other orders through, without a deadlock', async () => {
    const errors: unknown[] = [];
    const logger = Object.assign(new StatementLog(), {
      logQueryError: (error: unknown) => void errors.push(driverError(error)),
    });
    const extra = { logging: true, logger };
    const stores = await Promise.all(
      Array.from({ length: 3 }, () => openStore(database, { options, extra })),
    );
    const ids = Array.from({ length: 150 }, token);
    const won = await Promise.all(
      stores.map(async (each, n) => {
        const asked = ids.map((_, at) => request({ id: ids[(at * 7 + n * 50) % ids.length]! }));
        const answers = await Promise.all(asked.map((one) => each.claim(one)));
        const mine = asked.filter((_, at) => answers[at]!.type === 'claimed');
        const renewing = each.renew(mine, 60_000);
        const ends = await Promise.all(mine.toReversed().map((one) => each.complete(done(one))));
        expect(ends).toEqual(mine.map(() => ({ applied: true })));
        await renewing;
        return mine.map(({ id }) => id);
      }),
    );
    expect(won.flat().sort()).toEqual(ids.toSorted());
    const deadlock = path === 'postgres' ? { code: '40P01' } : { errno: 1213 };
    expect(errors).not.toContainEqual(expect.objectContaining(deadlock));
  });

  it('shares no statement with an open transaction', async () => {
    const [inside, outside] = requests(2);
    const { transactions } = store;
    const begun = await transactions.begin(request(), () => undefined);
    if (begun.type !== 'claimed') throw new Error('expected to win the claim');
    await begun.transaction.run(async () => {
      await store.claim(inside!);
    });
    expect((await store.claim(outside!)).type).toBe('claimed');
    await begun.transaction.rollback();
    expect(await store.find(inside!.id)).toBeNull();
    expect((await store.find(outside!.id))?.owner).toBe(outside!.owner);
  });

  it('is not part of a transaction that one of its callers has open', async () => {
    const begun = await store.transactions.begin(request(), () => undefined);
    if (begun.type !== 'claimed') throw new Error('expected to win the claim');
    const asked = requests(3);
    const claims = begun.transaction.run(async () => {
      // the first comes from inside, and the others in the same turn
      const first = store.claim(asked[0]!);
      return first;
    });
    const others = asked.slice(1).map((each) => store.claim(each));
    await Promise.all([claims, ...others]);
    await begun.transaction.rollback();
    const found = await Promise.all(asked.map(({ id }) => store.find(id)));
    expect(found.map((record) => record !== null)).toEqual([false, true, true]);
  });

  const itOnMariaDb = path === 'mariadb' ? it : it.skip;
  itOnMariaDb('loses nothing else with an outcome that the server does not take', async () => {
    const [row] = await dataSource.query<{ most: unknown }[]>(
      'SELECT @@max_allowed_packet AS most',
    );
    const [claim, ...others] = await Promise.all(Array.from({ length: 20 }, () => claimed(store)));
    // the server answers before it has heard to the end, and the driver remarks on it
    const remarks = jest.spyOn(console, 'error').mockReturnValue();
    const ends = await Promise.allSettled([
      store.complete(done(claim!, new Uint8Array(Number(row!.most) + 1))),
      ...others.map((each) => store.complete(done(each))),
    ]);
    const other = remarks.mock.calls.filter(([said]) => !/packets out of order/.test(String(said)));
    remarks.mockRestore();
    expect(other).toEqual([]);
    expect(ends[0]).toMatchObject({ reason: { code: 'IDEMPOTENCY_STORE_UNAVAILABLE' } });
    expect(ends.slice(1)).toMatchObject(others.map(() => ({ value: { applied: true } })));
  });

  it('survives the largest outcomes beside small ones', async () => {
    const claims = await Promise.all(Array.from({ length: 30 }, () => claimed(store)));
    const results = claims.map((_, n) => new Uint8Array(randomBytes(n % 3 === 0 ? 1_000_000 : 10)));
    const ends = await Promise.all(claims.map((each, n) => store.complete(done(each, results[n]))));
    expect(ends).toEqual(claims.map(() => ({ applied: true })));
    const records = await Promise.all(claims.map(({ id }) => store.find(id)));
    const isKept = records.map((record, n) => Buffer.compare(record!.result!, results[n]!) === 0);
    expect(isKept).toEqual(claims.map(() => true));
  });
});
