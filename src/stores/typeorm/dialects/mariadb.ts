import type { QueryRunner } from 'typeorm';
import type { ClaimRequest, ClaimResult } from '../../../engine/store.js';
import { RELEASED, isDeadSql } from '../rows.js';
import type { Row } from '../rows.js';
import type { Connection } from './dialect.js';
import { MySqlDialect } from './mysql.js';

/** MariaDB: the steps of a claim in one round trip, and a sequence. */
export class MariaDbDialect extends MySqlDialect {
  override readonly name = 'mariadb';
  override readonly prefersBatches = true;
  protected override readonly withoutWaiting = 'SET STATEMENT innodb_lock_wait_timeout = 0 FOR ';

  /**
   * A compound statement, in which every step commits by itself. A record that is there is only read,
   * without a lock; the winner is known by its owner, read back in the last step.
   */
  override async claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    const { table, fence } = this.names;
    const id = this.token(request.id);
    const sql = `
      BEGIN NOT ATOMIC
        DECLARE seen_owner BINARY(16);
        DECLARE seen_dead, seen_unsettled BOOLEAN DEFAULT FALSE;
        DECLARE CONTINUE HANDLER FOR 1062 BEGIN END;
        SELECT owner, ${isDeadSql(this.now)}, state = 0 AND lease_until <> ${RELEASED}
          INTO seen_owner, seen_dead, seen_unsettled FROM ${table} WHERE id = ?;
        IF seen_owner IS NULL THEN
          ${this.insertSql(`NEXTVAL(${fence})`)};
        ELSEIF seen_dead THEN
          ${this.takeOverSql(`NEXTVAL(${fence})`, 'seen_owner')};
        END IF;
        SELECT ${this.now} AS now, ${this.columns()},
          IF(seen_owner IS NULL, FALSE, IF(seen_dead, seen_unsettled, NULL)) AS taken_over
          FROM ${table} WHERE id = ?;
      END`;
    const parameters = [
      id,
      ...this.insertParameters(request),
      ...this.takeOverParameters(request),
      id,
    ];
    // A compound statement answers the rows of its one SELECT, and then its own end.
    const [rows] = await this.dataSource.query<[Row[], unknown]>(sql, parameters);
    const [row] = rows;
    const takenOver = row?.taken_over === null ? undefined : Number(row?.taken_over) === 1;
    return this.answer(row, request, takenOver);
  }

  protected override async insertAll(
    runner: QueryRunner,
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<void> {
    const row = this.rowSql(`NEXTVAL(${this.names.fence})`);
    await this.sendAll(
      runner,
      requests.map(() => row),
      requests,
      atOnce,
    );
  }

  /** An insert that would have to wait for another transaction fails instead. */
  protected override async lock(): Promise<boolean> {
    return true;
  }

  protected override async sendWithin(
    { send }: Connection,
    request: ClaimRequest,
    seen: Row | undefined,
  ): Promise<void> {
    const atOnce = this.withoutWaiting;
    const nextFence = `NEXTVAL(${this.names.fence})`;
    if (seen === undefined) {
      await send(`${atOnce}${this.insertSql(nextFence)}`, this.insertParameters(request));
    } else {
      const parameters = [...this.takeOverParameters(request), this.token(seen.owner as string)];
      await send(`${atOnce}${this.takeOverSql(nextFence, '?')}`, parameters);
    }
  }

  /** The fence is a sequence. */
  protected override async trimFence(): Promise<void> {}
}
