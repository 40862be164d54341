import { IdempotencyError } from './engine/errors.js';
import type { Identity } from './engine/identity.js';
import type { IdempotencyKey } from './execute-options.js';
import { HTTP_OPERATION } from './http/request-operations.js';

export const EXECUTE_OPERATION = 'execute';
const LONGEST_KEY = 4_000;

/** @throws IdempotencyError `IDEMPOTENCY_KEY_INVALID` */
export function identityOf(
  namespace: string,
  name: { readonly key: string; readonly scope: string | undefined; readonly operation: string },
): Identity {
  if (typeof name.key !== 'string' || name.key === '' || name.key.length > LONGEST_KEY) {
    throw new IdempotencyError(
      'IDEMPOTENCY_KEY_INVALID',
      `The key must be a string of 1 to ${LONGEST_KEY} characters.`,
    );
  }
  return { ...name, namespace, scope: name.scope ?? '' };
}

/** Every record that somebody who looks for this key may mean. */
export function identitiesOf(
  namespace: string,
  { key, scope, operation }: IdempotencyKey,
): Identity[] {
  const operations = operation === undefined ? [HTTP_OPERATION, EXECUTE_OPERATION] : [operation];
  return operations.map((name) => identityOf(namespace, { key, scope, operation: name }));
}
