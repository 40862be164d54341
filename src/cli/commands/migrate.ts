import { MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import { outboxMigrations } from '../../outbox/migration.js';
import { idempotencyMigrations } from '../../stores/typeorm/migration.js';
import type { Values } from '../command-line.js';
import { usageOf } from '../failures.js';
import { tableOptions, type Session } from '../session.js';

/** @throws UsageError */
export function migrationsOf(values: Values): (new () => MigrationInterface)[] {
  const options = tableOptions(values);
  const { schema } = options;
  return usageOf(() => [
    ...idempotencyMigrations({
      ...options,
      scopeIndex: values['scope-index'] === true,
      dailyPartitions: values['daily-partitions'] === true,
    }),
    ...(values.outbox === true ? outboxMigrations(schema === undefined ? {} : { schema }) : []),
  ]);
}

/** Runs what the DataSource has not run yet, and notes it where the migrations of TypeORM are noted. */
export async function migrate(session: Session): Promise<void> {
  const { dataSource } = session;
  if (session.values['dry-run'] === true) {
    const pending = await new MigrationExecutor(dataSource).getPendingMigrations();
    const statements: string[] = [];
    for (const { instance } of pending) {
      await instance?.up(recorder(session, statements));
    }
    const text = statements.map((statement) => `${statement};`).join('\n');
    session.answer({ pending: pending.map(({ name }) => name), statements }, text || NOTHING);
    return;
  }
  const executed = await dataSource.runMigrations();
  const names = executed.map(({ name }) => name);
  session.answer(
    { executed: names },
    names.map((name) => `executed ${name}`).join('\n') || NOTHING,
  );
}

const NOTHING = 'nothing to do: every migration was executed before';

/** Asks the database, and changes nothing in it. */
function recorder({ dataSource }: Session, statements: string[]): QueryRunner {
  const query = async (sql: string): Promise<unknown> => {
    if (sql.startsWith('SELECT')) return dataSource.query(sql);
    statements.push(sql);
    return [];
  };
  return { dataSource, query } as unknown as QueryRunner;
}
