import type { IncomingMessage } from 'node:http';
import { IdempotencyError } from '../engine/errors.js';
import { parseKey, type KeyRules } from '../engine/key-header.js';
import { headerLines } from './http-exchange.js';

/**
 * The key of a request; `undefined` without one, where it is optional.
 *
 * @throws IdempotencyError `IDEMPOTENCY_KEY_MISSING`, `IDEMPOTENCY_KEY_INVALID`
 */
export function requestKey(
  request: IncomingMessage,
  header: string,
  required: boolean,
  rules: KeyRules,
): string | undefined {
  const lines = headerLines(request, header.toLowerCase());
  const [line] = lines;
  if (line === undefined) {
    if (!required) {
      return undefined;
    }
    throw new IdempotencyError(
      'IDEMPOTENCY_KEY_MISSING',
      `This request needs an ${header} header: a new random value, for example a UUID, for each new ` +
        'request, and the same value again when the request is retried.',
    );
  }
  const parsed = lines.length > 1 ? { problem: 'is there more than once' } : parseKey(line, rules);
  if ('problem' in parsed) {
    throw new IdempotencyError(
      'IDEMPOTENCY_KEY_INVALID',
      `The ${header} header ${parsed.problem}.`,
    );
  }
  return parsed.key;
}
