import type { DataSource } from 'typeorm';
import { IdempotencyError } from '../../engine/errors.js';
import type {
  Claim,
  ClaimRequest,
  ClaimResult,
  CompleteRequest,
  CountFilter,
  IdempotencyStore,
  ListFilter,
  SettleResult,
  StoreTransactions,
  StoredRecord,
  Upkeep,
} from '../../engine/store.js';
import type { Dialect } from './dialects/dialect.js';
import { createDialect } from './dialects/create-dialect.js';
import type { DialectOptions } from './dialects/create-dialect.js';
import { driverError, safeCause, unavailable } from './errors.js';
import { LostRace, persistently } from './persistently.js';
import { COLUMNS, misconfigured } from './schema.js';
import type { TableOptions } from './schema.js';
import { inOwnRight, scopeOf } from '../../transactions/transaction-scope.js';
import { SharedStatements } from './shared-statements.js';
import { claimTogether, completeTogether, sorted } from './together.js';
import { TypeOrmTransactions } from './typeorm.transactions.js';

/**
 * Keeps records in the application's own database: PostgreSQL, MySQL, MariaDB or SQLite
 * (`better-sqlite3`). Every statement goes to the primary, on a connection of its own and outside
 * the application's transactions.
 *
 * Every method throws an {@link IdempotencyError}: `IDEMPOTENCY_STORE_UNAVAILABLE` when the database
 * does not answer, `IDEMPOTENCY_MISCONFIGURED` when it can not work as it is set up.
 */
export class TypeOrmStore implements IdempotencyStore {
  private readonly joint = new TypeOrmTransactions(
    () => this.source(),
    (operation) => this.run(operation),
    () => new LostRace(),
  );
  readonly transactions: StoreTransactions = this.joint;
  private dialect: Dialect | undefined;
  private shared: SharedStatements | undefined;
  private readonly dataSource: DataSource | (() => DataSource);
  private readonly options: DialectOptions;

  /** @param dataSource the DataSource, or a function that is called for it in `init()`. */
  constructor(dataSource: DataSource | (() => DataSource), options?: TableOptions);
  /** @internal */
  constructor(dataSource: DataSource | (() => DataSource), options?: DialectOptions);
  constructor(dataSource: DataSource | (() => DataSource), options: DialectOptions = {}) {
    this.dataSource = dataSource;
    this.options = options;
  }

  /** `postgres`, `mariadb`, `mysql` or `sqlite`; `typeorm` before `init()`. */
  get name(): string {
    return this.dialect?.name ?? 'typeorm';
  }

  /**
   * Creates the table when the DataSource has `synchronize: true`; otherwise only checks that it is
   * there with all its columns.
   */
  async init(): Promise<void> {
    const dataSource = this.source();
    try {
      this.dialect = await createDialect(dataSource, this.options);
    } catch (error) {
      throw error instanceof IdempotencyError ? error : unavailable(dataSource.options.type, error);
    }
    this.joint.prepare(this.dialect);
    if (this.options.microBatch ?? this.dialect.prefersBatches) this.share(this.dialect);
    if (dataSource.options.synchronize === true) await this.run((db) => db.createTable());
    await this.run((db) => this.checkTable(db));
  }

  claim(request: ClaimRequest): Promise<ClaimResult> {
    return this.batches?.claim(request) ?? this.claimAlone(request);
  }

  private claimAlone(request: ClaimRequest): Promise<ClaimResult> {
    return this.run(async (db) => {
      const answer = await db.claim(request);
      // Somebody else was there and is not to be seen: look again, and never take it for a free key.
      if (!answer) throw new LostRace();
      return answer;
    });
  }

  async claimMany(requests: readonly ClaimRequest[]): Promise<readonly ClaimResult[]> {
    if (requests.length === 0) return [];
    const answered = await this.run((db) => claimTogether(db, requests, false));
    const answers: ClaimResult[] = [];
    for (const [index, request] of requests.entries()) {
      answers.push(answered[index] ?? (await this.claimAlone(request)));
    }
    return answers;
  }

  async renew(claims: readonly Claim[], leaseMs: number): Promise<ReadonlySet<string>> {
    if (claims.length === 0) return new Set();
    return this.run((db) => db.renew(sorted(claims), leaseMs));
  }

  complete(request: CompleteRequest): Promise<SettleResult> {
    return this.batches?.complete(request) ?? this.completeAlone(request);
  }

  private completeAlone(request: CompleteRequest): Promise<SettleResult> {
    return this.run((db) => db.complete(request));
  }

  async completeMany(requests: readonly CompleteRequest[]): Promise<readonly SettleResult[]> {
    if (requests.length === 0) return [];
    const settled = await this.run((db) => completeTogether(db, requests, false));
    const answers: SettleResult[] = [];
    for (const [index, request] of requests.entries()) {
      // sent again, what was applied is applied again
      answers.push(settled[index] ?? (await this.completeAlone(request)));
    }
    return answers;
  }

  release(claim: Claim, counted = true): Promise<SettleResult> {
    return this.run((db) => db.release(claim, counted));
  }

  park(claim: Claim, result: Uint8Array | null): Promise<SettleResult> {
    return this.run((db) => db.park(claim, result));
  }

  markUncertain(claim: Claim): Promise<SettleResult> {
    return this.run((db) => db.markUncertain(claim));
  }

  startEffect(claim: Claim): Promise<SettleResult> {
    return this.run((db) => db.startEffect(claim));
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<SettleResult> {
    return this.run((db) => db.keepSteps(claim, steps));
  }

  resolve(
    id: string,
    verdict: 'absent' | { readonly result: Uint8Array | null; readonly ttlMs: number },
    owner?: string,
  ): Promise<boolean> {
    return this.run((db) => db.resolve(id, verdict, owner));
  }

  find(id: string): Promise<StoredRecord | null> {
    return this.batches?.find(id) ?? this.findAlone(id);
  }

  private findAlone(id: string): Promise<StoredRecord | null> {
    return this.run((db) => db.find(id));
  }

  findSteps(id: string): Promise<Uint8Array | null> {
    return this.run((db) => db.findSteps(id));
  }

  list(filter: ListFilter): Promise<readonly StoredRecord[]> {
    return this.run((db) => db.list(filter));
  }

  countRecords(filter: CountFilter, upTo: number): Promise<number> {
    return this.run((db) => db.countRecords(filter, upTo));
  }

  async scopeWarning(): Promise<string | undefined> {
    if (await this.run((db) => db.hasScopeIndex())) return undefined;
    return (
      `The table of the idempotency store has no index on scope, and every new key with maxKeysPerScope would ` +
      `read all of it. Add ...idempotencyMigrations({ scopeIndex: true }) to the \`migrations\` of the DataSource ` +
      'and run them; with `synchronize: true`, write typeOrmStore({ scopeIndex: true }).'
    );
  }

  forget(id: string): Promise<boolean> {
    return this.run((db) => db.forget(id));
  }

  deleteExpired(limit: number): Promise<number> {
    return this.run((db) => db.deleteExpired(limit));
  }

  maintain(): Promise<Upkeep> {
    return this.run((db) => db.maintain());
  }

  ping(): Promise<number> {
    return this.run((db) => db.ping());
  }

  check(): Promise<void> {
    return this.run((db) => this.checkTable(db));
  }

  /** @internal where the records are */
  source(): DataSource {
    return typeof this.dataSource === 'function' ? this.dataSource() : this.dataSource;
  }

  /** What belongs to an open transaction must not be sent with what does not. */
  private get batches(): SharedStatements | undefined {
    return this.shared && (scopeOf(this.source())?.isOpen === true ? undefined : this.shared);
  }

  private share(dialect: Dialect): void {
    this.shared = new SharedStatements((send) => inOwnRight(this.source(), () => send(dialect)), {
      claim: (request) => this.claimAlone(request),
      complete: (request) => this.completeAlone(request),
      find: (id) => this.findAlone(id),
    });
  }

  private async run<T>(operation: (dialect: Dialect) => Promise<T>): Promise<T> {
    const { dialect } = this;
    if (!dialect) throw misconfigured('Call init() of the idempotency store before its first use.');
    return persistently(
      dialect.errors,
      () => inOwnRight(this.source(), () => operation(dialect)),
      (error) => unavailable(dialect.name, error),
    );
  }

  private async checkTable(dialect: Dialect): Promise<void> {
    try {
      await dialect.checkTable(COLUMNS.map(({ name }) => name));
    } catch (error) {
      if (
        error instanceof IdempotencyError ||
        !dialect.errors.isSchemaMissing(driverError(error))
      ) {
        throw error;
      }
      const { table = 'idempotency_record' } = this.options;
      throw misconfigured(
        `The table "${table}" of the idempotency store is missing or older than this version. Add ` +
          `...idempotencyMigrations() of nestjs-idempotency/typeorm to the \`migrations\` of the ` +
          `DataSource and run them, run \`npx nestjs-idempotency migrate\`, or set \`synchronize: true\` in development.`,
        safeCause(error),
      );
    }
  }
}
