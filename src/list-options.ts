import {
  RECORD_STATES,
  type CountFilter,
  type ListFilter,
  type RecordState,
} from './engine/store.js';
import { integer, show } from './option-values.js';
import { misconfigured } from './options-check.js';

const LARGEST_PAGE = 1_000;
const MOST_COUNTED = 1_000_000;

/** Options of `IdempotencyService.list()`. */
export interface ListOptions {
  readonly state?: RecordState;
  readonly scope?: string;
  /**
   * Records per page, 1 to 1,000.
   * @default 100
   */
  readonly limit?: number;
  /** The `id` of the last record of the page before. */
  readonly after?: string;
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED`; `where` begins its sentence. */
export function listFilter(options: ListOptions, where: string): ListFilter {
  const { limit = 100, ...filter } = options;
  checkState(filter.state, RECORD_STATES, where);
  if (filter.after !== undefined && !/^[0-9a-f]{32}$/.test(filter.after)) {
    throw misconfigured(
      where,
      `option 'after' is '${filter.after}'. Write the id of the last record of the page before.`,
    );
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > LARGEST_PAGE) {
    throw misconfigured(
      where,
      `option 'limit' is ${limit}. Write a whole number from 1 to ${LARGEST_PAGE}.`,
    );
  }
  return { ...filter, limit };
}

/** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` */
export function checkCount({ state }: CountFilter, upTo: number): void {
  const where = 'IdempotencyService.count()';
  checkState(state, [...RECORD_STATES, 'expired'], where);
  const wrong = integer(1, MOST_COUNTED)(upTo);
  if (wrong !== undefined) {
    throw misconfigured(where, `'upTo' is ${show(upTo)}. ${wrong}`);
  }
}

function checkState(state: string | undefined, allowed: readonly string[], where: string): void {
  if (state !== undefined && !allowed.includes(state)) {
    const states = allowed.map((each) => `'${each}'`).join(', ');
    throw misconfigured(where, `option 'state' is '${state}'. Write one of ${states}.`);
  }
}
