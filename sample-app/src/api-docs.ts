import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { documentIdempotency } from 'nestjs-idempotency/openapi';

/** `/docs` for people, `/docs-json` for tools. The decorated routes tell of their keys by themselves. */
export function serveApiDocs(app: NestExpressApplication): void {
  const config = new DocumentBuilder()
    .setTitle('The orders app')
    .setDescription('A shop that may be retried. The tokens are `alice` and `bob`.')
    .addBearerAuth()
    .addSecurityRequirements('bearer')
    .build();
  const create = () => SwaggerModule.createDocument(app, config);
  SwaggerModule.setup('docs', app, () => documentIdempotency(app, create));
}
