import type { DataSource, QueryRunner } from 'typeorm';
import { IdempotencyError } from '../../engine/errors.js';
import type { Claim } from '../../engine/store.js';
import { within } from '../../engine/timing.js';
import { Savepoint } from '../../transactions/savepoint.js';
import type { Seam } from '../../transactions/seam.js';
import { TransactionScope, type Watch } from '../../transactions/transaction-scope.js';
import type { Connection } from './dialects/dialect-transactions.js';
import type { Dialect } from './dialects/dialect.js';
import { driverError } from './errors.js';

/** Words without which nobody ends a transaction. Some statements that have them do not, and only cost a little. */
const ENDS = /\b(?:commit|rollback|abort|end|prepare)\b/i;
/** Then the connection is ended instead. */
const LONGEST_ROLLBACK_MS = 5_000;

/** How a transaction ends: a real one by commit and rollback, one inside of another by its savepoint. */
export interface Ending {
  readonly scope: TransactionScope;
  /** The work has ended it already: ends what was left behind. */
  leave(): Promise<void>;
  /** @param lastStatement that goes out with COMMIT */
  keep(lastStatement?: string): Promise<void>;
  undo(): Promise<void>;
  abandon(): Promise<void>;
  keepAlive(): Promise<void>;
}

/** One of its own, on a connection of its own. */
export class Whole implements Ending {
  readonly scope: TransactionScope;
  /** The work has sent what could have ended the transaction and begun the next at once. */
  mayBeAnother = false;
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
      this.watched(args[0], () => send(...args))) as typeof send;
    this.scope = new TransactionScope(dataSource, runner, watched, watch);
  }

  static on(
    dialect: Dialect,
    dataSource: DataSource,
    seam: Seam,
    watch: Watch,
    claim?: Claim,
  ): Whole {
    const { runner, send } = seam.connection();
    return new Whole(dialect, dataSource, runner, send, claim, watch);
  }

  /** Past everything that watches the work. */
  get connection(): Connection {
    return { runner: this.runner, send: this.send };
  }

  /** Sends a statement of the work, and looks whether there is a transaction behind it. */
  private async watched(sql: string, send: () => Promise<unknown>): Promise<unknown> {
    this.sending += 1;
    this.scope.sent += 1;
    this.mayBeAnother ||= ENDS.test(sql);
    try {
      await this.speaking;
      const answer = await send();
      if (
        !this.isOver &&
        !this.scope.left &&
        this.dialect.transactions.isOver(this.runner, answer)
      ) {
        await this.left();
      }
      return answer;
    } catch (error) {
      if (!this.isOver && this.dialect.transactions.hasEnded(driverError(error))) {
        this.scope.fail(error);
      }
      throw error;
    } finally {
      this.sending -= 1;
    }
  }

  /** After a COMMIT of the work its record is there, as an uncertain one; after a ROLLBACK nothing is. */
  private async left(): Promise<void> {
    // without a record nobody can tell, and what may have happened counts as happened
    this.scope.left =
      this.claim === undefined ||
      (await this.dialect.transactions.isKept(this.connection, this.claim));
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

  async keep(lastStatement?: string): Promise<void> {
    // whoever let go of it meanwhile has rolled it back, and the database would commit nothing without a word
    if (this.isOver) throw new Error('the transaction was rolled back before it was committed');
    this.isOver = true;
    await this.speaking;
    try {
      await this.dialect.transactions.commit(this.connection, lastStatement);
    } catch (error) {
      if (this.dialect.errors.isRefusal(driverError(error))) await this.undoRefused();
      throw error;
    }
    await this.giveBack();
  }

  private async undoRefused(): Promise<void> {
    this.isOver = false;
    await this.undo();
  }

  /** An owner whose work is busy elsewhere says that it is there. */
  async keepAlive(): Promise<void> {
    if (this.isOver || this.sending > 0 || this.speaking !== undefined) return;
    const spoken = this.dialect.transactions.keepAlive(this.connection);
    this.speaking = spoken.catch(() => undefined).finally(() => (this.speaking = undefined));
    try {
      await spoken;
    } catch (error) {
      // after an error of the work the database refuses everything, but it has heard us
      if (!this.dialect.errors.isRefusal(driverError(error))) throw error;
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
    await this.dialect.transactions.discard(this.scope).catch(() => undefined);
  }

  private async rollback(): Promise<void> {
    // a transaction that was left open by hand is rolled back with everything around it
    await this.scope.turns.idle().catch(() => undefined);
    await this.speaking;
    await this.dialect.transactions.rollback(this.scope);
  }

  private async giveBack(): Promise<void> {
    try {
      await this.dialect.transactions.giveBack(this.connection);
    } catch {
      await this.dialect.transactions.discard(this.scope).catch(() => undefined);
    }
  }
}

/** One inside of another, which decides. */
export class Part implements Ending {
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

function rolledBack(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'The handler rolled back the transaction that it was part of, and nothing of it was kept. Throw an ' +
      'error instead, or use a transaction of its own inside.',
  );
}
