import { UseInterceptors } from '@nestjs/common';
import { mergeMap, of } from 'rxjs';

/**
 * What is written first when somebody needs idempotency today: look into a cache, run, put the result
 * there. Two requests that look at the same time both find nothing.
 *
 * @param {{ get(key: string): Promise<string | null | undefined>, set(key: string, value: string): Promise<unknown> }} cache
 */
export function naive(cache) {
  return UseInterceptors({
    async intercept(context, next) {
      const key = context.switchToHttp().getRequest().headers['idempotency-key'];
      const seen = await cache.get(key);
      if (seen) {
        return of(JSON.parse(seen));
      }
      return next.handle().pipe(
        mergeMap(async (body) => {
          await cache.set(key, JSON.stringify(body));
          return body;
        }),
      );
    },
  });
}

export function memoryCache() {
  const entries = new Map();
  return {
    get: async (key) => entries.get(key),
    set: async (key, value) => entries.set(key, value),
  };
}
