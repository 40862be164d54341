import { randomBytes } from 'node:crypto';
import { TypeOrmStore, idempotencyMigrations } from 'nestjs-idempotency/typeorm';
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

/** PostgreSQL with the table divided: by hand, as docs/scale.md has it, and by day. */
export function partitionedPaths(): Path[] {
  return storePaths()
    .filter(({ path }) => path === 'postgres')
    .flatMap((path) => [
      { ...path, path: 'postgres, partitioned', create: createPartitioned },
      { ...path, path: 'postgres, by day', create: createDaily },
    ]);
}

async function createDaily(): Promise<TestDatabase> {
  const database = await createTestDatabase('postgres');
  const dataSource = await database.open({
    migrations: idempotencyMigrations({ dailyPartitions: true }),
  });
  await dataSource.runMigrations();
  await dataSource.destroy();
  return database;
}

async function createPartitioned(): Promise<TestDatabase> {
  const database = await createTestDatabase('postgres');
  const dataSource = await database.open({ synchronize: true });
  await new TypeOrmStore(dataSource).init();
  await dataSource.query(`
    ALTER TABLE idempotency_record RENAME TO template;
    CREATE TABLE idempotency_record (LIKE template, PRIMARY KEY (id)) PARTITION BY HASH (id);
    CREATE INDEX ON idempotency_record (sweep_at);
    DROP TABLE template`);
  for (let part = 0; part < 4; part++) {
    await dataSource.query(
      `CREATE TABLE idempotency_record_${part} PARTITION OF idempotency_record
       FOR VALUES WITH (MODULUS 4, REMAINDER ${part}) WITH (fillfactor = 80)`,
    );
  }
  await dataSource.destroy();
  return database;
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
