import type { INestApplicationContext } from '@nestjs/common';
import type { OpenAPIObject } from '@nestjs/swagger';
import { misconfigured } from '../options-check.js';
import { markedRoutes } from './marked-routes.js';
import { operationsOf } from './operations.js';
import { describeOperation } from './describe-operation.js';
import { PROBLEM, problemSchema } from './problem-schema.js';

/**
 * The document that `create` answers, with what a client should know of every decorated route: the key's header,
 * the problems it may be answered with, and the header of a replay. All of it is read from the options that the
 * routes run with.
 *
 * @param app after `NestFactory.create()`; it need not be initialised
 * @param create calls `SwaggerModule.createDocument()`
 * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for a document that is made already
 */
export function documentIdempotency(
  app: INestApplicationContext,
  create: () => OpenAPIObject,
): OpenAPIObject {
  if (typeof create !== 'function') {
    throw misconfigured(
      'documentIdempotency()',
      'the second argument is no function. Write () => SwaggerModule.createDocument(app, config).',
    );
  }
  const marked = markedRoutes(app);
  const document = marked.during(create);
  let isUsed = false;
  for (const [method, operation] of operationsOf(document)) {
    const settings = marked.take(operation);
    if (settings !== undefined && !(settings.byClass && isSafe(method))) {
      describeOperation(operation, settings);
      isUsed = true;
    }
  }
  if (isUsed) {
    document.components ??= {};
    document.components.schemas = {
      [PROBLEM]: problemSchema(),
      ...document.components.schemas,
    };
  }
  return document;
}

/** Left alone where not the method but its class is decorated. */
function isSafe(method: string): boolean {
  return method === 'get' || method === 'head' || method === 'options';
}
