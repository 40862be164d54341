import type { Emit } from './events.js';
import { IdempotencyError } from './errors.js';
import type { Operation } from './operation.js';
import type { Escape } from './store.js';

const WHAT: Readonly<Record<Escape, string>> = {
  outside:
    'sent a query on another connection, outside of its transaction. Use injected repositories or the ' +
    'manager of the DataSource, or take the query runner from it inside of the handler.',
  unfinished:
    'ended while queries of it were still under way. Await every query before the handler returns.',
  late: 'sent a query after its transaction was over. Await everything that the handler starts.',
  ended:
    'ended the transaction that it was part of. Leave COMMIT and ROLLBACK to the library, and statements ' +
    'that commit by themselves (DDL on MySQL) out of the handler.',
};

/** Tells of work that left its transaction, and fails the operation where that is strict. */
export class EscapeReport {
  /** With which the operation fails. */
  failure: IdempotencyError | undefined;

  constructor(
    private readonly operation: Operation,
    private readonly emit: Emit,
  ) {}

  /** @throws IdempotencyError `IDEMPOTENCY_TRANSACTION_BROKEN` with `strict: true` */
  readonly watch = (escape: Escape): void => {
    const { handler, id, policy } = this.operation;
    this.emit('onEscaped', { handler, record: id, escape });
    if (policy.strict) {
      this.failure ??= new IdempotencyError(
        'IDEMPOTENCY_TRANSACTION_BROKEN',
        `${handler} ${WHAT[escape]}`,
      );
      throw this.failure;
    }
  };

  /** The handler may have caught the error that forbade it to go on. */
  check(): void {
    if (this.failure !== undefined) {
      throw this.failure;
    }
  }
}

export function escapeSentence(escape: Escape): string {
  return WHAT[escape];
}
