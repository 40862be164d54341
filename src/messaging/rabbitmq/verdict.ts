/** What is to become of a delivery. */
export type Verdict =
  | { readonly type: 'ack' }
  /** Given back after a while (`requeue`), or dead-lettered. */
  | { readonly type: 'nack'; readonly requeue: boolean; readonly delayMs: number };

export const ACK: Verdict = { type: 'ack' };
/** To the queue's dead-letter exchange, if it has one. */
export const DEAD_LETTER: Verdict = { type: 'nack', requeue: false, delayMs: 0 };

export function requeue(delayMs: number): Verdict {
  return { type: 'nack', requeue: true, delayMs };
}

/**
 * What several handlers of one delivery come to: it comes again if one of them needs it again, and whoever is done
 * with it will skip it then.
 */
export function together(verdicts: readonly Verdict[]): Verdict {
  const nacks = verdicts.filter((verdict) => verdict.type === 'nack');
  return nacks.length === 0
    ? ACK
    : {
        type: 'nack',
        requeue: nacks.some((verdict) => verdict.requeue),
        delayMs: Math.max(...nacks.map(({ delayMs }) => delayMs)),
      };
}
