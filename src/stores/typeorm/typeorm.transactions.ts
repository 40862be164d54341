import type { DataSource } from 'typeorm';
import { IdempotencyError } from '../../engine/errors.js';
import type {
  BeginRequest,
  BeginResult,
  Claim,
  CompleteRequest,
  StoreTransaction,
  StoreTransactions,
} from '../../engine/store.js';
import { Seam, refuseUndone } from '../../transactions/seam.js';
import {
  scopeOf,
  type TransactionScope,
  type Watch,
} from '../../transactions/transaction-scope.js';
import { newMark } from './dialects/dialect-transactions.js';
import type { Dialect } from './dialects/dialect.js';
import { driverError, safeCause } from './errors.js';
import { Part, Whole, type Ending } from './open-transaction.js';

/** Runs a statement as often as the database asks for, and turns what it says into errors of ours. */
type Run = <T>(operation: (dialect: Dialect) => Promise<T>) => Promise<T>;

/** Transactions in which a record and what TypeORM does in the same database are committed together. */
export class TypeOrmTransactions implements StoreTransactions {
  constructor(
    private readonly dataSource: () => DataSource,
    private readonly run: Run,
    private readonly lostRace: () => Error,
  ) {}

  isInside(): boolean {
    return scopeOf(this.dataSource())?.isOpen === true;
  }

  /** Who holds a connection and asks for another one, when all do, would wait for ever. */
  get warning(): string | undefined {
    const { type, connectTimeoutMS, extra } = this.dataSource().options as PoolOptions;
    if (type === 'better-sqlite3') return undefined;
    const isLimited =
      type === 'postgres'
        ? (connectTimeoutMS ?? extra?.connectionTimeoutMillis) !== undefined
        : extra?.queueLimit !== undefined;
    const instead = type === 'postgres' ? 'connectTimeoutMS: 5_000' : 'extra: { queueLimit: 100 }';
    return isLimited
      ? undefined
      : `The connection pool of the DataSource lets requests wait for ever. Add ${instead} to its options.`;
  }

  /** From then on queries know which transaction they belong to. */
  prepare(dialect: Dialect): Seam {
    return Seam.of(this.dataSource(), dialect.transactions.gate);
  }

  open(leaseMs: number, watch: Watch): Promise<StoreTransaction> {
    return this.once(async (dialect) => {
      const part = await this.openPart(dialect, leaseMs, watch);
      const mark = newMark();
      try {
        await part.scope.send(`SAVEPOINT ${mark}`);
      } catch (error) {
        await part.undo();
        throw error;
      }
      return new TypeOrmTransaction(dialect, part, mark);
    });
  }

  private async openPart(dialect: Dialect, leaseMs: number, watch: Watch): Promise<Ending> {
    const seam = this.prepare(dialect);
    if (seam.current !== undefined) {
      return Part.open(seam.current, watch);
    }
    const whole = Whole.on(dialect, this.dataSource(), seam, watch);
    await dialect.transactions.begin(whole.connection, leaseMs);
    return whole;
  }

  private async claimed(dialect: Dialect, request: BeginRequest, watch: Watch) {
    const seam = this.prepare(dialect);
    if (seam.current === undefined) {
      const part = Whole.on(dialect, this.dataSource(), seam, watch, request);
      const begin = request.keepStart === true ? 'beginKept' : 'beginWith';
      return { part, claim: await dialect.transactions[begin](part.connection, request) };
    }
    const part = await Part.open(seam.current, watch);
    try {
      return { part, claim: await dialect.transactions.claimWithin(part.scope, request) };
    } catch (error) {
      await part.undo();
      throw error;
    }
  }

  async begin(request: BeginRequest, watch: Watch): Promise<BeginResult> {
    return this.once((dialect) => this.beginOnce(dialect, request, watch));
  }

  /** Inside of a transaction an error may have undone the whole: tried again it would be one of its own. */
  private async once<T>(begin: (dialect: Dialect) => Promise<T>): Promise<T> {
    refuseUndone(scopeOf(this.dataSource()));
    return this.isInside() ? begin(await this.run(async (dialect) => dialect)) : this.run(begin);
  }

  private async beginOnce(
    dialect: Dialect,
    request: BeginRequest,
    watch: Watch,
  ): Promise<BeginResult> {
    const { part, claim } = await this.claimed(dialect, request, watch);
    let isOurs = false;
    try {
      if (claim === undefined) throw this.lostRace();
      if (claim === 'busy') return { type: 'busy' };
      if (claim.type === 'held') return claim;
      isOurs = true;
      const transaction = new TypeOrmTransaction(dialect, part, claim.mark);
      return { ...claim.claimed, transaction };
    } finally {
      if (!isOurs) await part.undo();
    }
  }
}

interface PoolOptions {
  readonly type: string;
  readonly connectTimeoutMS?: number;
  readonly extra?: { readonly connectionTimeoutMillis?: number; readonly queueLimit?: number };
}

class TypeOrmTransaction implements StoreTransaction {
  /** What goes out with COMMIT. */
  private last: string | undefined;

  constructor(
    private readonly dialect: Dialect,
    private readonly ending: Ending,
    private readonly mark: string,
  ) {}

  get statements(): number {
    return this.ending.scope.statements;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return this.ending.scope.run(work);
  }

  complete(request: CompleteRequest): Promise<boolean> {
    return withoutValues(() => this.completeOnce(request));
  }

  private async completeOnce(request: CompleteRequest): Promise<boolean> {
    const scope = await this.closed();
    if (this.ending instanceof Whole && !this.ending.mayBeAnother) {
      this.last = this.dialect.transactions.finalStatement(scope, request, this.mark);
    }
    const isWhole =
      this.last !== undefined ||
      (!scope.isLeft &&
        (await this.dialect.transactions.completeWithin(scope, request, this.mark)));
    if (!isWhole) await this.leave();
    return isWhole;
  }

  keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    return withoutValues(() => this.keepStepsOnce(claim, steps));
  }

  private async keepStepsOnce(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    const scope = await this.closed();
    if (scope.isLeft || !(await this.hasMark(scope))) {
      await this.leave();
      return 'left';
    }
    return (await this.dialect.transactions.keepStepsWithin(scope, claim, steps)) ? 'kept' : 'lost';
  }

  /** Whether the transaction is the one that was opened. */
  private async hasMark(scope: TransactionScope): Promise<boolean> {
    try {
      await scope.send(`RELEASE SAVEPOINT ${this.mark}`);
      return true;
    } catch (error) {
      if (this.dialect.errors.isSavepointMissing(driverError(error))) return false;
      throw error;
    }
  }

  /** The scope, which nothing joins any more. */
  private async closed(): Promise<TransactionScope> {
    const { scope } = this.ending;
    if (scope.turns.isBusy) {
      scope.watch('unfinished');
    }
    await scope.turns.idle().catch((error: unknown) => {
      throw leftOpen(error);
    });
    if (!scope.isOpen) {
      throw scope.cause ?? new Error('the transaction was rolled back before its work had ended');
    }
    // what is around a part decides about what comes late; whether there will be a commit is not certain yet
    scope.end = scope.parent === undefined ? 'ending' : 'kept';
    return scope;
  }

  private async leave(): Promise<void> {
    await this.ending.leave();
    this.ending.scope.end = 'kept';
  }

  get isLeft(): boolean {
    return this.ending.scope.isLeft;
  }

  async commit(): Promise<void> {
    await withoutValues(() => this.ending.keep(this.last));
    this.ending.scope.end = 'kept';
  }

  rollback(): Promise<void> {
    return this.ending.undo();
  }

  abandon(): Promise<void> {
    return this.ending.abandon();
  }

  keepAlive(): Promise<void> {
    return this.ending.keepAlive();
  }

  isConflict(error: unknown): boolean {
    const { cause } = Object(error) as { cause?: unknown };
    // an inner operation says it in an error of ours
    return [error, cause].some((each) => this.dialect.errors.isConflict(driverError(each)));
  }

  isRefusal(error: unknown): boolean {
    return this.dialect.errors.isRefusal(driverError(error));
  }
}

function leftOpen(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'The handler ended with a transaction (or a stream) still open that it had begun on a query runner. ' +
      'Commit it, or release the query runner, before the handler returns.',
    { cause },
  );
}

/** What the database said, without the statement: that holds the response. */
async function withoutValues<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw error instanceof IdempotencyError ? error : safeCause(error);
  }
}
