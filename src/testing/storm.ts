import { IdempotencyError } from '../engine/errors.js';

/** What a storm of duplicates came to. A response of the fetch API, supertest, axios or Fastify's `inject()` tells which. */
export interface Storm<T> {
  /** Everything but refusals and failures. Results that are no responses, such as those of a method, are here alone. */
  readonly answers: readonly T[];
  /** Responses of runs. */
  readonly executed: readonly T[];
  /** Responses that were recorded before: `Idempotent-Replayed: true`. */
  readonly replayed: readonly T[];
  /** Problems of the library, for which nothing ran: responses, or errors that were thrown. */
  readonly refused: readonly unknown[];
  /** Everything else that was thrown. */
  readonly failed: readonly unknown[];
}

/**
 * Sends one request many times at once and tells what became of each. Every call of `send` must send the same key.
 *
 * @param times how many, from 2 on
 * @param send given the number of the call, from 0, for example to choose one of several servers
 * @throws RangeError for a number of times that is none
 */
export async function duplicateStorm<T>(
  times: number,
  send: (index: number) => T | PromiseLike<T>,
): Promise<Storm<T>> {
  if (!Number.isInteger(times) || times < 2) {
    throw new RangeError(`A storm of ${times} is none. Write a whole number from 2 on.`);
  }
  const ended = await Promise.allSettled(
    Array.from({ length: times }, async (_, index) => send(index)),
  );
  const answers: T[] = [];
  const executed: T[] = [];
  const replayed: T[] = [];
  const refused: unknown[] = [];
  const failed: unknown[] = [];
  for (const end of ended) {
    if (end.status === 'rejected') {
      // axios throws what is not 2xx
      const isRefused =
        end.reason instanceof IdempotencyError || isRefusal(end.reason?.response as unknown);
      (isRefused ? refused : failed).push(end.reason);
    } else if (isRefusal(end.value)) {
      refused.push(end.value);
    } else {
      answers.push(end.value);
      if (isResponse(end.value)) {
        (isReplay(end.value) ? replayed : executed).push(end.value);
      }
    }
  }
  return { answers, executed, replayed, refused, failed };
}

interface Response {
  readonly status?: unknown;
  readonly statusCode?: unknown;
  readonly headers: { get?(name: string): unknown } & Readonly<Record<string, unknown>>;
}

function isResponse(value: unknown): value is Response {
  const { status, statusCode, headers } = (value ?? {}) as Partial<Response>;
  return typeof (statusCode ?? status) === 'number' && typeof headers === 'object';
}

function header({ headers }: Response, name: string): string {
  const value = typeof headers.get === 'function' ? headers.get(name) : headers[name];
  return typeof value === 'string' ? value : '';
}

function isReplay(response: Response): boolean {
  return header(response, 'idempotent-replayed') === 'true';
}

/** As an application may render problems its own way, a conflict that passes counts too. */
function isRefusal(value: unknown): boolean {
  if (!isResponse(value) || isReplay(value)) {
    return false;
  }
  const status = value.statusCode ?? value.status;
  const passes = (status === 409 || status === 503) && header(value, 'retry-after') !== '';
  return passes || header(value, 'content-type').startsWith('application/problem+json');
}
