import { IdempotencyError, type IdempotencyCode } from '../engine/errors.js';
import { judgeFailure } from '../engine/failure-policy.js';
import type { KeyRules } from '../engine/key-header.js';
import { PROBLEM_CONTENT_TYPE, problemOf } from '../http/problem.js';
import { REPLAYED_HEADER } from '../http/replayed-headers.js';
import type { RouteSettings } from '../http/route-settings.js';
import type { OpenApiOperation } from './operations.js';
import { PROBLEM } from './problem-schema.js';

type Parameter = Extract<NonNullable<OpenApiOperation['parameters']>[number], { in: string }>;
type Response = Exclude<NonNullable<OpenApiOperation['responses'][string]>, { $ref: string }>;
type Headers = NonNullable<Response['headers']>;

const REPLAYED: Headers[string] = {
  description: 'There, and `true`, where an earlier request with this key was answered so.',
  schema: { type: 'string', enum: ['true'] },
};
const RETRY_AFTER: Headers[string] = {
  description: 'Seconds to wait before the same request is sent again.',
  schema: { type: 'integer', minimum: 1 },
};

/** Adds the header of the key, the answers of ours, and the header of a replay. What is written there stays. */
export function describeOperation(operation: OpenApiOperation, settings: RouteSettings): void {
  operation.parameters = withKey(operation.parameters ?? [], settings);
  for (const [status, response] of Object.entries(operation.responses)) {
    if (isReplayed(status, settings) && isWritten(response)) {
      response.headers = { [REPLAYED_HEADER]: REPLAYED, ...response.headers };
    }
  }
  for (const [status, codes] of problemsOf(settings)) {
    const response = (operation.responses[status] ??= { description: '' });
    if (isWritten(response)) {
      addProblem(response, status, codes);
    }
  }
}

function withKey(
  parameters: NonNullable<OpenApiOperation['parameters']>,
  { header, required, keyRules }: RouteSettings,
): NonNullable<OpenApiOperation['parameters']> {
  const isKey = (other: object): other is Parameter => {
    const { in: place, name } = other as Partial<Parameter>;
    return place === 'header' && name?.toLowerCase() === header.toLowerCase();
  };
  const written = parameters.find(isKey);
  const key: Parameter = {
    description: keyDescription(keyRules),
    ...written,
    name: header,
    in: 'header',
    required,
    schema: keySchema(keyRules),
  };
  return [...parameters.filter((other) => !isKey(other)), key];
}

function keyDescription({ strict, maxLength }: KeyRules): string {
  return (
    'Names this request. Sent again with the same key, it is not carried out again. A new random value, for ' +
    `example a UUID, for every new request: 1 to ${maxLength} printable ASCII characters` +
    (strict ? ', in double quotes.' : '.')
  );
}

function keySchema({ strict, maxLength, pattern }: KeyRules): NonNullable<Parameter['schema']> {
  if (strict) {
    // of what is between the quotes no schema can say how long it is
    return { type: 'string', pattern: String.raw`^"(?:[^"\\]|\\["\\])+"` };
  }
  // a schema knows no flags
  const isPlain = pattern !== undefined && /^[uv]?$/.test(pattern.flags);
  return {
    type: 'string',
    minLength: 1,
    maxLength,
    ...(isPlain && { pattern: pattern.source }),
  };
}

/** Successes are, and the failures that the route keeps; of a function nobody knows which. */
function isReplayed(status: string, { errors }: RouteSettings): boolean {
  return (
    /^(default|[23])/.test(status) ||
    typeof errors === 'function' ||
    judgeFailure(errors, undefined, { status: Number(status) }) === 'store'
  );
}

function isWritten(response: object | undefined): response is Response {
  return response !== undefined && !('$ref' in response);
}

function problemsOf(settings: RouteSettings): Map<string, IdempotencyCode[]> {
  const { required, policy, authorizeReplay, maxKeysPerScope } = settings;
  const codes: IdempotencyCode[] = [
    ...(required ? (['IDEMPOTENCY_KEY_MISSING'] as const) : []),
    'IDEMPOTENCY_KEY_INVALID',
    ...(authorizeReplay === undefined ? [] : (['IDEMPOTENCY_REPLAY_FORBIDDEN'] as const)),
    'IDEMPOTENCY_IN_PROGRESS',
    'IDEMPOTENCY_OUTCOME_UNCERTAIN',
    'IDEMPOTENCY_RESULT_UNAVAILABLE',
    ...(policy.expiredKeys === 'refuse' ? (['IDEMPOTENCY_KEY_EXPIRED'] as const) : []),
    'IDEMPOTENCY_KEY_REUSED',
    ...(maxKeysPerScope === undefined ? [] : (['IDEMPOTENCY_TOO_MANY_KEYS'] as const)),
    'IDEMPOTENCY_STORE_UNAVAILABLE',
    'IDEMPOTENCY_SHUTTING_DOWN',
    ...(policy.mode === 'transactional' ? (['IDEMPOTENCY_TRANSACTION_CONFLICT'] as const) : []),
  ];
  const byStatus = new Map<string, IdempotencyCode[]>();
  for (const code of codes) {
    const status = String(problemOf(new IdempotencyError(code, '')).status);
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return byStatus;
}

function addProblem(response: Response, status: string, codes: readonly IdempotencyCode[]): void {
  const ours = codes.map((code) => `\`${code}\``).join(', ');
  response.description = [response.description, ours].filter(Boolean).join(' Or: ');
  response.content = {
    ...response.content,
    [PROBLEM_CONTENT_TYPE]: { schema: { $ref: `#/components/schemas/${PROBLEM}` } },
  };
  if (['409', '429', '503'].includes(status)) {
    response.headers = { 'Retry-After': RETRY_AFTER, ...response.headers };
  }
}
