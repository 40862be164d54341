import type { EntityManager } from 'typeorm';
import type { IdempotencyContext } from '../../engine/attempt.js';
import { joinedRunner } from '../../transactions/joined-runner.js';
import { innermostScope } from '../../transactions/transaction-scope.js';
import { misconfigured } from './schema.js';

/**
 * The manager of the transaction that an operation with `mode: 'transactional'`, or `once.transaction()`,
 * runs in. Repositories and managers of the DataSource join by themselves: this one is for those who hand it
 * on explicitly. With several such operations around the running code, whatever their DataSources, it is that
 * of the innermost one, whose `once` is the only one to ask with.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` where no transaction is open.
 */
export function entityManagerOf(_once: IdempotencyContext): EntityManager {
  const scope = innermostScope();
  if (scope?.isOpen !== true) {
    throw misconfigured(
      'entityManagerOf(): there is no transaction here. Call it inside of an operation with ' +
        `mode: 'transactional', or of the function given to once.transaction().`,
    );
  }
  return joinedRunner(scope).manager;
}
