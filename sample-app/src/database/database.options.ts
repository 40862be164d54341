import { join } from 'node:path';
import type { DataSourceOptions } from 'typeorm';
import { outboxMigrations } from 'nestjs-idempotency/outbox';
import { idempotencyMigrations } from 'nestjs-idempotency/typeorm';
import { Order } from '../orders/order.entity.js';
import { Stock } from '../orders/stock.entity.js';
import { Payment } from '../payments/payment.entity.js';
import { ChargeAttempt } from '../payments/provider/charge-attempt.entity.js';
import { Charge } from '../payments/provider/charge.entity.js';
import { Receipt } from '../receipts/receipt.entity.js';
import { CreateShop1764000100000 } from './migrations/1764000100000-create-shop.js';
import { BookPayments1764000200000 } from './migrations/1764000200000-book-payments.js';

export interface DatabaseConfig {
  /** `postgres://…`, `mysql://…` or `mariadb://…`; without it an embedded SQLite file is used. */
  readonly url?: string | undefined;
  /** The SQLite file; `orders.sqlite` in the folder of the sample by default. */
  readonly file?: string | undefined;
}

const HOME = join(import.meta.dirname, '..', '..');

const SERVER_TYPES = {
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
  'mysql:': 'mysql',
  'mariadb:': 'mariadb',
} as const;

export function databaseOptions(config: DatabaseConfig): DataSourceOptions {
  return {
    ...connectionTo(config, 'orders.sqlite'),
    entities: [Order, Stock, Payment, Receipt, Charge, ChargeAttempt],
    migrations: [
      ...idempotencyMigrations(),
      ...outboxMigrations(),
      CreateShop1764000100000,
      BookPayments1764000200000,
    ],
    migrationsRun: true,
  };
}

/** How to reach the database. */
export function connectionTo({ url, file }: DatabaseConfig, defaultFile: string) {
  if (!url) {
    const database = file || join(HOME, defaultFile);
    return { type: 'better-sqlite3', database, enableWAL: true } as const;
  }
  const type = serverType(url);
  // Each decision is a conditional UPDATE, so no transaction needs a snapshot of its own.
  const server = { url, isolationLevel: 'READ COMMITTED' } as const;
  // Transactional requests hold a connection each: nobody waits for one for ever.
  return type === 'postgres'
    ? ({ ...server, type, connectTimeoutMS: 5_000 } as const)
    : ({ ...server, type, extra: { queueLimit: 100 } } as const);
}

function serverType(url: string): 'postgres' | 'mysql' | 'mariadb' {
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  if (protocol in SERVER_TYPES) {
    return SERVER_TYPES[protocol as keyof typeof SERVER_TYPES];
  }
  throw new Error('Set DATABASE_URL to a postgres://, mysql:// or mariadb:// address.');
}
