import { inspect, isDeepStrictEqual } from 'node:util';
import { decodeEnvelope, isSealed } from '../engine/envelope.js';
import { IdempotencyError } from '../engine/errors.js';
import type { StoredRecord } from '../engine/store.js';
import { readResponse } from '../http/recorded-response.js';
import { decodeOutcome } from '../value-codec.js';

/** What retries get, for people. */
export type OutcomeView =
  | { readonly kind: 'none' | 'encrypted' | 'unreadable' }
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly headers: Readonly<Record<string, string | string[]>>;
      readonly body: string | { readonly base64: string };
    }
  /** `value` where JSON can say it, `text` otherwise. */
  | { readonly kind: 'value'; readonly value?: unknown; readonly text?: string }
  | { readonly kind: 'error'; readonly name: string; readonly message: string };

export function outcomeView({ state, result }: StoredRecord): OutcomeView {
  if (state !== 'completed' || result === null) {
    return { kind: 'none' };
  }
  if (isSealed(result)) {
    return { kind: 'encrypted' };
  }
  try {
    return readable(result);
  } catch (error) {
    if (error instanceof IdempotencyError) return { kind: 'unreadable' };
    throw error;
  }
}

function readable(result: Uint8Array): OutcomeView {
  const envelope = decodeEnvelope(result);
  if (envelope.kind === 'http') {
    const { status, headers, body } = readResponse(envelope);
    return { kind: 'response', status, headers, body: textOf(body) };
  }
  const outcome = decodeOutcome(envelope);
  if ('error' in outcome) {
    const { name, message } = outcome.error as Error;
    return { kind: 'error', name, message };
  }
  return { kind: 'value', ...plain(outcome.value) };
}

function textOf(body: Buffer): string | { readonly base64: string } {
  const text = body.toString();
  return Buffer.from(text).equals(body) ? text : { base64: body.toString('base64') };
}

function plain(value: unknown): { readonly value: unknown } | { readonly text: string } {
  try {
    const copy: unknown = JSON.parse(JSON.stringify(value));
    if (isDeepStrictEqual(copy, value)) return { value };
  } catch {
    // undefined, cycles, BigInt
  }
  return { text: inspect(value, { depth: Infinity }) };
}

export function outcomeText(outcome: OutcomeView): string {
  switch (outcome.kind) {
    case 'none':
      return 'no outcome is kept';
    case 'encrypted':
      return 'encrypted: only the application, which has the key, can read it';
    case 'unreadable':
      return 'unreadable: it is damaged, or of a later version';
    case 'response': {
      const body =
        typeof outcome.body === 'string' ? outcome.body : `base64 ${outcome.body.base64}`;
      return `${outcome.status} ${JSON.stringify(outcome.headers)} ${body}`;
    }
    case 'value':
      return outcome.text ?? JSON.stringify(outcome.value);
    case 'error':
      return `${outcome.name}: ${outcome.message}`;
  }
}
