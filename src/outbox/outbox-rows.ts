import type { Row } from '../stores/typeorm/rows.js';
import { familyOf, type DialectName } from '../stores/typeorm/schema.js';
import type { OutboxMessage, ParkedMessage } from './message.js';

/** A message that a relay has the lease of. */
export interface Claimed {
  readonly seq: string;
  readonly id: string;
  readonly pattern: string;
  readonly orderingKey: string | undefined;
  /** 1 when it is sent for the first time. */
  readonly attempt: number;
  /** @throws UnreadableError for a row that somebody has changed. */
  message(): OutboxMessage;
}

/** What hooks and parked messages tell of a row that cannot be sent: what a parser says would quote it. */
class UnreadableError extends Error {
  override readonly name = 'UnreadableError';
  override readonly message = 'Payload or headers of the row are no JSON.';
}

/** The columns that a row is made of. */
export function selectList(name: DialectName): string {
  // as bytes on MySQL: the text then is exact under any charset of the connection
  const isMySql = familyOf(name) === 'mysql';
  const text = (column: string): string =>
    isMySql ? `CAST(${column} AS BINARY) AS ${column}` : column;
  const texts = ['pattern', 'ordering_key', 'last_error'].map(text).join(', ');
  return `seq, id, sink, ${texts}, payload, headers, attempts, created_at`;
}

export function toClaimed(row: Row): Claimed {
  const { position, id, pattern, orderingKey, attempts, createdAt } = toParked(row);
  return {
    seq: position,
    id,
    pattern,
    orderingKey,
    attempt: attempts,
    message: () => ({
      id,
      pattern,
      payload: parsed(row.payload),
      headers: row.headers === null ? {} : (parsed(row.headers) as Record<string, string>),
      orderingKey,
      attempt: attempts,
      createdAt,
    }),
  };
}

export function toParked(row: Row): ParkedMessage {
  const optional = (value: unknown): string | undefined =>
    value === null ? undefined : text(value);
  return {
    position: String(row.seq),
    id: text(row.id),
    pattern: text(row.pattern),
    sink: text(row.sink),
    orderingKey: optional(row.ordering_key),
    attempts: Number(row.attempts),
    lastError: optional(row.last_error),
    createdAt: new Date(Number(row.created_at)),
  };
}

/** Of a text column, or the bytes of one. */
function text(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString() : String(value);
}

function parsed(value: unknown): unknown {
  try {
    return JSON.parse(text(value)) as unknown;
  } catch {
    throw new UnreadableError();
  }
}
