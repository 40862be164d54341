/**
 * The least that a durable claim and its outcome cost: two statements, by the driver alone and each sent by itself. They
 * keep no promise of the library: no fingerprint is compared, no lease runs out, nothing is read back.
 */
import { createRequire } from 'node:module';
import mysql from 'mysql2/promise';
import pg from 'pg';

const require = createRequire(import.meta.url);

const HOUR = 3_600_000;
const POOL = 10;
const FINGERPRINT = Buffer.alloc(17);

export function postgresFloor(url) {
  const pool = new pg.Pool({ connectionString: url, max: POOL });
  return {
    async claim(id) {
      const { rowCount } = await pool.query(
        `INSERT INTO idempotency_record (id, owner, fingerprint, scope, operation, idempotency_key, fence, state,
           attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
         VALUES ($1::uuid, $1::uuid, $2, '', 'floor', $5, nextval('idempotency_record_fence'), 0, 1, 0, $3, $4, $4, $4)
         ON CONFLICT (id) DO NOTHING`,
        [id, FINGERPRINT, Date.now(), Date.now() + HOUR, id],
      );
      return rowCount === 1;
    },
    complete: (id, result) =>
      pool.query(
        `UPDATE idempotency_record SET state = 1, result = $2, lease_until = NULL,
           attempts_finished = attempts_finished + 1 WHERE id = $1::uuid AND owner = $1::uuid AND state = 0`,
        [id, result],
      ),
  };
}

export function mariaDbFloor(url) {
  const pool = mysql.createPool({ uri: url, connectionLimit: POOL });
  return {
    async claim(id) {
      const bytes = bytesOf(id);
      const [{ affectedRows }] = await pool.query(
        `INSERT IGNORE INTO idempotency_record (id, owner, fingerprint, scope, operation, idempotency_key, fence, state,
           attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
         VALUES (?, ?, ?, '', 'floor', ?, NEXTVAL(idempotency_record_fence), 0, 1, 0, ?, ?, ?, ?)`,
        [bytes, bytes, FINGERPRINT, id, Date.now(), ...Array(3).fill(Date.now() + HOUR)],
      );
      return affectedRows === 1;
    },
    complete: (id, result) =>
      pool.query(
        `UPDATE idempotency_record SET state = 1, result = ?, lease_until = NULL,
           attempts_finished = attempts_finished + 1 WHERE id = ? AND owner = ? AND state = 0`,
        [result, bytesOf(id), bytesOf(id)],
      ),
  };
}

export function sqliteFloor(path) {
  const database = new (require('better-sqlite3'))(path);
  database.pragma('journal_mode = WAL');
  const claim = database.prepare(
    `INSERT OR IGNORE INTO idempotency_record (id, owner, fingerprint, scope, operation, idempotency_key, fence, state,
       attempts_started, attempts_finished, claimed_at, lease_until, expires_at, sweep_at)
     VALUES (?, ?, ?, '', 'floor', ?, 0, 0, 1, 0, ?, ?, ?, ?)`,
  );
  const complete = database.prepare(
    `UPDATE idempotency_record SET state = 1, result = ?, lease_until = NULL,
       attempts_finished = attempts_finished + 1 WHERE id = ? AND owner = ? AND state = 0`,
  );
  return {
    async claim(id) {
      const bytes = bytesOf(id);
      const times = [Date.now(), ...Array(3).fill(Date.now() + HOUR)];
      return claim.run(bytes, bytes, FINGERPRINT, id, ...times).changes === 1;
    },
    complete: async (id, result) => complete.run(result, bytesOf(id), bytesOf(id)),
  };
}

export function redisFloor(url) {
  const { Redis } = require('ioredis');
  const client = new Redis(url);
  return {
    claim: async (id) => (await client.set(`floor:${id}`, id, 'PX', HOUR, 'NX')) === 'OK',
    complete: (id, result) => client.set(`floor:${id}`, result, 'PX', HOUR, 'XX'),
  };
}

const bytesOf = (id) => Buffer.from(id.replaceAll('-', ''), 'hex');
