import type { Claim, ClaimRequest } from '../../../engine/store.js';
import { bytesLiteral, filled, literal, textLiteral, uuidLiteral } from '../postgres-text.js';
import type { PreparedStatement } from '../prepared-statements.js';
import { stateCode } from '../rows.js';
import type { PostgresSql } from './postgres-sql.js';
import { printable } from './record-sql.js';

/** SQL expressions: literals, in which what came from outside is in hex, or the parameters of a prepared statement. */
export type ClaimValues = readonly [
  id: string,
  owner: string,
  fingerprint: string,
  scope: string,
  operation: string,
  key: string,
  ttl: string,
  lock: string,
];

export function claimValues(request: ClaimRequest): ClaimValues {
  const { id, owner, fingerprint, scope, operation, key, ttlMs } = request;
  return [
    uuidLiteral(id),
    uuidLiteral(owner),
    bytesLiteral(fingerprint),
    textLiteral(printable(scope)),
    textLiteral(printable(operation)),
    textLiteral(printable(key)),
    `${Number(ttlMs)}::bigint`,
    lockOf(id),
  ];
}

/** A lock of the record's own, until the transaction ends: the half of its id that is all digest. */
export function lockOf(id: string): string {
  return BigInt.asIntN(64, BigInt(`0x${id.slice(16)}`)).toString();
}

/** The statements of a claim within a transaction, for messages of several statements, which cannot have parameters. */
export class ClaimWithinSql {
  constructor(private readonly sql: PostgresSql) {}

  get prepared(): Record<'insert' | 'look', PreparedStatement> {
    return {
      insert: {
        types: 'uuid, uuid, bytea, text, text, text, bigint, bigint',
        text: this.insert(['$1', '$2', '$3', '$4', '$5', '$6', '$7', '$8']),
      },
      look: { types: 'uuid', text: this.look('$1') },
    };
  }

  /** Two plain statements, which the server plans in half the time of one that does both. */
  claim(values: ClaimValues): string {
    return `${this.insert(values)}; ${this.look(values[0])}`;
  }

  /** Of those who come at the same time one gets the lock; the others need not wait to be told so. */
  private insert([id, owner, fingerprint, scope, operation, key, ttl, lock]: ClaimValues): string {
    const { now } = this.sql;
    const { table, fence } = this.sql.names;
    return `
      INSERT INTO ${table} (id, owner, fingerprint, scope, operation, idempotency_key, fence,
        state, attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
      SELECT ${id}, ${owner}, ${fingerprint}, ${scope}, ${operation}, ${key},
        nextval(${literal(fence)}), ${stateCode('uncertain')}, 1, 0, now, NULL, now + ${ttl}, now + ${ttl}
      FROM (SELECT ${now} AS now OFFSET 0) clock
      WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE id = ${id}) AND pg_try_advisory_xact_lock(${lock})
      ON CONFLICT (id) DO NOTHING
      RETURNING pg_current_xact_id()::text AS xact`;
  }

  private look(id: string): string {
    return filled(this.sql.lookSql, [id]);
  }

  /** Gives the claim of the open transaction its lease. */
  lease({ id, owner, leaseMs }: ClaimRequest): string {
    const lease = `${Number(leaseMs)}::bigint`;
    return filled(this.sql.leaseSql, [lease, uuidLiteral(id), uuidLiteral(owner)]);
  }

  /** Takes a live claim in. Nobody else is in a transaction with it, nor will be when its lease is over. */
  own({ id, owner }: Claim): string {
    return (
      `${filled(this.sql.ownSql, [uuidLiteral(id), uuidLiteral(owner)])} ` +
      `AND pg_try_advisory_xact_lock(${lockOf(id)}) RETURNING pg_current_xact_id()::text AS xact`
    );
  }
}
