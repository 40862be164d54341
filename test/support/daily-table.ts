import { randomBytes } from 'node:crypto';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { DataSource } from 'typeorm';
import { claimed, partitionedPaths } from './typeorm-stores.js';
import type { TestDatabase } from './databases.js';

export const DAY_MS = 86_400_000;

/** A table that is divided by day, on a clock that stands still at today's noon. */
export class DailyTable {
  private constructor(
    readonly database: TestDatabase,
    readonly dataSource: DataSource,
    readonly store: TypeOrmStore,
    /** Days since 1970. */
    readonly today: number,
  ) {}

  /** `undefined` where there is no PostgreSQL. */
  static readonly path = partitionedPaths().find(({ path }) => path === 'postgres, by day');

  static async open(): Promise<DailyTable> {
    const database = await DailyTable.path!.create();
    const dataSource = await database.open();
    const [clock] = await dataSource.query<{ today: number }[]>(
      'SELECT floor(extract(epoch FROM clock_timestamp()) / 86400)::int AS today',
    );
    const { today } = clock!;
    await dataSource.query('CREATE TABLE test_clock (ms BIGINT NOT NULL)');
    await dataSource.query(`INSERT INTO test_clock VALUES (${(today + 0.5) * DAY_MS})`);
    const store = await DailyTable.storeOn(dataSource);
    return new DailyTable(database, dataSource, store, today);
  }

  private static async storeOn(dataSource: DataSource): Promise<TypeOrmStore> {
    const store = new TypeOrmStore(dataSource, { clock: '(SELECT ms FROM test_clock)' });
    await store.init();
    return store;
  }

  /** Of another instance. */
  async anotherStore(extra: object = {}): Promise<TypeOrmStore> {
    return DailyTable.storeOn(await this.database.open(extra));
  }

  async advance(days: number): Promise<void> {
    await this.dataSource.query(`UPDATE test_clock SET ms = ms + ${days * DAY_MS}`);
  }

  /** A completed record that is kept for an hour. */
  async complete(id: string): Promise<string> {
    const claim = await claimed(this.store, { id });
    await this.store.complete({ ...claim, result: null, ttlMs: 3_600_000 });
    return id;
  }

  /** The partition of a day. */
  name(day: number): string {
    const date = new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '');
    return `idempotency_record_${date}`;
  }

  /** The days that have a partition, counted from the first day of the test. */
  async days(): Promise<number[]> {
    const rows = await this.dataSource.query<{ name: string }[]>(
      `SELECT substring(relname FROM '\\d{8}$') AS name FROM pg_inherits JOIN pg_class ON oid = inhrelid
       WHERE inhparent = 'idempotency_record'::regclass AND relname ~ '_\\d{8}$' ORDER BY 1`,
    );
    return rows.map(({ name }) => {
      const date = name.replace(/(\d{4})(\d\d)(\d\d)/, '$1-$2-$3');
      return Date.parse(date) / DAY_MS - this.today;
    });
  }

  async count(table = 'idempotency_record'): Promise<number> {
    const [row] = await this.dataSource.query<{ n: number }[]>(
      `SELECT count(*)::int AS n FROM ${table}`,
    );
    return row!.n;
  }
}

/** The id of a key that was made on that day; 0 for one that does not say so. */
export function idOf(day: number): string {
  return day.toString(16).padStart(4, '0') + randomBytes(14).toString('hex');
}
