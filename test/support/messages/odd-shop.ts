import { Controller, Scope, type NestInterceptor } from '@nestjs/common';
import { MessagePattern, Payload } from '@nestjs/microservices';
import { EMPTY, from, timeout, type Observable } from 'rxjs';
import { UseInterceptors } from '@nestjs/common';
import { Idempotent } from 'nestjs-idempotency';
import type { Doings, Order } from './message-shop.js';

export const TIMEOUT_MS = 100;

/** Loses its patience with the handler, and unsubscribes from it. */
const impatient: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(timeout(TIMEOUT_MS)),
};

/** Handlers that answer in other ways than with one value. */
export function oddController(doings: Doings, prefix: string): new () => object {
  @Controller()
  @Idempotent({ messageId: 'messageId' })
  class Odd {
    @MessagePattern(`${prefix}.slow`)
    @UseInterceptors(impatient)
    async slow(@Payload() { order }: Order): Promise<object> {
      const run = doings.did(`slow ${order}`);
      await doings.gate.pass();
      doings.did(`slow ${order} done`);
      return { order, run };
    }

    @MessagePattern(`${prefix}.nothing`)
    nothing(): Observable<never> {
      doings.did('nothing');
      return EMPTY;
    }

    @MessagePattern(`${prefix}.several`)
    several(): Observable<object> {
      const run = doings.did('several');
      return from([1, 2, 3].map((value) => ({ run, value })));
    }

    @MessagePattern(`${prefix}.waiting`)
    async waiting(@Payload() { order }: Order): Promise<object> {
      const run = doings.did(`waiting ${order}`);
      await doings.gate.pass();
      return { order, run };
    }

    @MessagePattern(`${prefix}.optional`)
    @Idempotent({ required: false })
    optional(): object {
      return { run: doings.did('optional') };
    }
  }
  return Odd;
}

/** A new instance for each message. */
export function scopedController(doings: Doings, prefix: string): new () => object {
  @Controller({ scope: Scope.REQUEST })
  class Scoped {
    private readonly instance = doings.did('instance');

    @MessagePattern(`${prefix}.scoped`)
    @Idempotent({ messageId: 'messageId' })
    scoped(): object {
      doings.did('scoped');
      return { instance: this.instance };
    }
  }
  return Scoped;
}
