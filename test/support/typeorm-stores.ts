import { randomBytes } from 'node:crypto';
import { TypeOrmStore } from 'nestjs-idempotency/typeorm';
import type { ClaimRequest, ClaimResult } from '../../src/engine/store.js';
import type { DialectOptions } from '../../src/stores/typeorm/dialects/create-dialect.js';
import { availableDialects, createTestDatabase } from './databases.js';
import type { TestDatabase } from './databases.js';

/** Every way into the store: the databases, and the plain MySQL statements against MariaDB. */
export interface Path {
  readonly path: string;
  readonly create: () => Promise<TestDatabase>;
  readonly options: DialectOptions;
}

export function storePaths(): Path[] {
  const paths: Path[] = availableDialects().map((dialect) => ({
    path: dialect,
    create: () => createTestDatabase(dialect),
    options: {},
  }));
  const plain = paths
    .filter(({ path }) => path === 'mysql')
    .map((path) => ({ ...path, path: 'mysql-statements', options: { dialect: 'mysql' as const } }));
  return [...paths, ...plain];
}

/** A store whose table is there. */
export async function openStore(
  database: TestDatabase,
  { extra = {}, options = {} }: { extra?: object; options?: DialectOptions } = {},
): Promise<TypeOrmStore> {
  const dataSource = await database.open({ synchronize: true, ...extra });
  const store = new TypeOrmStore(dataSource, options);
  await store.init();
  return store;
}

export function token(): string {
  return randomBytes(16).toString('hex');
}

export function request(given: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    id: token(),
    owner: token(),
    fingerprint: randomBytes(17),
    scope: 'tenant-1',
    operation: 'POST /payments',
    key: 'order-42',
    leaseMs: 60_000,
    ttlMs: 3_600_000,
    ...given,
  };
}

/** Claims, and fails unless the claim wins. */
export async function claimed(
  store: TypeOrmStore,
  given: Partial<ClaimRequest> = {},
): Promise<ClaimRequest & Extract<ClaimResult, { type: 'claimed' }>> {
  const asked = request(given);
  const result = await store.claim(asked);
  if (result.type !== 'claimed') throw new Error('expected to win the claim');
  return { ...asked, ...result };
}
