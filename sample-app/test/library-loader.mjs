// Lets a process of its own run the sample on the sources of the library, as the tests beside it do.
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import '../../test/support/typeorm-loader.mjs';

const SOURCES = new Map([
  ['nestjs-idempotency', '../../src/index.ts'],
  ['nestjs-idempotency/client', '../../src/client/index.ts'],
  ['nestjs-idempotency/dashboard', '../../src/dashboard/index.ts'],
  ['nestjs-idempotency/openapi', '../../src/openapi/index.ts'],
  ['nestjs-idempotency/outbox', '../../src/outbox/index.ts'],
  ['nestjs-idempotency/testing', '../../src/testing/index.ts'],
  ['nestjs-idempotency/typeorm', '../../src/stores/typeorm/index.ts'],
]);

if (isMainThread) register(import.meta.url);

export async function resolve(specifier, context, next) {
  const source = SOURCES.get(specifier);
  return source === undefined
    ? next(specifier, context)
    : { url: new URL(source, import.meta.url).href, shortCircuit: true };
}
