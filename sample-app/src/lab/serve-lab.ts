import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NextFunction, Request, Response } from 'express';
import { forward, lose } from './forward.js';
import { Instances } from './instances.js';

const PAGE = join(import.meta.dirname, '..', '..', 'public');
const CLIENT = dirname(fileURLToPath(import.meta.resolve('nestjs-idempotency/client')));

/** The start page, and three unlucky ways to this shop: `/via/second`, `/via/doomed` and `/via/lossy`. */
export function serveLab(app: NestExpressApplication): void {
  const instances = app.get(Instances);
  const lost = new Set<unknown>();

  app.use(oneRequestEach);
  app.use('/via/second', async (request: Request, response: Response) => {
    forward(request, response, await instances.start('second'));
  });
  // as behind a load balancer: what is sent again goes to an instance that lives
  app.use('/via/doomed', async (request: Request, response: Response) => {
    forward(request, response, (await instances.port('doomed')) ?? ownPort(request));
  });
  app.use('/via/lossy', (request: Request, response: Response) => {
    const key = request.headers['idempotency-key'];
    if (lost.delete(key)) {
      forward(request, response, ownPort(request));
    } else {
      lost.add(key);
      forward(request, response, ownPort(request), lose);
    }
  });
  app.useStaticAssets(PAGE);
  app.useStaticAssets(CLIENT, { prefix: '/client', index: false });
}

/**
 * A browser that loses a connection which it has used before sends the request again by itself, a POST too, and
 * tells nobody. The lab shows every attempt, so its page has a new connection for each.
 */
function oneRequestEach(request: Request, response: Response, next: NextFunction): void {
  if (request.headers['sec-fetch-site'] !== undefined) {
    response.setHeader('Connection', 'close');
  }
  next();
}

function ownPort(request: Request): number {
  return request.socket.localPort as number;
}
