/** Other libraries, each with its defaults and put on a route as its documentation says. They load for their own contenders only. */
import { createRequire } from 'node:module';
import { ConflictException, HttpException, UseInterceptors } from '@nestjs/common';
import { from, lastValueFrom } from 'rxjs';

const require = createRequire(import.meta.url);

export function nodeIdempotency(storage) {
  const { NodeIdempotencyModule, Idempotent } = require('@node-idempotency/nestjs');
  return { imports: [NodeIdempotencyModule.forRootAsync({ storage })], decorators: [Idempotent()] };
}

/** Its memory, which it has for development; besides that there is one for MongoDB. */
export function expressIdempotency() {
  const { getSharedIdempotencyService, idempotency } = require('express-idempotency');
  const middleware = idempotency();
  return {
    imports: [],
    decorators: [],
    middleware: (request, response, next) => {
      if (request.method !== 'POST') {
        next();
        return;
      }
      void middleware(request, response, (error) => {
        if (error !== undefined) {
          next(new HttpException(error.message, response.statusCode));
        } else if (!getSharedIdempotencyService().isHit(request)) {
          // with a hit it has answered; its documentation leaves it to the handler to ask and return
          next();
        }
      });
    },
  };
}

/** Made for functions on AWS Lambda: the function is the route's handler, its event the key and the body. */
export async function powertools(client) {
  const once = await powertoolsOn(client);
  const handle = once((_event, next) => lastValueFrom(next.handle(), { defaultValue: undefined }));
  const interceptor = {
    intercept(context, next) {
      const { headers, body } = context.switchToHttp().getRequest();
      return from(handle({ key: headers['idempotency-key'], body }, next).catch(inHttp));
    },
  };
  return { imports: [], decorators: [UseInterceptors(interceptor)] };
}

/** Makes functions of an event and something else idempotent, as a function on AWS Lambda would be with 30 s left. */
export async function powertoolsOn(client) {
  const { IdempotencyConfig, makeIdempotent } = await import('@aws-lambda-powertools/idempotency');
  const { CachePersistenceLayer } = await import('@aws-lambda-powertools/idempotency/cache');
  const options = {
    persistenceStore: new CachePersistenceLayer({ client }),
    // without `payloadValidationJmesPath`: the layer for Redis forgets what to compare with, and refuses each replay
    config: new IdempotencyConfig({
      eventKeyJmesPath: 'key',
      lambdaContext: { getRemainingTimeInMillis: () => 30_000 },
    }),
  };
  return (work) => makeIdempotent(work, options);
}

function inHttp(error) {
  switch (error.name) {
    case 'IdempotencyAlreadyInProgressError':
    case 'IdempotencyItemAlreadyExistsError':
      throw new ConflictException(error.message);
    default:
      throw error;
  }
}
