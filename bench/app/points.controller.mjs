/** Routes with everything that a response can be, for the checks in `checks/points.mjs`. Each answer is one of a kind. */
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import {
  BadRequestException,
  Body,
  Controller,
  Get,
  Headers,
  HttpCode,
  Post,
  Redirect,
  Res,
  ServiceUnavailableException,
  StreamableFile,
} from '@nestjs/common';
import { map } from 'rxjs';
import { decorate, decorateMethod } from './decorate.mjs';

const LABEL = 'x-effect';
const onlyQuantities = {
  transform(body) {
    if (typeof body?.quantity !== 'number') {
      throw new BadRequestException('quantity must be a number');
    }
    return body;
  },
};

/** `effects` are counted under the header `x-effect`, which no retry changes and no fingerprint knows. */
export function pointsController(decorators, effects) {
  class PointsController {
    async order(order, label, response) {
      await effects.add(label);
      await setTimeout(order?.waitMs ?? 0);
      const id = randomUUID();
      response.set({
        Location: `/orders/${id}`,
        ETag: `"${id}"`,
        'Set-Cookie': `session=${id}`,
        'RateLimit-Remaining': '7',
      });
      return { id, order };
    }

    async read(label) {
      await effects.add(label);
      return { id: randomUUID() };
    }

    async flaky(_order, label) {
      await effects.add(label);
      if (effects.of(label) === 1) {
        throw new ServiceUnavailableException('come again');
      }
      return { id: randomUUID() };
    }

    async checked(order, label) {
      await effects.add(label);
      return { id: randomUUID(), order };
    }
  }
  decorateMethod(
    PointsController,
    'order',
    [Post('orders')],
    [Body(), Headers(LABEL), Res({ passthrough: true })],
  );
  decorateMethod(PointsController, 'read', [Get('orders')], [Headers(LABEL)]);
  decorateMethod(PointsController, 'flaky', [Post('flaky')], [Body(), Headers(LABEL)]);
  decorateMethod(
    PointsController,
    'checked',
    [Post('checked')],
    [Body(onlyQuantities), Headers(LABEL)],
  );

  for (const [kind, [answer, ...more]] of Object.entries(KINDS)) {
    PointsController.prototype[kind] = async function (label, response) {
      await effects.add(label);
      return answer(response);
    };
    const res = kind === 'self' ? Res() : Res({ passthrough: true });
    decorateMethod(PointsController, kind, [Post(kind), ...more], [Headers(LABEL), res]);
  }
  decorate(PointsController, [Controller('points'), ...decorators]);
  return PointsController;
}

/** What a handler may answer; see point 11. */
export const KINDS = {
  text: [() => `text ${randomUUID()}`],
  number: [() => Math.random()],
  no: [() => false],
  nothing: [() => null],
  empty: [() => undefined, HttpCode(204)],
  list: [() => [randomUUID()]],
  file: [() => new StreamableFile(Buffer.from([0, 255, ...Buffer.from(randomUUID())]))],
  redirect: [() => ({ url: `/orders/${randomUUID()}`, statusCode: 303 }), Redirect('/orders', 303)],
  self: [
    (response) => {
      response.status(202).type('text/csv').send(`a,${randomUUID()}`);
    },
  ],
};

/** Someone else's, registered for the whole application: adds what is different each time, where it is asked to. */
export const stamp = {
  intercept(context, next) {
    const isAsked = context.switchToHttp().getRequest().headers['x-stamp'] !== undefined;
    return isAsked
      ? next.handle().pipe(map((body) => ({ ...body, stamp: randomUUID() })))
      : next.handle();
  },
};

/** Knows its callers by a header, and refuses some. */
export const guard = {
  canActivate(context) {
    const request = context.switchToHttp().getRequest();
    const user = request.headers['x-user'];
    if (user !== undefined) {
      request.user = { id: user };
    }
    return request.headers['x-refuse'] === undefined;
  },
};
