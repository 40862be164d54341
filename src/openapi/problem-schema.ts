import type { OpenAPIObject } from '@nestjs/swagger';
import { IDEMPOTENCY_CODES } from '../engine/errors.js';
import type { Problem } from '../http/problem.js';

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;

/** Its name among the schemas of a document. */
export const PROBLEM = 'IdempotencyProblem';

export function problemSchema(): Schemas[string] {
  const properties: Record<keyof Problem, Schemas[string]> = {
    type: { type: 'string', format: 'uri', description: 'A page that explains the code.' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'What to do next.' },
    code: { type: 'string', enum: [...IDEMPOTENCY_CODES] },
    retryable: {
      type: 'boolean',
      description: 'Whether the same request with the same key may succeed later.',
    },
  };
  return {
    type: 'object',
    description: 'Why a request was turned away (RFC 9457). Branch on `code`: it never changes.',
    properties,
    required: Object.keys(properties),
  };
}
