import type { OpenAPIObject } from '@nestjs/swagger';

type PathItem = OpenAPIObject['paths'][string];
export type OpenApiOperation = NonNullable<PathItem['post']>;

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'] as const;

/** Every operation with its method. */
export function* operationsOf({
  paths,
  webhooks,
}: OpenAPIObject): Generator<[string, OpenApiOperation]> {
  for (const item of [...Object.values(paths), ...Object.values(webhooks ?? {})] as PathItem[]) {
    for (const method of METHODS) {
      const operation = item[method];
      if (operation !== undefined) {
        yield [method, operation];
      }
    }
  }
}
