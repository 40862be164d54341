import type { DataSource } from 'typeorm';
import type {
  BeginResult,
  Claim,
  ClaimRequest,
  CompleteRequest,
  StoreTransaction,
  StoreTransactions,
} from '../../engine/store.js';
import { within } from '../../engine/timing.js';
import { Savepoint } from '../../transactions/savepoint.js';
import { Seam } from '../../transactions/seam.js';
import { TransactionScope, scopeOf, type Watch } from '../../transactions/transaction-scope.js';
import { newMark, type Dialect } from './dialects/dialect.js';
import { SqliteDialect } from './dialects/sqlite.js';
import { driverError } from './errors.js';

/** Then the connection is ended instead. */
const LONGEST_ROLLBACK_MS = 5_000;

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

  open(leaseMs: number, watch: Watch): Promise<StoreTransaction> {
    return this.run(async (dialect) => {
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

  private openPart(dialect: Dialect, leaseMs: number, watch: Watch): Promise<Ending> {
    const gate = dialect instanceof SqliteDialect ? dialect.gate : undefined;
    const seam = Seam.of(this.dataSource(), gate && ((send) => gate.pass(send)));
    return seam.current === undefined
      ? Whole.open(dialect, this.dataSource(), seam, leaseMs, watch)
      : Part.open(seam.current, watch);
  }

  async begin(request: ClaimRequest, watch: Watch): Promise<BeginResult> {
    return this.run(async (dialect) => {
      const part = await this.openPart(dialect, request.leaseMs, watch);
      let isOurs = false;
      try {
        const claim = await dialect.claimWithin(part.scope, request);
        if (claim === undefined) throw this.lostRace();
        if (claim === 'busy') return { type: 'busy' };
        if (claim.type === 'held') return claim;
        isOurs = true;
        const transaction = new TypeOrmTransaction(dialect, part, claim.mark);
        return { ...claim.claimed, transaction };
      } finally {
        if (!isOurs) await part.undo();
      }
    });
  }
}

interface PoolOptions {
  readonly type: string;
  readonly connectTimeoutMS?: number;
  readonly extra?: { readonly connectionTimeoutMillis?: number; readonly queueLimit?: number };
}

/** How a transaction ends: a real one by commit and rollback, one inside of another by its savepoint. */
interface Ending {
  readonly scope: TransactionScope;
  keep(): Promise<void>;
  undo(): Promise<void>;
  abandon(): Promise<void>;
}

class Whole implements Ending {
  private isOver = false;

  private constructor(
    private readonly dialect: Dialect,
    readonly scope: TransactionScope,
  ) {}

  static async open(
    dialect: Dialect,
    dataSource: DataSource,
    seam: Seam,
    leaseMs: number,
    watch: Watch,
  ): Promise<Whole> {
    const { runner, send } = seam.connection();
    const watched = async (...args: Parameters<typeof send>): Promise<unknown> => {
      scope.sent += 1;
      try {
        return (await send(...args)) as unknown;
      } catch (error) {
        if (dialect.hasEndedTransaction(driverError(error))) {
          scope.end = 'undone';
        }
        throw error;
      }
    };
    const scope = new TransactionScope(dataSource, runner, watched as typeof send, watch);
    await dialect.begin({ runner, send }, leaseMs);
    return new Whole(dialect, scope);
  }

  async keep(): Promise<void> {
    this.isOver = true;
    await this.dialect.commit(this.scope);
    await this.giveBack();
  }

  async undo(): Promise<void> {
    if (this.isOver) return;
    this.isOver = true;
    this.scope.end = 'undone';
    try {
      await within(LONGEST_ROLLBACK_MS, this.rollback());
    } catch {
      // a lost connection has rolled back by itself, and one that does not answer is made to
      await this.abandon();
      return;
    }
    await this.giveBack();
  }

  async abandon(): Promise<void> {
    this.isOver = true;
    this.scope.end = 'undone';
    await this.dialect.discard(this.scope).catch(() => undefined);
  }

  private async rollback(): Promise<void> {
    await this.scope.turns.idle();
    await this.dialect.rollback(this.scope);
  }

  private async giveBack(): Promise<void> {
    try {
      await this.dialect.giveBack(this.scope);
    } catch {
      await this.dialect.discard(this.scope).catch(() => undefined);
    }
  }
}

class Part implements Ending {
  private isOver = false;

  private constructor(
    readonly scope: TransactionScope,
    private readonly savepoint: Savepoint,
    private readonly leave: () => void,
  ) {}

  static async open(around: TransactionScope, watch: Watch): Promise<Part> {
    const leave = await around.turns.enter();
    try {
      const scope = around.child(watch);
      return new Part(scope, await Savepoint.open(scope), leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  keep(): Promise<void> {
    return this.end(() => this.savepoint.keep());
  }

  async undo(): Promise<void> {
    if (!this.isOver) {
      // when even that fails, so will everything around it
      await this.end(() => this.savepoint.undo()).catch(() => undefined);
    }
  }

  /** What is around it decides. */
  async abandon(): Promise<void> {
    await this.undo();
  }

  private async end(how: () => Promise<void>): Promise<void> {
    this.isOver = true;
    try {
      await how();
    } finally {
      this.leave();
    }
  }
}

class TypeOrmTransaction implements StoreTransaction {
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

  async complete(request: CompleteRequest): Promise<boolean> {
    const scope = await this.closed();
    return this.dialect.completeWithin(scope, request, this.mark);
  }

  async keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'ended'> {
    const scope = await this.closed();
    try {
      await scope.send(`RELEASE SAVEPOINT ${this.mark}`);
    } catch (error) {
      if (this.dialect.isSavepointMissing(driverError(error))) return 'ended';
      throw error;
    }
    return (await this.dialect.keepStepsWithin(scope, claim, steps)) ? 'kept' : 'lost';
  }

  /** The scope, which nothing joins any more. */
  private async closed(): Promise<TransactionScope> {
    const { scope } = this.ending;
    if (scope.turns.isBusy) {
      scope.watch('unfinished');
    }
    await scope.turns.idle();
    if (!scope.isOpen) {
      throw new Error('the transaction was rolled back before its work had ended');
    }
    scope.end = 'kept';
    return scope;
  }

  commit(): Promise<void> {
    return this.ending.keep();
  }

  rollback(): Promise<void> {
    return this.ending.undo();
  }

  abandon(): Promise<void> {
    return this.ending.abandon();
  }

  async keepAlive(): Promise<void> {
    const { scope } = this.ending;
    if (!scope.turns.isBusy) {
      await scope.turns.take(() => this.dialect.keepAlive(scope));
    }
  }

  isConflict(error: unknown): boolean {
    return this.dialect.isConflict(driverError(error));
  }

  isRefusal(error: unknown): boolean {
    return this.dialect.isRefusal(driverError(error));
  }
}
