/**
 * One of several processes with a store on the same database. The parent sends ids; this process
 * claims each of them many times over, some at once, and answers what became of every claim.
 */
import { randomBytes } from 'node:crypto';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import { TypeOrmStore } from '../../src/stores/typeorm/typeorm.store.js';
import type { DialectOptions } from '../../src/stores/typeorm/dialects/create-dialect.js';

export interface Claimer {
  readonly dataSource: DataSourceOptions;
  readonly options: DialectOptions;
}

export interface ClaimReport {
  readonly id: string;
  readonly won: boolean;
  /** Who owns the record according to the answer. */
  readonly owner: string;
  readonly fence: string;
}

const CLAIMS_PER_KEY = 4;

const given = JSON.parse(process.argv[2]!) as Claimer;
const dataSource = await new DataSource(given.dataSource).initialize();
const store = new TypeOrmStore(dataSource, given.options);
await store.init();

process.on('message', (ids: string[]) => {
  const shuffled = [...ids].sort(() => Math.random() - 0.5);
  const claims = shuffled.flatMap((id) => Array.from({ length: CLAIMS_PER_KEY }, () => claim(id)));
  void Promise.all(claims).then((reports) => process.send!(reports));
});
process.on('disconnect', () => void dataSource.destroy());
process.send!('ready');

async function claim(id: string): Promise<ClaimReport> {
  const owner = randomBytes(16).toString('hex');
  const result = await store.claim({
    id,
    owner,
    fingerprint: randomBytes(17),
    scope: null,
    operation: null,
    key: null,
    leaseMs: 600_000,
    ttlMs: 600_000,
  });
  return result.type === 'claimed'
    ? { id, won: true, owner, fence: String(result.fence) }
    : { id, won: false, owner: result.record.owner, fence: String(result.record.fence) };
}
