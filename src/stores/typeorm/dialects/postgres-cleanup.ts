import type { DataSource } from 'typeorm';
import type { Upkeep } from '../../../engine/store.js';
import { DAY_MS, firstIdOf } from '../daily-partitions.js';
import type { DailyLayout } from '../daily-partitions.js';
import { DailyUpkeep } from '../daily-upkeep.js';
import { isDueSql } from '../rows.js';
import type { Row } from '../rows.js';
import type { Dialect } from './dialect.js';
import type { Connection } from './dialect-transactions.js';
import type { PostgresLayout } from './postgres-layout.js';
import type { PostgresSql } from './postgres-sql.js';

/** Reading a day's records, and nothing else, takes that long. */
const LONGEST_UPKEEP_MS = 300_000;

/** One instance at a time, and past every row that somebody else holds: nobody waits for cleanup. */
export class PostgresCleanup {
  private readonly upkeep: DailyUpkeep;

  constructor(
    private readonly dataSource: DataSource,
    private readonly dialect: Pick<
      Dialect<PostgresSql>,
      'sql' | 'transactions' | 'select' | 'ping'
    >,
    private readonly layout: PostgresLayout,
  ) {
    const { table, plain } = dialect.sql.names;
    this.upkeep = new DailyUpkeep({
      table,
      plain: plain.table,
      now: () => dialect.ping(),
      select: (text) => dataSource.query<Row[]>(text),
      inTurn: (lockMs, work) => this.inTurn(lockMs, work),
    });
  }

  async maintain(): Promise<Upkeep> {
    const layout = await this.layout.look();
    if (layout === undefined) return { deleted: 0 };
    const done = await this.upkeep.run(layout);
    await this.layout.look();
    return done;
  }

  private async inTurn<T>(
    lockMs: number,
    work: (send: (sql: string) => Promise<Row[]>) => Promise<T>,
  ): Promise<T | undefined> {
    const { transactions, sql } = this.dialect;
    const runner = this.dataSource.createQueryRunner();
    const on: Connection = { runner, send: (text, parameters) => runner.query(text, parameters) };
    const send = (text: string): Promise<Row[]> => runner.query(text) as Promise<Row[]>;
    await transactions.begin(on, LONGEST_UPKEEP_MS);
    return transactions.orGiveUp(on, async () => {
      // who looks a second time has to see what came since the first
      await send('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
      await send(`SET LOCAL lock_timeout = ${lockMs}`);
      await send(`SET LOCAL statement_timeout = ${LONGEST_UPKEEP_MS}`);
      const [turn] = await send(`SELECT pg_try_advisory_xact_lock(${sql.lockKey}) AS ours`);
      const done = turn?.ours === true ? await work(send) : undefined;
      await transactions.commit(on);
      await transactions.giveBack(on);
      return done;
    });
  }

  async deleteExpired(limit: number): Promise<number> {
    const { daily } = this.layout;
    if (daily === undefined) return this.deleteDue(limit, 'true');
    // ids that have no day's partition first; of the others what is left over of days that cannot go as a whole
    const outside = 'r.id < $2::uuid OR r.id >= $3::uuid';
    const deleted = await this.deleteDue(limit, outside, idsOfDays(daily));
    if (deleted === limit) return deleted;
    return deleted + (await this.deleteDue(limit - deleted, isLeftOver('now')));
  }

  private async deleteDue(
    limit: number,
    condition: string,
    ids: readonly string[] = [],
  ): Promise<number> {
    const { handle } = this.layout;
    const { names, now, lockKey } = this.dialect.sql;
    // looked at once more: what was a row's place may be that of another one since the table was divided
    const sql = `
      WITH clock AS MATERIALIZED (SELECT ${now} AS now),
      turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(${lockKey}) AS ours),
      deleted AS (
        DELETE FROM ${names.table} USING clock WHERE ${handle} = ANY (ARRAY (
          SELECT r.${handle} FROM turn, clock, ${names.table} r
          WHERE turn.ours AND ${isDueSql('now')} AND (${condition})
          ORDER BY r.sweep_at LIMIT $1 FOR UPDATE OF r SKIP LOCKED
        )) AND ${isDueSql('now')}
        RETURNING 1
      )
      SELECT count(*)::int AS count FROM deleted`;
    const [row] = await this.dialect.select(sql, [limit, ...ids]);
    return Number(row?.count);
  }

  /** What `deleteExpired` deletes: a row waits for its day before it counts as left lying. */
  due(): [condition: string, ...parameters: unknown[]] {
    const { daily } = this.layout;
    const due = isDueSql(this.dialect.sql.now);
    if (daily === undefined) return [due];
    const isOutside = 'id < ?::uuid OR id >= ?::uuid';
    return [
      `${due} AND (${isOutside} OR ${isLeftOver(this.dialect.sql.now)})`,
      ...idsOfDays(daily),
    ];
  }
}

/** The first one of the days that have partitions, and the first one behind them. */
function idsOfDays({ days }: DailyLayout): [string, string] {
  return [firstIdOf(days[0]?.from ?? 0), firstIdOf(days.at(-1)?.to ?? 0)];
}

/** The row should have gone with its day, and has waited long enough for that. */
function isLeftOver(now: string): string {
  return `sweep_at <= ${now} - ${2 * DAY_MS}`;
}
