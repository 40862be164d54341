import { createHash } from 'node:crypto';
import type { ExecutionContext } from '@nestjs/common';
import type { HttpRequest } from '../idempotency.options.js';
import { misconfigured } from '../options-check.js';
import type { RouteSettings } from './route-settings.js';

/**
 * Whose key it is; `undefined` when nobody says so.
 *
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for an answer of the application that has no text of its own.
 */
export async function scopeOf(
  request: HttpRequest,
  context: ExecutionContext,
  settings: Pick<RouteSettings, 'name' | 'scope'>,
): Promise<string | undefined> {
  if (settings.scope === undefined) {
    return principalOf(request);
  }
  const scope: unknown = await settings.scope(request, context);
  const text = identifier(scope);
  if (text === undefined && scope !== undefined && scope !== null && scope !== '') {
    throw misconfigured(
      settings.name,
      "option 'scope' answered something that is no text, the same for every caller. Answer a string.",
    );
  }
  return text;
}

/** The principal that a guard has left on the request: `id`, `sub` or `userId` of `request.user`. */
function principalOf({ user }: HttpRequest): string | undefined {
  if (user === null || typeof user !== 'object') {
    return undefined;
  }
  const { id, sub, userId } = user as { id?: unknown; sub?: unknown; userId?: unknown };
  for (const candidate of [id, sub, userId]) {
    const text = identifier(candidate);
    if (text !== undefined) {
      return text;
    }
  }
  return undefined;
}

/** The text of an id; `undefined` for what has none of its own. */
function identifier(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return value === '' ? undefined : value;
    case 'number':
      // NaN is what became of ids that could not be read: the same for everybody
      return Number.isNaN(value) ? undefined : String(value);
    case 'bigint':
      return String(value);
    case 'object': {
      // an ObjectId or a UUID class has a text form of its own; a plain object has none
      const text = value === null ? '' : String(value as { toString(): string });
      return text === '' || text.startsWith('[object ') ? undefined : text;
    }
    default:
      return undefined;
  }
}

const CREDENTIAL_HEADERS = ['authorization', 'proxy-authorization', 'cookie', 'x-api-key'];

/**
 * A digest of the credentials on a request whose principal is unknown, so that whoever presents the
 * same key with other credentials, or none, is a stranger. `undefined` without credentials.
 */
export function credentialsDigest({ headers }: HttpRequest): string | undefined {
  const found = CREDENTIAL_HEADERS.filter((name) => headers[name] !== undefined);
  if (found.length === 0) {
    return undefined;
  }
  const hash = createHash('sha256');
  for (const name of found) {
    hash.update(JSON.stringify([name, headers[name]]));
  }
  return hash.digest('base64');
}
