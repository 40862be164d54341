import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { IdempotencyError } from '../engine/errors.js';
import { joinedRunner, onRunner, workOf } from './joined-runner.js';
import { nested } from './savepoint.js';
import { scopeOf, type TransactionScope } from './transaction-scope.js';

/** Where a transaction has the only connection there is, those outside of it pass here. */
export interface OneConnection {
  pass(send: () => Promise<unknown>): Promise<unknown>;
  start(begin: () => Promise<void>): Promise<void>;
}

/**
 * The one place where TypeORM asks for a connection: inside of a transaction of ours it is lent that one,
 * so that repositories, managers, query builders and raw queries join without knowing of it.
 */
export class Seam {
  private static readonly seams = new WeakMap<DataSource, Seam>();
  private readonly original: DataSource['createQueryRunner'];

  private constructor(
    private readonly dataSource: DataSource,
    private readonly one?: OneConnection,
  ) {
    this.original = dataSource.createQueryRunner.bind(dataSource);
  }

  static of(dataSource: DataSource, one?: OneConnection): Seam {
    let seam = Seam.seams.get(dataSource);
    if (seam === undefined) {
      seam = new Seam(dataSource, one);
      Seam.seams.set(dataSource, seam);
      seam.install();
    }
    return seam;
  }

  /** The open transaction around the running code. */
  get current(): TransactionScope | undefined {
    const scope = scopeOf(this.dataSource);
    return scope?.isOpen === true ? scope : undefined;
  }

  /** A connection that nothing joins yet, and how to send on it. */
  connection(): { readonly runner: QueryRunner; readonly send: QueryRunner['query'] } {
    const runner = this.original('master');
    return { runner, send: sender(runner) };
  }

  private install(): void {
    const { dataSource } = this;
    dataSource.createQueryRunner = (mode) => {
      const scope = scopeOf(dataSource);
      if (scope?.isOpen === true) {
        return joinedRunner(scope);
      }
      if (scope !== undefined) {
        refuseUndone(scope);
        scope.watch('late');
      }
      return this.watched(this.original(mode));
    };
    const { manager } = dataSource;
    const transaction = manager.transaction.bind(manager) as (...args: unknown[]) => unknown;
    manager.transaction = ((...args: unknown[]) => {
      const { current } = this;
      return current === undefined
        ? transaction(...args)
        : nested(current, (inner) => onRunner(inner, workOf(dataSource, args)));
    }) as EntityManager['transaction'];
  }

  /** A runner from outside that is used inside: its work would commit, or fail, by itself. */
  private watched(runner: QueryRunner): QueryRunner {
    if (!Object.hasOwn(runner, 'query')) {
      const send = sender(runner);
      runner.query = (...args: Parameters<QueryRunner['query']>) => {
        const { current } = this;
        if (this.one !== undefined) {
          // from inside it is the transaction's own
          return current === undefined ? this.one.pass(() => send(...args)) : send(...args);
        }
        current?.watch('outside');
        return send(...args);
      };
      if (this.one !== undefined) {
        const start = runner.startTransaction.bind(runner);
        runner.startTransaction = async (...args) => {
          if (this.current !== undefined) {
            throw ownTransaction();
          }
          await this.one!.start(() => start(...args));
        };
      }
    }
    return runner;
  }
}

function sender(runner: QueryRunner): QueryRunner['query'] {
  const { query } = Object.getPrototypeOf(runner) as QueryRunner;
  return query.bind(runner) as QueryRunner['query'];
}

/** It would wait for the end of the very transaction that it is asked in. */
function ownTransaction(): IdempotencyError {
  return new IdempotencyError(
    'IDEMPOTENCY_TRANSACTION_BROKEN',
    'A query runner that was made outside of a transactional operation began a transaction inside of it, on ' +
      'the one connection that SQLite has. Make the query runner inside of the operation.',
  );
}

/** What comes after a rollback, or when there may be one yet, would take effect by itself. */
export function refuseUndone(scope: TransactionScope | undefined): void {
  if (scope?.outcome === 'undone' || scope?.outcome === 'ending') {
    throw scope.refusal();
  }
}
