import { decodeEnvelope } from '../engine/envelope.js';
import type { KnownOutcome, VerdictResponse } from '../engine/unknown-outcome.js';
import { isRecord } from '../option-values.js';
import { misconfigured } from '../options-check.js';
import { readResponse, recordResponse } from './recorded-response.js';
import { isNeverReplayed } from './replayed-headers.js';

const EXAMPLE = "{ response: { status: 201, body: { id: 'ch_1' } } }";

/**
 * The response that a verdict speaks of, as it would have been recorded.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a verdict without a response, or one that cannot be sent.
 */
export function encodeResponseVerdict(
  verdict: KnownOutcome,
  maxBytes: number,
  where: string,
): Uint8Array {
  if (!('response' in verdict)) {
    throw misconfigured(
      where,
      `the verdict holds a result, but the outcome of a request is a response. Write ${EXAMPLE}, or 'done'.`,
    );
  }
  const { response } = verdict;
  const body = isRecord(response) ? bodyOf(response.body) : undefined;
  if (body === undefined) {
    throw misconfigured(where, `the verdict's response cannot be sent. Write ${EXAMPLE}.`);
  }
  if (body.length > maxBytes) {
    throw misconfigured(
      where,
      `the body of the verdict is larger than maxResultBytes (${maxBytes}). Write a smaller one, or 'done'.`,
    );
  }
  const { headers, names } = headersOf(response);
  const never = Object.keys(headers).find(isNeverReplayed);
  if (never !== undefined) {
    throw misconfigured(
      where,
      `the verdict has a header '${never}', which belongs to one connection, caller or moment. Leave it out.`,
    );
  }
  const wire = { status: response.status, headers, names, body };
  const rules = { replayHeaders: Object.keys(headers), maxResultBytes: maxBytes, redact: [] };
  const bytes = recordResponse(wire, rules) as Uint8Array; // without a content encoding
  try {
    readResponse(decodeEnvelope(bytes));
  } catch {
    throw misconfigured(
      where,
      `the verdict's response has a status or a header that cannot be sent. Write ${EXAMPLE}.`,
    );
  }
  return bytes;
}

function bodyOf(body: unknown): Buffer | undefined {
  if (body === undefined) {
    return Buffer.alloc(0);
  }
  if (typeof body === 'string' || body instanceof Uint8Array) {
    return Buffer.from(body as string);
  }
  try {
    return Buffer.from(JSON.stringify(body));
  } catch {
    return undefined;
  }
}

function headersOf({ headers: given = {}, body }: VerdictResponse): {
  headers: Record<string, string | string[]>;
  names: Record<string, string>;
} {
  const headers: Record<string, string | string[]> = {};
  const names: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    headers[name.toLowerCase()] = typeof value === 'string' ? value : [value].flat();
    names[name.toLowerCase()] = name;
  }
  if (body !== undefined) {
    headers['content-type'] ??= contentType(body);
    names['content-type'] ??= 'Content-Type';
  }
  return { headers, names };
}

function contentType(body: unknown): string {
  if (typeof body === 'string') {
    return 'text/plain; charset=utf-8';
  }
  return body instanceof Uint8Array
    ? 'application/octet-stream'
    : 'application/json; charset=utf-8';
}
