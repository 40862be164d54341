import { HttpException } from '@nestjs/common';
import { encodeEnvelope, unreadable, type Envelope } from './engine/envelope.js';
import type { KnownOutcome } from './engine/unknown-outcome.js';
import { deserialize, serialize } from './engine/value.js';
import { misconfigured } from './options-check.js';

/**
 * Results of `execute()` keep their types over a replay: Date, BigInt, Map, Set, Buffer, RegExp, URL,
 * `undefined`, `NaN`, cycles. Functions, symbols and instances of classes do not: `undefined` is answered,
 * and the caller keeps the result as one that cannot be kept.
 */
export function encodeValue(value: unknown): Uint8Array | undefined {
  const body = serialize(value);
  return body && encodeEnvelope({ kind: 'value', meta: {}, body });
}

/**
 * The result that a verdict speaks of, as it would have been recorded.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a verdict without a result, or one that cannot be kept.
 */
export function encodeValueVerdict(
  verdict: KnownOutcome,
  maxBytes: number,
  where: string,
): Uint8Array {
  if (!('result' in verdict)) {
    throw misconfigured(
      where,
      "the verdict holds a response, but only a request has one. Write { result: … }, or 'done'.",
    );
  }
  const bytes = encodeValue(verdict.result);
  if (bytes === undefined || bytes.length > maxBytes) {
    throw misconfigured(
      where,
      `the result of the verdict cannot be kept: it is not plain data, or larger than maxResultBytes ` +
        `(${maxBytes}). Write { result: … } with less, or 'done'.`,
    );
  }
  return bytes;
}

/**
 * An error in the form it is thrown again in: an `HttpException` with its response, what an `RpcException` tells
 * the other side, or name and message.
 */
export function encodeError(error: unknown): Uint8Array | undefined {
  const { name, message } =
    error instanceof Error ? error : { name: 'Error', message: String(error) };
  const http =
    error instanceof HttpException
      ? { status: error.getStatus(), response: error.getResponse() }
      : undefined;
  const body = serialize({ name, message, http, rpc: toldByRpc(error) });
  return body && encodeEnvelope({ kind: 'error', meta: {}, body });
}

/** What an `RpcException` of the optional `@nestjs/microservices` was made of. */
function toldByRpc(error: unknown): { readonly error: string | object } | undefined {
  const { getError } = (error ?? {}) as { getError?: () => string | object };
  return error instanceof Error && typeof getError === 'function'
    ? { error: getError.call(error) }
    : undefined;
}

/** An error of an earlier attempt that said what an RPC caller is to be told. */
export class RecordedRpcError extends Error {
  constructor(readonly told: string | object) {
    super('The handler failed.');
  }
}

/**
 * The value, or the error, that was recorded.
 *
 * @throws IdempotencyError `IDEMPOTENCY_RECORD_UNREADABLE`
 */
export function decodeOutcome({
  kind,
  body,
}: Envelope): { readonly value: unknown } | { readonly error: unknown } {
  if (kind === 'http') {
    throw unreadable('it holds a response, not a value');
  }
  const value = deserialize(body);
  if (kind === 'value') {
    return { value };
  }
  const { name, message, http, rpc } = value as {
    name: string;
    message: string;
    http?: { status: number; response: string | Record<string, unknown> };
    rpc?: { error: string | object };
  };
  const error =
    rpc !== undefined
      ? new RecordedRpcError(rpc.error)
      : http === undefined
        ? new Error(message)
        : new HttpException(http.response, http.status);
  return { error: Object.assign(error, { name, message }) };
}
