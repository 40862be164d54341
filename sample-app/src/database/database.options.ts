import { join } from 'node:path';
import type { DataSourceOptions } from 'typeorm';
import { idempotencyMigrations } from 'nestjs-idempotency/typeorm';
import { Order } from '../orders/order.entity.js';
import { Stock } from '../orders/stock.entity.js';
import { Charge } from '../payments/charge.entity.js';
import { CreateShop1764000100000 } from './migrations/1764000100000-create-shop.js';

export interface DatabaseConfig {
  /** `postgres://…`, `mysql://…` or `mariadb://…`; without it an embedded SQLite file is used. */
  readonly url?: string | undefined;
  /** The SQLite file; `orders.sqlite` in the folder of the sample by default. */
  readonly file?: string | undefined;
}

const DEFAULT_FILE = join(import.meta.dirname, '..', '..', 'orders.sqlite');

const SERVER_TYPES = {
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
  'mysql:': 'mysql',
  'mariadb:': 'mariadb',
} as const;

export function databaseOptions({ url, file }: DatabaseConfig): DataSourceOptions {
  const common = {
    entities: [Order, Stock, Charge],
    migrations: [...idempotencyMigrations(), CreateShop1764000100000],
    migrationsRun: true,
  };
  return url
    ? { ...common, type: serverType(url), url }
    : { ...common, type: 'better-sqlite3', database: file || DEFAULT_FILE, enableWAL: true };
}

function serverType(url: string): 'postgres' | 'mysql' | 'mariadb' {
  const protocol = URL.canParse(url) ? new URL(url).protocol : '';
  if (protocol in SERVER_TYPES) {
    return SERVER_TYPES[protocol as keyof typeof SERVER_TYPES];
  }
  throw new Error('Set DATABASE_URL to a postgres://, mysql:// or mariadb:// address.');
}
