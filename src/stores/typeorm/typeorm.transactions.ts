import type { DataSource, QueryRunner } from 'typeorm';
import { IdempotencyError } from '../../engine/errors.js';
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
import { Seam, refuseUndone } from '../../transactions/seam.js';
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

  /** From then on queries know which transaction they belong to. */
  prepare(dialect: Dialect): Seam {
    const gate = dialect instanceof SqliteDialect ? dialect.gate : undefined;
    return Seam.of(this.dataSource(), gate && ((send) => gate.pass(send)));
  }

  async open(leaseMs: number, watch: Watch): Promise<StoreTransaction> {
    refuseUndone(scopeOf(this.dataSource()));
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

  private openPart(
    dialect: Dialect,
    leaseMs: number,
    watch: Watch,
    claim?: Claim,
  ): Promise<Ending> {
    const seam = this.prepare(dialect);
    return seam.current === undefined
      ? Whole.open(dialect, this.dataSource(), seam, leaseMs, watch, claim)
      : Part.open(seam.current, watch);
  }

  async begin(request: ClaimRequest, watch: Watch): Promise<BeginResult> {
    refuseUndone(scopeOf(this.dataSource()));
    return this.run(async (dialect) => {
      const part = await this.openPart(dialect, request.leaseMs, watch, request);
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
  /** The work has ended it already: ends what was left behind. */
  leave(): Promise<void>;
  keep(): Promise<void>;
  undo(): Promise<void>;
  abandon(): Promise<void>;
  keepAlive(): Promise<void>;
}

class Whole implements Ending {
  readonly scope: TransactionScope;
  private isOver = false;
  private sending = 0;
  private speaking: Promise<unknown> | undefined;

  private constructor(
    private readonly dialect: Dialect,
    dataSource: DataSource,
    private readonly runner: QueryRunner,
    private readonly send: QueryRunner['query'],
    /** Of the record that is part of it; a step has none. */
    private readonly claim: Claim | undefined,
    watch: Watch,
  ) {
    const watched = ((...args: Parameters<typeof send>) =>
      this.watched(() => send(...args))) as typeof send;
    this.scope = new TransactionScope(dataSource, runner, watched, watch);
  }

  static async open(
    dialect: Dialect,
    dataSource: DataSource,
    seam: Seam,
    leaseMs: number,
    watch: Watch,
    claim?: Claim,
  ): Promise<Whole> {
    const { runner, send } = seam.connection();
    const whole = new Whole(dialect, dataSource, runner, send, claim, watch);
    await dialect.begin({ runner, send }, leaseMs);
    return whole;
  }

  /** Sends a statement of the work, and looks whether there is a transaction behind it. */
  private async watched(send: () => Promise<unknown>): Promise<unknown> {
    this.sending += 1;
    this.scope.sent += 1;
    try {
      await this.speaking;
      const answer = await send();
      if (!this.isOver && !this.scope.left && this.dialect.isOver(this.runner, answer)) {
        await this.left();
      }
      return answer;
    } catch (error) {
      if (!this.isOver && this.dialect.hasEndedTransaction(driverError(error))) {
        this.scope.fail(error);
      }
      throw error;
    } finally {
      this.sending -= 1;
    }
  }

  /** After a COMMIT of the work its record is there, as an uncertain one; after a ROLLBACK nothing is. */
  private async left(): Promise<void> {
    const on = { runner: this.runner, send: this.send };
    // without a record nobody can tell, and what may have happened counts as happened
    this.scope.left = this.claim === undefined || (await this.dialect.isKept(on, this.claim));
    if (!this.scope.left) {
      this.scope.fail(rolledBack());
    }
    try {
      this.scope.watch('ended');
    } catch (error) {
      this.scope.fail(error);
      throw error;
    }
  }

  async leave(): Promise<void> {
    if (!this.scope.left) await this.left();
    if (this.scope.failure !== undefined) throw this.scope.failure;
    try {
      await this.keep();
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  async keep(): Promise<void> {
    this.isOver = true;
    await this.speaking;
    await this.dialect.commit(this.scope);
    await this.giveBack();
  }

  /** An owner whose work is busy elsewhere says that it is there. */
  async keepAlive(): Promise<void> {
    if (this.isOver || this.sending > 0 || this.speaking !== undefined) return;
    const spoken = this.dialect.keepAlive({ runner: this.runner, send: this.send });
    this.speaking = spoken.catch(() => undefined).finally(() => (this.speaking = undefined));
    try {
      await spoken;
    } catch (error) {
      // after an error of the work the database refuses everything, but it has heard us
      if (!this.dialect.isRefusal(driverError(error))) throw error;
    }
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
    // a transaction that was left open by hand is rolled back with everything around it
    await this.scope.turns.idle().catch(() => undefined);
    await this.speaking;
    await this.dialect.rollback(this.scope);
  }

  private async giveBack(): Promise<void> {
    try {
      await this.dialect.giveBack({ runner: this.runner, send: this.send });
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
    private readonly endTurn: () => void,
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

  async leave(): Promise<void> {
    await this.end(async () => this.scope.watch('ended'));
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

  /** What is around it does. */
  async keepAlive(): Promise<void> {}

  private async end(how: () => Promise<void>): Promise<void> {
    this.isOver = true;
    try {
      await how();
    } finally {
      this.endTurn();
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
    const isWhole = !scope.isLeft && (await this.dialect.completeWithin(scope, request, this.mark));
    if (!isWhole) await this.ending.leave();
    return isWhole;
  }

  async keepSteps(claim: Claim, steps: Uint8Array): Promise<'kept' | 'lost' | 'left'> {
    const scope = await this.closed();
    if (scope.isLeft || !(await this.hasMark(scope))) {
      await this.ending.leave();
      return 'left';
    }
    return (await this.dialect.keepStepsWithin(scope, claim, steps)) ? 'kept' : 'lost';
  }

  /** Whether the transaction is the one that was opened. */
  private async hasMark(scope: TransactionScope): Promise<boolean> {
    try {
      await scope.send(`RELEASE SAVEPOINT ${this.mark}`);
      return true;
    } catch (error) {
      if (this.dialect.isSavepointMissing(driverError(error))) return false;
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
    scope.end = 'kept';
    return scope;
  }

  get isLeft(): boolean {
    return this.ending.scope.isLeft;
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

  keepAlive(): Promise<void> {
    return this.ending.keepAlive();
  }

  isConflict(error: unknown): boolean {
    return this.dialect.isConflict(driverError(error));
  }

  isRefusal(error: unknown): boolean {
    return this.dialect.isRefusal(driverError(error));
  }
}

function rolledBack(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'The handler rolled back the transaction that it was part of, and nothing of it was kept. Throw an ' +
      'error instead, or use a transaction of its own inside.',
  );
}

function leftOpen(cause: unknown): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'The handler ended with a transaction (or a stream) still open that it had begun on a query runner. ' +
      'Commit it, or release the query runner, before the handler returns.',
    { cause },
  );
}
