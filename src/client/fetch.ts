import { Call, type IdempotencyOptions } from './call.js';
import { IdempotencyClientError } from './errors.js';
import { problemOf } from './problem.js';
import type { Answer } from './verdict.js';

/**
 * `fetch()` for routes that know idempotency keys: it sends a key, and sends the same request with the same key again
 * when there was no answer (a try that takes longer than `tryTimeout` is given up), or one that speaks of the moment (409 while the first is in flight, 425, 429, 5xx), as
 * `Retry-After` asks or with growing waits, until its deadline. The last answer is returned, whatever its status. 422
 * and answers that say they are not `retryable`, such as an uncertain outcome, are never retried.
 *
 * GET, HEAD and OPTIONS are retried without a key. The body is read into memory first; a stream is refused.
 *
 * @throws IdempotencyClientError `IDEMPOTENCY_UNANSWERED` when the deadline is over and no answer came; the others
 *   before anything is sent
 * @throws the reason of the request's own signal
 */
export async function idempotentFetch(
  input: Parameters<typeof fetch>[0],
  init?: RequestInit,
  options: IdempotencyOptions = {},
): Promise<Response> {
  refuseStream(init?.body);
  const request = new Request(input, init);
  const body = await request.arrayBuffer();
  const headers = new Headers(request.headers);
  const call = await Call.begin(options, request.method, headers);
  // a GET has none, and must not be given one
  const again = { headers, ...(request.bodyUsed && { body }) };
  let failure: unknown;
  for (;;) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(timedOut()), call.timeForTry());
    let response: Response | undefined;
    let wait: number | undefined;
    try {
      const signal = AbortSignal.any([request.signal, late.signal]);
      const attempt = new Request(request, { ...again, signal });
      refuseRemoved(headers, attempt.headers);
      response = await fetch(attempt).catch((error: unknown) => {
        request.signal.throwIfAborted();
        // why there was no answer says more than that time is over
        failure = late.signal.aborted ? (failure ?? error) : error;
        return undefined;
      });
      wait = await call.next(response && (await answerOf(response)));
    } finally {
      // the caller may take any time to read the body
      clearTimeout(timer);
    }
    if (wait !== undefined) {
      response?.body?.cancel().catch(() => undefined);
      await sleep(wait, request.signal);
    } else if (response !== undefined) {
      return response;
    } else {
      throw unanswered(failure);
    }
  }
}

async function answerOf(response: Response): Promise<Answer> {
  const { status, headers, redirected } = response;
  const header = (name: string): string | null => headers.get(name);
  // the caller reads the body itself
  const problem = await problemOf(status, header('content-type'), () => response.clone().text());
  return { status, header, redirected, problem };
}

function refuseStream(body: unknown): void {
  const { getReader, [Symbol.asyncIterator]: iterate } = Object(body) as Record<
    string | symbol,
    unknown
  >;
  if (getReader !== undefined || iterate !== undefined) {
    throw new IdempotencyClientError(
      'IDEMPOTENCY_BODY_NOT_REPEATABLE',
      'The body is a stream, and a retry has to send the same bytes again. Give text, bytes, a Blob or a form.',
    );
  }
}

/** `mode: 'no-cors'` drops the header without a word, and a retry would be another order. */
function refuseRemoved(wanted: Headers, sent: Headers): void {
  for (const [name] of wanted) {
    if (!sent.has(name)) {
      throw new IdempotencyClientError(
        'IDEMPOTENCY_HEADER_REMOVED',
        `The header ${name} cannot be sent in this mode, so nothing was sent. Leave out mode: 'no-cors'.`,
      );
    }
  }
}

function timedOut(): DOMException {
  return new DOMException('No answer came in the time for one try.', 'TimeoutError');
}

function unanswered(cause: unknown): IdempotencyClientError {
  return new IdempotencyClientError(
    'IDEMPOTENCY_UNANSWERED',
    'No answer came before the deadline, so nobody knows whether it happened. Call again with the same intent or key.',
    { cause },
  );
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop);
  });
}
