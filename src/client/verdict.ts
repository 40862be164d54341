/** What is read of an answer, whoever fetched it. */
export interface Answer {
  readonly status: number;
  header(name: string): string | null | undefined;
  /** Whether it comes from another address than was asked: perhaps a page to log in, which is no outcome. */
  readonly redirected: boolean;
  /** The body, where it is `application/problem+json`. */
  readonly problem?: Problem | undefined;
}

/** Members of RFC 9457 problems as the library answers them. */
export interface Problem {
  readonly code?: unknown;
  readonly retryable?: unknown;
}

/**
 * - `retry`: the same request with the same key may succeed later
 * - `outcome`: what has become of the key; it is used up
 * - `refusal`: all that this try led to, but it says nothing about the ones before it
 * - `open`: neither; only the same key may be used to ask again
 */
export type Verdict = 'retry' | 'outcome' | 'refusal' | 'open';

export function verdictOf(answer: Answer): Verdict {
  const { status, problem } = answer;
  const succeeded = status >= 200 && status < 300 && !answer.redirected;
  // a recorded error stays what it is, however often it is asked for
  if (succeeded || answer.header('idempotent-replayed') === 'true') {
    return 'outcome';
  }
  const { retryable, code } = problem ?? {};
  const mayChange = typeof retryable === 'boolean' ? retryable : isOfTheMoment(answer);
  if (mayChange && status !== 422) {
    return 'retry';
  }
  const isOpen = status >= 500 || (status !== 400 && String(code).startsWith('IDEMPOTENCY_'));
  return isOpen ? 'open' : 'refusal';
}

function isOfTheMoment(answer: Answer): boolean {
  const { status } = answer;
  // a conflict that passes says when, also where the application renders its problems in its own way
  const passes = status === 409 && Boolean(answer.header('retry-after'));
  return passes || status === 425 || status === 429 || status >= 500;
}

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 10_000;

/** How long to wait, in milliseconds: growing, spread, and no shorter than `Retry-After` asks for. */
export function waitBefore(retry: number, answer: Answer | undefined): number {
  const backOff = Math.min(FIRST_WAIT_MS * 2 ** (retry - 1), LONGEST_WAIT_MS);
  const asked = answer === undefined ? 0 : retryAfterMs(answer);
  return Math.max(backOff / 2, asked) + (Math.random() * backOff) / 2;
}

/** `Retry-After` in either form (RFC 9110, section 10.2.3): seconds, or a date by the server's own clock. */
function retryAfterMs(answer: Answer): number {
  const value = answer.header('retry-after') || '0';
  const seconds = Number(value);
  if (seconds >= 0) {
    return seconds * 1000;
  }
  const now = Date.parse(answer.header('date') ?? '') || Date.now();
  return Math.max(0, Date.parse(value) - now) || 0;
}
