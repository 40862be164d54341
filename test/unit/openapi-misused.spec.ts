import type { INestApplicationContext } from '@nestjs/common';
import { documentIdempotency } from 'nestjs-idempotency/openapi';

const app = {} as INestApplicationContext;

it('a document in place of what makes it is named: its routes could not be told apart any more', () => {
  const document = { openapi: '3.0.0', paths: {} };
  expect(() => documentIdempotency(app, document as unknown as () => never)).toThrow(
    'documentIdempotency(): the second argument is no function. ' +
      'Write () => SwaggerModule.createDocument(app, config).',
  );
});
