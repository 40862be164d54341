import type { ExecutionContext } from '@nestjs/common';
import { IdempotencyError, type IdempotencyCode } from '../engine/errors.js';
import { IdempotencyException } from '../http/problem.js';
import { RecordedRpcError } from '../value-codec.js';
import type { MessageTransport } from './incoming-message.js';

/** Status codes of gRPC: 3 INVALID_ARGUMENT, 8 RESOURCE_EXHAUSTED, 9 FAILED_PRECONDITION, 13 INTERNAL, 14 UNAVAILABLE (may be retried). */
const GRPC_STATUS: Partial<Record<IdempotencyCode, number>> = {
  IDEMPOTENCY_KEY_MISSING: 3,
  IDEMPOTENCY_KEY_INVALID: 3,
  IDEMPOTENCY_TOO_MANY_KEYS: 8,
  IDEMPOTENCY_IN_PROGRESS: 14,
  IDEMPOTENCY_STORE_UNAVAILABLE: 14,
  IDEMPOTENCY_SHUTTING_DOWN: 14,
  IDEMPOTENCY_TRANSACTION_CONFLICT: 14,
  IDEMPOTENCY_RECORD_UNREADABLE: 13,
  IDEMPOTENCY_TRANSACTION_BROKEN: 13,
  IDEMPOTENCY_STEPS_CHANGED: 13,
  IDEMPOTENCY_MISCONFIGURED: 13,
};
const FAILED_PRECONDITION = 9;

/** The error in the form in which the transport passes it on to who asked; everything else stays as it is. */
export async function toldError(
  error: unknown,
  transport: MessageTransport,
  context: ExecutionContext,
): Promise<unknown> {
  if (error instanceof IdempotencyError && transport === 'graphql') {
    const { code, retryAfterSeconds: retryAfter } = error;
    return Object.assign(new IdempotencyException(error), { extensions: { code, retryAfter } });
  }
  if (context.getType<string>() !== 'rpc') {
    return error;
  }
  if (error instanceof RecordedRpcError) {
    return rpcException(error.told);
  }
  return error instanceof IdempotencyError ? rpcException(told(error, transport)) : error;
}

function told(error: IdempotencyError, transport: MessageTransport): object {
  const { code, message, retryAfterSeconds } = error;
  return transport === 'grpc'
    ? { code: GRPC_STATUS[code] ?? FAILED_PRECONDITION, message: `${code}: ${message}` }
    : {
        status: 'error',
        code,
        message,
        ...(retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds }),
      };
}

/** The class by which Nest's filter knows what may be told; whoever gets messages has the package. */
async function rpcException(what: string | object): Promise<Error> {
  const { RpcException } = await import('@nestjs/microservices');
  return new RpcException(what);
}
