import type { DataSource, QueryRunner } from 'typeorm';
import type { ClaimRequest, ClaimResult } from '../../../engine/store.js';
import { RELEASED, isDeadSql } from '../rows.js';
import type { Row } from '../rows.js';
import type { TableNames } from '../schema.js';
import { answer } from './claim-answers.js';
import { MySqlDialect } from './mysql.js';
import { MariaDbSql } from './mysql-sql.js';

/** MariaDB: the steps of a claim in one round trip, and a sequence. */
export class MariaDbDialect extends MySqlDialect {
  override readonly name = 'mariadb';
  override readonly prefersBatches = true;

  constructor(dataSource: DataSource, names: TableNames, clock?: string) {
    super(dataSource, names, clock, new MariaDbSql(names, clock));
  }

  /**
   * A compound statement, in which every step commits by itself. A record that is there is only read,
   * without a lock; the winner is known by its owner, read back in the last step.
   */
  override async claim(request: ClaimRequest): Promise<ClaimResult | undefined> {
    const { table } = this.sql.names;
    const id = this.sql.token(request.id);
    const sql = `
      BEGIN NOT ATOMIC
        DECLARE seen_owner BINARY(16);
        DECLARE seen_dead, seen_unsettled BOOLEAN DEFAULT FALSE;
        DECLARE CONTINUE HANDLER FOR 1062 BEGIN END;
        SELECT owner, ${isDeadSql(this.sql.now)}, state = 0 AND lease_until <> ${RELEASED}
          INTO seen_owner, seen_dead, seen_unsettled FROM ${table} WHERE id = ?;
        IF seen_owner IS NULL THEN
          ${this.sql.insertSql};
        ELSEIF seen_dead THEN
          ${this.sql.takeOverSql('seen_owner')};
        END IF;
        SELECT ${this.sql.now} AS now, ${this.sql.columns},
          IF(seen_owner IS NULL, FALSE, IF(seen_dead, seen_unsettled, NULL)) AS taken_over
          FROM ${table} WHERE id = ?;
      END`;
    const parameters = [
      id,
      ...this.sql.insertParameters(request),
      ...this.sql.takeOverParameters(request),
      id,
    ];
    // A compound statement answers the rows of its one SELECT, and then its own end.
    const [rows] = await this.dataSource.query<[Row[], unknown]>(sql, parameters);
    const [row] = rows;
    const takenOver = row?.taken_over === null ? undefined : Number(row?.taken_over) === 1;
    return answer(row, request, takenOver);
  }

  protected override async insertAll(
    runner: QueryRunner,
    requests: readonly ClaimRequest[],
    atOnce: boolean,
  ): Promise<void> {
    const row = this.sql.rowSql(this.sql.nextFence);
    await this.sendAll(
      runner,
      requests.map(() => row),
      requests,
      atOnce,
    );
  }
}
