import type { Upkeep } from '../../engine/store.js';
import { DAY_MS, LEAF_SETTINGS, dayName, firstIdOf } from './daily-partitions.js';
import type { DailyLayout, Partition } from './daily-partitions.js';
import { driverError } from './errors.js';
import { literal } from './postgres-text.js';
import { quoting } from './quoting.js';
import { isDueSql } from './rows.js';
import type { Row } from './rows.js';

type Send = (sql: string) => Promise<Row[]>;

/** The table, and how to reach it. */
export interface DailyTable {
  readonly table: string;
  readonly plain: string;
  /** The database's clock. */
  now(): Promise<number>;
  select(sql: string): Promise<Row[]>;
  /** Runs in a transaction that waits `lockMs` for a lock, and others who want it behind it; unless another instance is at it: then it answers `undefined`. */
  inTurn<T>(lockMs: number, work: (send: Send) => Promise<T>): Promise<T | undefined>;
}

/** Makes partitions for the days to come, and drops those of past days that are over with every row. */
export class DailyUpkeep {
  /** A row of each past day that was not over when it was last looked at: the day is kept while it stays so. */
  private readonly kept = new Map<string, string>();

  constructor(private readonly db: DailyTable) {}

  async run(layout: DailyLayout): Promise<Upkeep> {
    try {
      return { deleted: await this.keepUp(layout) };
    } catch (error) {
      if (driverError(error).code !== INSUFFICIENT_PRIVILEGE) throw error;
      return { deleted: 0, warning: this.notAllowed() };
    }
  }

  private async keepUp(layout: DailyLayout): Promise<number> {
    const now = await this.db.now();
    const today = Math.floor(now / DAY_MS);
    let deleted = 0;
    const empty: Partition[] = [];
    for (const day of layout.days.filter(({ from }) => from < today)) {
      const rows = await passing(() => this.empty(day, now));
      if (rows === undefined) continue;
      deleted += rows;
      empty.push(day);
    }
    for (let day = today; day <= today + DAYS_AHEAD; day++) {
      if (!layout.partitions.some(({ from, to }) => from <= day && day < to)) {
        await passing(() => this.create(layout, day));
      }
    }
    for (const day of empty) {
      // what is not granted for one will not be for the next, and every try holds claims up
      if ((await passing(() => this.drop(day))) !== true) break;
    }
    return deleted;
  }

  /** Alone, and attached only then: that stops nobody but those whose ids have no partition yet. */
  private async create({ schema }: DailyLayout, day: number): Promise<void> {
    const name = quoting('postgres', schema).path(dayName(this.db.plain, day));
    const [from, to] = [firstIdOf(day), firstIdOf(day + 1)];
    await this.db.inTurn(ATTACH_LOCK_MS, async (send) => {
      const [row] = await send(
        `SELECT to_regclass(${literal(name)}) IS NOT NULL OR EXISTS ` +
          `(SELECT FROM ${this.db.table} WHERE id >= '${from}' AND id < '${to}') AS taken`,
      );
      if (row?.taken === true) return;
      await send(
        `CREATE TABLE ${name} (LIKE ${this.db.table} INCLUDING CONSTRAINTS) ${LEAF_SETTINGS}`,
      );
      await send(
        `ALTER TABLE ${this.db.table} ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${to}')`,
      );
    });
  }

  /**
   * Takes all rows away at once when each of them may be deleted, and answers how many; `undefined` when some stay.
   * Looked at twice: the first time nobody waits for us. What came since then is seen under a lock, which only ids
   * of that day need.
   */
  private async empty({ name }: Partition, now: number): Promise<number | undefined> {
    const isKept = `(${isDueSql(String(now))}) IS NOT TRUE`;
    const known = this.kept.get(name) ?? firstIdOf(0);
    // as good as free: what keeps a day is mostly a row that is young, or the one that kept it before
    const [seen] = await this.db.select(
      `SELECT ${sizeOf(name)} AS bytes, (SELECT max(sweep_at) FROM ${name}) > ${now} AS young, ` +
        `EXISTS (SELECT FROM ${name} WHERE id = '${known}' AND ${isKept}) AS kept`,
    );
    if (Number(seen?.bytes) === 0) return 0;
    if (seen?.young === true || seen?.kept === true) return undefined;
    return this.db.inTurn(EMPTY_LOCK_MS, async (send) => {
      const [kept] = await send(`SELECT id FROM ${name} WHERE ${isKept} LIMIT 1`);
      if (kept !== undefined) {
        this.kept.set(name, kept.id as string);
        return undefined;
      }
      await send(`LOCK TABLE ONLY ${name} IN ACCESS EXCLUSIVE MODE`);
      const [all] = await send(
        `SELECT count(*) AS rows, count(*) FILTER (WHERE ${isKept}) AS kept FROM ${name}`,
      );
      if (Number(all?.kept) > 0) return undefined;
      await send(`TRUNCATE TABLE ONLY ${name}`);
      this.kept.delete(name);
      return Number(all?.rows);
    });
  }

  /** Every claim waits for this lock: it is asked for briefly, and held only to drop what is empty. */
  private async drop({ name }: Partition): Promise<boolean | undefined> {
    return this.db.inTurn(DROP_LOCK_MS, async (send) => {
      await send(`LOCK TABLE ONLY ${this.db.table} IN ACCESS EXCLUSIVE MODE`);
      await send(`LOCK TABLE ONLY ${name} IN ACCESS EXCLUSIVE MODE`);
      const [left] = await send(`SELECT ${sizeOf(name)} AS bytes`);
      if (Number(left?.bytes) === 0) await send(`DROP TABLE ${name}`);
      return true;
    });
  }

  private notAllowed(): string {
    return (
      `The idempotency store is not allowed to create and drop the daily partitions of its table "${this.db.plain}": ` +
      'expired records are deleted one by one, two days late. Let the database user of the application own the table ' +
      'and its partitions and create tables in their schema, or run `npx nestjs-idempotency cleanup` every day as ' +
      'a user who may.'
    );
  }
}

const DAYS_AHEAD = 7;
/** Longer than PostgreSQL takes to call a vacuum off (`deadlock_timeout`). Keys of one past day wait behind it. */
const EMPTY_LOCK_MS = 2_000;
/** Keys that no partition is for wait behind it. */
const ATTACH_LOCK_MS = 500;
/** All keys wait behind it. */
const DROP_LOCK_MS = 100;

const INSUFFICIENT_PRIVILEGE = '42501';
/**
 * Somebody has the lock, or a deadlock was called off; another instance was faster; or rows of the new day have
 * come. The next turn looks again.
 */
const PASSING: ReadonlySet<string | undefined> = new Set([
  '55P03',
  '40P01',
  '42P01',
  '42P07',
  '23514',
]);

async function passing<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (PASSING.has(driverError(error).code)) return undefined;
    throw error;
  }
}

function sizeOf(name: string): string {
  return `pg_relation_size(${literal(name)})`;
}
