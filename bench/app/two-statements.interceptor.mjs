import { UseInterceptors } from '@nestjs/common';
import { mergeMap } from 'rxjs';
import { postgresFloor } from './floor.mjs';

/** Claims and completes each request with the driver alone: the least that two durable statements cost. It checks nothing. */
export function twoStatements(url) {
  const { claim, complete } = postgresFloor(url);
  return UseInterceptors({
    async intercept(context, next) {
      const key = context.switchToHttp().getRequest().headers['idempotency-key'];
      if (!(await claim(key))) {
        throw new Error('Two plain statements answer new keys only.');
      }
      return next.handle().pipe(
        mergeMap(async (body) => {
          await complete(key, Buffer.from(JSON.stringify(body)));
          return body;
        }),
      );
    },
  });
}
