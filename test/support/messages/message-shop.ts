import { Controller, type ModuleMetadata } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import type { INestMicroservice } from '@nestjs/common';
import {
  Idempotent,
  IdempotencyModule,
  type IdempotencyModuleOptions,
  type IdempotencyStore,
} from 'nestjs-idempotency';
import { TestGate } from '../gate.js';
import type { MessagePlace } from './transports.js';

export interface Order {
  readonly order: string;
  readonly fails?: number;
}

/** What the handlers of one instance have done. */
export class Doings {
  readonly runs: string[] = [];
  /** Held by `held` handlers until it is opened. */
  gate = new TestGate();

  did(what: string): number {
    this.runs.push(what);
    return this.times(what);
  }

  times(what: string): number {
    return this.runs.filter((run) => run === what).length;
  }
}

/** The same handlers for every transport; `messageId` is for those that carry no headers. */
export function shopController(doings: Doings, prefix: string): new () => object {
  @Controller()
  class Shop {
    @EventPattern<string>(`${prefix}.placed`)
    @Idempotent({ messageId: 'messageId' })
    placed(@Payload() { order }: Order): void {
      doings.did(`placed ${order}`);
    }

    @MessagePattern(`${prefix}.price`)
    @Idempotent({ messageId: 'messageId' })
    price(@Payload() { order }: Order): object {
      return { order, run: doings.did(`price ${order}`) };
    }

    @MessagePattern(`${prefix}.refuse`)
    @Idempotent({ messageId: 'messageId', errors: 'store-all' })
    refuse(@Payload() { order }: Order): never {
      throw new Error(`refused ${doings.did(`refuse ${order}`)}`);
    }

    @EventPattern<string>(`${prefix}.shipped`)
    @Idempotent({ messageId: 'messageId' })
    mail(@Payload() { order }: Order): void {
      doings.did(`mail ${order}`);
    }

    @EventPattern<string>(`${prefix}.shipped`)
    @Idempotent({ messageId: 'messageId' })
    stock(@Payload() { order }: Order): void {
      doings.did(`stock ${order}`);
    }

    @EventPattern<string>(`${prefix}.mixed`)
    @Idempotent({ messageId: 'messageId' })
    async slow(@Payload() { order }: Order): Promise<void> {
      doings.did(`slow ${order} begun`);
      await doings.gate.pass();
      doings.did(`slow ${order}`);
    }

    @EventPattern<string>(`${prefix}.mixed`)
    @Idempotent({ messageId: 'messageId' })
    throwing(@Payload() { order, fails = 0 }: Order): void {
      if (doings.did(`throwing ${order}`) <= fails) {
        throw new Error('no');
      }
    }

    @EventPattern<string>(`${prefix}.held`)
    @Idempotent({ messageId: 'messageId' })
    async heldEvent(@Payload() { order }: Order): Promise<void> {
      doings.did(`held ${order}`);
      await doings.gate.pass();
    }

    @MessagePattern(`${prefix}.held-request`)
    @Idempotent({ messageId: 'messageId', onConcurrent: 'reject' })
    async heldRequest(@Payload() { order }: Order): Promise<object> {
      const run = doings.did(`held request ${order}`);
      await doings.gate.pass();
      return { order, run };
    }

    @EventPattern<string>(`${prefix}.failing`)
    @Idempotent({ messageId: 'messageId' })
    failing(@Payload() { order, fails = 0 }: Order): void {
      if (doings.did(`failing ${order}`) <= fails) {
        throw new Error('not yet');
      }
    }

    @MessagePattern(`${prefix}.failing-request`)
    @Idempotent({ messageId: 'messageId' })
    failingRequest(@Payload() { order, fails = 0 }: Order): object {
      const run = doings.did(`failing request ${order}`);
      if (run <= fails) {
        throw new Error('not yet');
      }
      return { order, run };
    }
  }
  return Shop;
}

/** An instance of the shop that listens at the place. */
export async function startShop(
  place: Pick<MessagePlace, 'server'>,
  store: IdempotencyStore,
  controllers: NonNullable<ModuleMetadata['controllers']>,
  options: IdempotencyModuleOptions = {},
): Promise<INestMicroservice> {
  const module = await Test.createTestingModule({
    imports: [IdempotencyModule.forRoot({ store, noAck: false, ...options })],
    controllers,
  }).compile();
  const app = module.createNestMicroservice({ ...place.server, logger: false });
  await app.listen();
  return app;
}
