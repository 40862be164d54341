import { REPLAYED_HEADERS } from '../../src/http/replayed-headers.js';
import { send, type RawRequest, type RawResponse } from './http.js';

let keys = 0;

/** A key that no other test of this run uses. */
export function freshKey(): string {
  return `key-${process.pid}-${(keys += 1)}`;
}

/** Sends a request, with a fresh key if it has none, and sends it once more. */
export async function sendTwice(
  target: { readonly port: number },
  request: RawRequest,
): Promise<{ first: RawResponse; again: RawResponse; key: string }> {
  const key = request.key ?? freshKey();
  const first = await send(target, { ...request, key });
  const again = await send(target, { ...request, key });
  return { first, again, key };
}

/** The second answer is the first one, and says that it is a repetition. */
export function expectReplay(first: RawResponse, again: RawResponse): void {
  expect(describeAnswer(again)).toEqual(describeAnswer(first));
  expect(first.header('idempotent-replayed')).toBeUndefined();
  expect(again.header('idempotent-replayed')).toBe('true');
  expect(again.truncated).toBe(false);
}

function describeAnswer({ statusLine, body, header }: RawResponse): object {
  return {
    statusLine,
    body: body.toString('latin1'),
    headers: Object.fromEntries(REPLAYED_HEADERS.map((name) => [name, header(name)])),
  };
}
