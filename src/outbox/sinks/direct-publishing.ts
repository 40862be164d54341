import { Logger } from '@nestjs/common';
import { calls, type Call } from '../../call-context.js';
import { IdempotencyError } from '../../engine/errors.js';
import type { EmittingClient } from './client-proxy.sink.js';

const watched = new WeakSet<object>();
const METHODS = ['emit', 'send'] as const;

/**
 * Watches for messages that a transactional operation sends past the outbox: they are out whether it is committed
 * or not. Logged once for each handler, and refused with `strict: true`. Relays belong to no operation.
 */
export function reportDirectPublishing(client: EmittingClient): void {
  if (watched.has(client)) {
    return;
  }
  watched.add(client);
  const logger = new Logger('Idempotency');
  const told = new Set<string>();
  for (const method of METHODS) {
    const original = client[method].bind(client);
    client[method] = (pattern, data) => {
      const operation = transactional(calls.getStore());
      if (operation?.policy.strict === true) {
        throw new IdempotencyError(
          'IDEMPOTENCY_TRANSACTION_BROKEN',
          `${operation.handler} ${sentence(method)}`,
        );
      }
      if (operation !== undefined && !told.has(operation.handler)) {
        told.add(operation.handler);
        logger.warn(`${operation.handler} ${sentence(method)}`);
      }
      return original(pattern, data);
    };
  }
}

function sentence(method: string): string {
  return (
    `called ${method}() of a client inside of its transaction: the message is out even if that is rolled back. ` +
    'Write once.outbox.emit() instead.'
  );
}

/** The transactional operation that the code is part of, however deep inside. */
function transactional(call: Call | undefined): Call['operation'] {
  for (let at = call; at !== undefined; at = at.outer) {
    if (at.operation?.policy.mode === 'transactional' && !at.isOver) {
      return at.operation;
    }
  }
  return undefined;
}
