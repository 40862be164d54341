import type { ExecutionContext } from '@nestjs/common';
import { TooDeepError } from '../engine/canonical-json.js';
import { IdempotencyError } from '../engine/errors.js';
import { fingerprint, type FingerprintParts } from '../engine/fingerprint.js';
import type { Identity } from '../engine/identity.js';
import type {
  FingerprintFunction,
  FingerprintInput,
  FingerprintPart,
} from '../idempotency.options.js';
import type { HttpExchange } from './http-exchange.js';
import { bodyAtHand, requestBody } from './request-body.js';
import type { RouteSettings } from './route-settings.js';

/** What a retry of this request must repeat. Computed before anything could change the request. */
export async function requestFingerprint(
  exchange: HttpExchange,
  context: ExecutionContext,
  identity: Identity,
  { fingerprint: selection, name }: RouteSettings,
  credentials: string | undefined,
): Promise<Uint8Array> {
  const parts: Record<string, unknown> = {
    ...(typeof selection === 'function'
      ? await chosenByFunction(exchange, context, selection)
      : await chosenByName(exchange, selection, name)),
  };
  if (credentials !== undefined) {
    parts.credentials = credentials;
  }
  try {
    return fingerprint(identity, parts);
  } catch (error) {
    if (error instanceof TooDeepError) {
      throw new IdempotencyError(
        'IDEMPOTENCY_KEY_INVALID',
        `The request cannot be made idempotent: ${error.message}`,
      );
    }
    throw error;
  }
}

async function chosenByFunction(
  exchange: HttpExchange,
  context: ExecutionContext,
  choose: FingerprintFunction,
): Promise<FingerprintParts> {
  const { method, path, query } = target(exchange);
  const input: FingerprintInput = { method, path, query, body: await bodyAtHand(exchange) };
  return { method, path, chosen: await choose(input, context) };
}

async function chosenByName(
  exchange: HttpExchange,
  names: readonly FingerprintPart[],
  route: string,
): Promise<FingerprintParts> {
  const { method, path, query } = target(exchange);
  // without the request's own target, the stored answer of one route could be that of another
  const hasTarget = names.includes('method') && names.includes('path');
  const parts: Record<string, unknown> = hasTarget ? {} : { route };
  for (const name of names) {
    if (name === 'body') {
      parts.body = await requestBody(exchange);
    } else if (name === 'method' || name === 'path' || name === 'query') {
      parts[name] = { method, path, query }[name];
    } else {
      parts[name] = exchange.request.headers[name.slice('header:'.length).toLowerCase()] ?? null;
    }
  }
  return parts;
}

function target({ request }: HttpExchange): Omit<FingerprintInput, 'body'> {
  const url = request.originalUrl ?? request.url;
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  const query = mark === -1 ? [] : [...new URLSearchParams(url.slice(mark + 1))];
  // a stable sort: the order of values of one name counts, the order of names does not
  query.sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
  return { method: request.method, path, query };
}
