import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { IdempotencyError } from '../engine/errors.js';
import { Savepoint, nested } from './savepoint.js';
import { scopeOf, type TransactionScope } from './transaction-scope.js';

type Transaction = EntityManager['transaction'];
type Work = (manager: EntityManager) => Promise<unknown>;

interface Begun {
  readonly scope: TransactionScope;
  readonly savepoint: Savepoint;
  readonly end: () => void;
}

/**
 * A query runner on the connection of a transaction that is open already: its queries take their turn
 * there, its transactions are savepoints, and releasing it gives nothing back.
 */
export function joinedRunner(scope: TransactionScope): QueryRunner {
  const { dataSource, runner } = scope;
  const joined = Object.create(runner) as QueryRunner;
  const begun: Begun[] = [];
  const here = (): TransactionScope => deeper(begun.at(-1)?.scope ?? scope);

  const own: Record<PropertyKey, unknown> = {
    // it is in one, so TypeORM opens no other around each of its own operations
    isTransactionActive: true,
    data: {},
    loadedTables: [],
    loadedViews: [],

    query: (...args: Parameters<QueryRunner['query']>) => {
      const at = here();
      return at.isOpen ? at.turns.take(() => checked(at).send(...args)) : late(at, args);
    },

    startTransaction: async (level?: unknown) => {
      checkLevel(dataSource.options, level);
      const around = checked(here());
      const end = await around.turns.hold();
      try {
        const inner = around.child();
        begun.push({ scope: inner, savepoint: await Savepoint.open(inner), end });
      } catch (error) {
        end();
        throw error;
      }
    },
    commitTransaction: () => endLast(begun, (savepoint) => savepoint.keep()),
    rollbackTransaction: () => endLast(begun, (savepoint) => savepoint.undo()),

    release: async () => {
      while (begun.length > 0) {
        await endLast(begun, (savepoint) => savepoint.undo());
      }
      Object.defineProperty(joined, 'isReleased', { value: true });
    },

    stream: async (...args: Parameters<QueryRunner['stream']>) => {
      const end = await checked(here()).turns.hold();
      try {
        const stream = await runner.stream(...args);
        stream.once('close', end);
        return stream;
      } catch (error) {
        end();
        throw error;
      }
    },

    [Symbol.asyncDispose]: async () => {
      while (begun.length > 0) {
        await endLast(begun, (savepoint) => savepoint.keep());
      }
      await joined.release();
    },
  };
  Object.defineProperties(joined, Object.getOwnPropertyDescriptors(own));

  // subscribers of entities are handed this runner and its manager, not the connection beneath
  const Broadcaster = runner.broadcaster.constructor as new (
    runner: QueryRunner,
  ) => QueryRunner['broadcaster'];
  Object.defineProperty(joined, 'broadcaster', { value: new Broadcaster(joined) });
  const manager = dataSource.createEntityManager(joined);
  manager.transaction = ((...args: unknown[]) =>
    nested(checked(here()), (inner) => onRunner(inner, workOf(dataSource, args)))) as Transaction;
  return joined;
}

/** Runs `work` on a manager of its own. What it leaves behind, such as lazy relations, finds that released. */
export async function onRunner(scope: TransactionScope, work: Work): Promise<unknown> {
  const joined = joinedRunner(scope);
  try {
    return await work(joined.manager);
  } finally {
    await joined.release();
  }
}

/** The callback of `transaction(work)` and `transaction(isolationLevel, work)`. */
export function workOf({ options }: DataSource, args: readonly unknown[]): Work {
  checkLevel(options, args[0]);
  return args.find((argument) => typeof argument === 'function') as Work;
}

/** A savepoint has no isolation level of its own, and less than was asked for would be no answer. */
function checkLevel({ isolationLevel }: DataSource['options'], asked: unknown): void {
  if (typeof asked === 'string' && asked !== isolationLevel) {
    throw new IdempotencyError(
      'IDEMPOTENCY_TRANSACTION_BROKEN',
      `A transaction at ${asked} was begun inside of a transactional operation, whose level holds for all ` +
        `of it. Leave the level out, or write isolationLevel: '${asked}' in the options of the DataSource.`,
    );
  }
}

/** A runner made outside of a savepoint, used by code inside of it, belongs inside. */
function deeper(bound: TransactionScope): TransactionScope {
  const current = scopeOf(bound.dataSource);
  return current?.isWithin(bound) === true ? current : bound;
}

function checked(scope: TransactionScope): TransactionScope {
  if (!scope.isOpen) {
    throw scope.refusal();
  }
  return scope;
}

/** After a commit the query runs, on a connection of its own and reported; after a rollback nothing may. */
async function late(
  scope: TransactionScope,
  args: Parameters<QueryRunner['query']>,
): Promise<unknown> {
  if (scope.outcome !== 'kept') {
    checked(scope);
  }
  const fresh = scope.dataSource.createQueryRunner();
  try {
    return (await fresh.query(...args)) as unknown;
  } finally {
    await fresh.release();
  }
}

async function endLast(
  begun: Begun[],
  how: (savepoint: Savepoint) => Promise<void>,
): Promise<void> {
  const last = begun.pop();
  if (last === undefined) {
    throw new Error('There is no transaction to end on this query runner: begin one first.');
  }
  try {
    await how(last.savepoint);
  } finally {
    last.end();
  }
}
