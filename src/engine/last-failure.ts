import { decodeEnvelope, encodeEnvelope } from './envelope.js';
import { deserialize, serialize } from './value.js';

const LONGEST_MESSAGE = 1_000;

/** Name and message of an error of the application. */
export interface LastFailure {
  readonly name: string;
  readonly message: string;
}

/** What is kept of an error for people who look at a parked record: no stack, no cause, no other property. */
export function encodeFailure(error: unknown): Uint8Array {
  const { name, message } =
    error instanceof Error ? error : { name: 'Error', message: `It threw ${textOf(error)}.` };
  const kept = { name: String(name), message: String(message).slice(0, LONGEST_MESSAGE) };
  const body = serialize(kept) as Uint8Array; // two texts
  return encodeEnvelope({ kind: 'error', meta: {}, body });
}

function textOf(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : `what is no error (${typeof thrown})`;
}

/** `undefined` where nobody said why. */
export function decodeFailure(result: Uint8Array | null): LastFailure | undefined {
  try {
    return result === null ? undefined : (deserialize(decodeEnvelope(result).body) as LastFailure);
  } catch {
    return undefined; // it is there for people, and must not keep the record from them
  }
}
