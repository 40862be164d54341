import type { DataSource } from 'typeorm';
import { createDialect, withSchemaOf } from '../stores/typeorm/dialects/create-dialect.js';
import { Notifications } from './notifications.js';
import { OutboxTable } from './outbox-table.js';
import type { OutboxSettings } from './outbox.settings.js';
import { persistently, storeUnavailable } from './persistently.js';
import { outboxNames } from './schema.js';
import { WakeUp } from './wake-up.js';
import { OutboxWriter } from './writer.js';

/** What works on one table: made when the application starts, and the DataSource is there. */
export interface OutboxCore {
  readonly dataSource: DataSource;
  readonly table: OutboxTable;
  readonly writer: OutboxWriter;
  readonly wakeUp: WakeUp;
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` when the table is missing, `…_STORE_UNAVAILABLE` */
export async function openOutbox(
  dataSource: DataSource,
  { options: { table, schema }, sinks }: OutboxSettings,
): Promise<OutboxCore> {
  const dialect = await createDialect(dataSource, {}).catch((error: unknown) => {
    throw storeUnavailable(error);
  });
  const given = { ...(table !== undefined && { table }), ...(schema !== undefined && { schema }) };
  const names = outboxNames(dialect.name, withSchemaOf(dataSource, given));
  const rows = new OutboxTable(dataSource, dialect, names);
  await persistently(dialect, () => rows.init());
  const others =
    dialect.name === 'postgres' ? new Notifications(dataSource, names.channel) : undefined;
  const wakeUp = new WakeUp(dataSource, others);
  const writer = new OutboxWriter(dataSource, dialect, names, [...sinks.keys()], wakeUp);
  return { dataSource, table: rows, writer, wakeUp };
}
