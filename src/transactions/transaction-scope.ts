import { AsyncLocalStorage } from 'node:async_hooks';
import type { DataSource, QueryRunner } from 'typeorm';
import { IdempotencyError } from '../engine/errors.js';
import type { Escape } from '../engine/store.js';
import { Turns } from './turns.js';

/** Told of work that leaves its transaction; may throw to forbid it. */
export type Watch = (escape: Escape) => void;

/** Its work stands, is undone, or will be one or the other, and nothing may join it any more. */
export type End = 'kept' | 'undone' | 'ending';

/**
 * The transaction, or the savepoint in it, that the code now running belongs to. Everything TypeORM does
 * on the same DataSource from inside of it takes its turn on the one connection.
 */
export class TransactionScope {
  readonly turns = new Turns();
  /** How many statements went over the connection, in the whole transaction. */
  sent = 0;
  private ended: End | undefined;
  private readonly parts = new Set<TransactionScope>();
  /** What undid it, where that was not asked for. */
  failure: unknown;
  /** Its work has committed the whole by itself. */
  left = false;

  constructor(
    readonly dataSource: DataSource,
    /** The connection, as TypeORM made it. */
    readonly runner: QueryRunner,
    /** Sends a statement on that connection, past everything that would make it wait its turn. */
    readonly send: QueryRunner['query'],
    readonly watch: Watch,
    readonly parent?: TransactionScope,
  ) {}

  get end(): End | undefined {
    return this.ended;
  }

  /** What waits for its turn in what is undone is told so: what has the turn may be waiting for it. */
  set end(end: End) {
    this.ended = end;
    if (end === 'undone') {
      this.refuseWaiting();
    }
    if (end !== 'ending') {
      this.parent?.parts.delete(this);
    }
  }

  private refuseWaiting(): void {
    this.turns.refuse(this.refusal());
    for (const part of this.parts) {
      part.refuseWaiting();
    }
  }

  get statements(): number {
    return this.parent?.statements ?? this.sent;
  }

  /** Of the whole, which ends all its parts. */
  get cause(): unknown {
    return this.failure ?? this.parent?.cause;
  }

  get isLeft(): boolean {
    return this.parent?.isLeft ?? this.left;
  }

  /** What is told to those who come too late. */
  refusal(): unknown {
    return (
      this.cause ??
      new IdempotencyError(
        'IDEMPOTENCY_TRANSACTION_BROKEN',
        'This query came after its transaction was over, and was not run. Await every query in the ' +
          'function that the transaction belongs to.',
      )
    );
  }

  fail(error: unknown): void {
    this.failure ??= error;
    this.end = 'undone';
  }

  get isOpen(): boolean {
    return this.outcome === undefined;
  }

  /** How it ended, or what it is part of. */
  get outcome(): End | undefined {
    return this.end === 'undone' ? this.end : (this.parent?.outcome ?? this.end);
  }

  /** A part of this one that can be undone by itself. */
  child(watch: Watch = this.watch): TransactionScope {
    const part = new TransactionScope(this.dataSource, this.runner, this.send, watch, this);
    this.parts.add(part);
    return part;
  }

  isWithin(other: TransactionScope): boolean {
    return this === other || (this.parent?.isWithin(other) ?? false);
  }

  /** Runs `work`, and everything it starts, inside. */
  run<T>(work: () => T): T {
    return running.run({ scope: this, outer: running.getStore() }, work);
  }
}

interface Running {
  readonly scope: TransactionScope;
  readonly outer: Running | undefined;
}

const running = new AsyncLocalStorage<Running>();

/** The innermost scope of this DataSource around the running code, whether it is still open or not. */
export function scopeOf(dataSource: DataSource): TransactionScope | undefined {
  for (let at = running.getStore(); at !== undefined; at = at.outer) {
    if (at.scope.dataSource === dataSource) {
      return surviving(at.scope);
    }
  }
  return undefined;
}

/** The innermost scope around the running code, of whatever DataSource. */
export function innermostScope(): TransactionScope | undefined {
  const at = running.getStore();
  return at && surviving(at.scope);
}

/** Work that outlives its savepoint belongs to what was around it. */
function surviving(scope: TransactionScope): TransactionScope {
  return scope.end === 'kept' && scope.parent !== undefined ? surviving(scope.parent) : scope;
}

/** Runs statements of the library itself, which belong to an open transaction, and to none that is over. */
export function inOwnRight<T>(dataSource: DataSource, work: () => T): T {
  const scope = scopeOf(dataSource);
  return scope === undefined || scope.isOpen ? work() : running.exit(work);
}
