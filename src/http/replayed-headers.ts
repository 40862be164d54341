/** On a response that was recorded earlier; `true`. */
export const REPLAYED_HEADER = 'Idempotent-Replayed';

/** What describes the response itself, and so is recorded and replayed. Lower case. */
export const REPLAYED_HEADERS: readonly string[] = [
  'content-type',
  'content-disposition',
  'location',
  'etag',
  'content-language',
  'last-modified',
];

/** What belongs to one connection, caller or moment, and is never replayed, whoever asks for it. */
const NEVER_REPLAYED = new Set([
  'set-cookie',
  'date',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'proxy-authorization',
  'authorization',
  'cookie',
  'te',
  'trailer',
  'upgrade',
  'vary',
  'retry-after',
  'idempotent-replayed',
  'idempotency-unprotected',
]);
const NEVER_REPLAYED_FAMILIES = /^(access-control-|x-ratelimit-|ratelimit)/;

export function isNeverReplayed(name: string): boolean {
  const lower = name.toLowerCase();
  return NEVER_REPLAYED.has(lower) || NEVER_REPLAYED_FAMILIES.test(lower);
}
