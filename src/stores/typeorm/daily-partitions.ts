import type { Row } from './rows.js';

export const DAY_MS = 86_400_000;
/** The free space lets an update stay on its page. */
export const LEAF_SETTINGS = 'WITH (fillfactor = 80)';

export interface Partition {
  /** Quoted, ready to stand in a statement. */
  readonly name: string;
  /** Days since 1970: the first one, and the first one that is not in it. */
  readonly from: number;
  readonly to: number;
}

/** A table whose ids are divided by the day that they begin with. */
export interface DailyLayout {
  /** The schema of the table. */
  readonly schema: string;
  readonly partitions: readonly Partition[];
  /** Of one day each, the oldest first. */
  readonly days: readonly Partition[];
}

/** How a table is divided: one row for each partition, none for a table in one piece. It locks no partition. */
export function partitionsSql(table: string): string {
  return (
    `SELECT n.nspname AS schema, format('%I.%I', n.nspname, c.relname) AS name, ` +
    `p.partstrat = 'r' AS by_range, pg_get_expr(c.relpartbound, 0) AS bounds ` +
    `FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace ` +
    `LEFT JOIN pg_partitioned_table p ON p.partrelid = i.inhparent WHERE i.inhparent = ${table}`
  );
}

/** `undefined` for a table that is divided in any other way. The sign is a partition for ids without a day. */
export function dailyLayout(rows: readonly Row[]): DailyLayout | undefined {
  const partitions: Partition[] = [];
  for (const { name, by_range: byRange, bounds } of rows) {
    const [, from, to] = (byRange === true && BOUNDS.exec(String(bounds))) || [];
    if (from !== undefined && to !== undefined) {
      partitions.push({ name: name as string, from: dayOf(from), to: dayOf(to) });
    }
  }
  if (!partitions.some(({ from, to }) => from === 0 && to === 1)) return undefined;
  const days = partitions.filter(({ from, to }) => from > 0 && to === from + 1);
  days.sort((a, b) => a.from - b.from);
  return { schema: rows[0]?.schema as string, partitions, days };
}

const BOUNDS = /^FOR VALUES FROM \((.+)\) TO \((.+)\)$/;

/** `NaN` for what is no day. */
function dayOf(bound: string): number {
  if (bound === 'MINVALUE') return 0;
  const [, digits] = /^'([0-9a-f]{4})[0-]+'$/.exec(bound) ?? [];
  return digits === undefined ? NaN : Number.parseInt(digits, 16);
}

/** The id that all of the day's ids come after. */
export function firstIdOf(day: number): string {
  return `${day.toString(16).padStart(4, '0')}0000-0000-0000-0000-000000000000`;
}

/** The bare name of a day's partition, such as `idempotency_record_20261124`. */
export function dayName(table: string, day: number): string {
  return `${table}_${new Date(day * DAY_MS).toISOString().slice(0, 10).replaceAll('-', '')}`;
}
