import { toMilliseconds, type Duration } from './engine/duration.js';
import type { IdempotencyError } from './engine/errors.js';
import type { IdempotencyStore } from './engine/store.js';
import { checkIdempotentOptions } from './handler-options-check.js';
import type { IdempotencyDefaults } from './idempotency.options.js';
import { show } from './option-values.js';
import { misconfigured } from './options-check.js';

/** What only shows when the route's options meet the module's. */
export function checkRouteOptions(
  route: IdempotencyDefaults,
  merged: {
    mode: string;
    required: boolean;
    onStoreFailure: string;
    onConcurrent: string;
    lease: Duration;
    maxDuration: Duration;
  },
  storeTimeout: Duration | undefined,
  where: string,
): void {
  checkIdempotentOptions(route, where);
  if (route.waitTimeout !== undefined && merged.onConcurrent !== 'wait') {
    throw waitWithoutWaiting(where, route.waitTimeout);
  }
  if (merged.mode === 'transactional' && merged.onStoreFailure === 'open') {
    throw misconfigured(
      where,
      `option 'onStoreFailure' is 'open', but in mode: 'transactional' there is nothing to run without the ` +
        `store. Leave it out, or write mode: 'lease'.`,
    );
  }
  if (merged.mode === 'transactional' && !merged.required) {
    throw misconfigured(
      where,
      `option 'required' is false, but a request without a key would run without a transaction. Leave it ` +
        `out, or write mode: 'lease'.`,
    );
  }
  if (route.strict === true && merged.mode !== 'transactional') {
    throw misconfigured(
      where,
      `option 'strict' is true, but there is no transaction to leave. Add mode: 'transactional', or leave it out.`,
    );
  }
  const leaseMs = toMilliseconds(merged.lease) as number;
  if ((toMilliseconds(merged.maxDuration) as number) < leaseMs) {
    throw misconfigured(
      where,
      `option 'maxDuration' (${show(merged.maxDuration)}) is shorter than 'lease' ` +
        `(${show(merged.lease)}). Write a longer maxDuration or a shorter lease.`,
    );
  }
  if (storeTimeout !== undefined && (toMilliseconds(storeTimeout) as number) > leaseMs) {
    throw misconfigured(
      where,
      `option 'lease' (${show(merged.lease)}) is shorter than 'storeTimeout' (${show(storeTimeout)}): ` +
        'a claim could be over before the store has answered. Write a longer lease or a shorter storeTimeout.',
    );
  }
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for `mode: 'transactional'` on a store that cannot. */
export function checkTransactions({ name, transactions }: IdempotencyStore, where: string): void {
  if (transactions === undefined) {
    throw misconfigured(
      where,
      `option 'mode' is 'transactional', but the ${name} store has no transactions that it could be part of. ` +
        `Use typeOrmStore(), or write mode: 'lease'.`,
    );
  }
}

export function waitWithoutWaiting(where: string, value: unknown): IdempotencyError {
  return misconfigured(
    where,
    `option 'waitTimeout' is ${show(value)}, but nothing waits. Add onConcurrent: 'wait', or leave it out.`,
  );
}
