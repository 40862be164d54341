import type { WireResponse } from './recorded-response.js';

const REDACTED = '[redacted]';
const JSON_TYPE = /^application\/([^;]+\+)?json\s*(;|$)/i;

/**
 * The response without these fields, as it may be kept; `undefined` when nobody can tell where they are. It is written
 * anew, so that its `ETag` would be another.
 */
export function redacted(
  response: WireResponse,
  fields: readonly (readonly string[])[],
): WireResponse | undefined {
  if (fields.length === 0 || response.body.length === 0) {
    return response;
  }
  if (!JSON_TYPE.test(String(response.headers['content-type']))) {
    return undefined;
  }
  try {
    const value = JSON.parse(response.body.toString()) as unknown;
    fields.forEach((path) => redact(value, path));
    const { etag: _etag, ...headers } = response.headers;
    return { ...response, headers, body: Buffer.from(JSON.stringify(value)) };
  } catch {
    return undefined;
  }
}

function redact(value: unknown, [name, ...rest]: readonly string[]): void {
  if (value === null || typeof value !== 'object' || name === undefined) {
    return;
  }
  const members = value as Record<string, unknown>;
  for (const member of name === '*' ? Object.keys(members) : [name]) {
    if (!Object.hasOwn(members, member)) {
      continue;
    }
    if (rest.length === 0) {
      members[member] = REDACTED;
    } else {
      redact(members[member], rest);
    }
  }
}
