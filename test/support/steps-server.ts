/**
 * An application in a process of its own whose handlers come to their effects step by step, for tests that kill,
 * stop and resume it. Every effect is a row of the table `effect`, named after the request and what it did.
 */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import { Body, Controller, Injectable, Module, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import {
  CurrentIdempotency,
  Idempotent,
  IdempotencyModule,
  type IdempotencyContext,
  type UnknownOutcomeResolver,
} from '../../src/index.js';
import { given, serve } from './shop-process.js';
import { effectsOf } from './shop.js';

interface Order {
  readonly name: string;
  /** The process tells of its effect here and waits for this long. */
  readonly holdAfter?: 'reserve' | 'inside charge' | 'charge';
  readonly holdMs?: number;
  /** Throws after this step, in the first attempt. */
  readonly failAfter?: 'reserve' | 'charge';
}

@Controller('orders')
class OrdersController {
  constructor(private readonly dataSource: DataSource) {}

  @Post()
  @Idempotent()
  async place(@Body() order: Order, @CurrentIdempotency() once: IdempotencyContext) {
    const reservedAt = await once.step('reserve', async () => {
      await this.effect(order, 'reserve', once);
      return new Date();
    });
    await this.reached('reserve', order, once);
    const charge = await once.step('charge', async () => {
      const id = await this.effect(order, 'charge', once);
      await this.reached('inside charge', order, once);
      return { id, key: once.derive('charge') };
    });
    await this.reached('charge', order, once);
    await once.step('mail', () => this.effect(order, 'mail', once));
    return { year: reservedAt.getUTCFullYear(), charge, attempt: once.attempt };
  }

  private async effect(order: Order, what: string, once: IdempotencyContext): Promise<string> {
    const id = randomUUID();
    await this.dataSource
      .createQueryBuilder()
      .insert()
      .into('effect')
      .values({ id, name: `${order.name} ${what}`, fence: String(once.fence) })
      .execute();
    return id;
  }

  private async reached(
    place: string,
    { holdAfter, holdMs = 60_000, failAfter }: Order,
    once: IdempotencyContext,
  ): Promise<void> {
    if (once.attempt > 1) {
      return;
    }
    if (place === failAfter) {
      throw new Error('the network is down');
    }
    if (place === holdAfter) {
      process.send?.('effect');
      await new Promise((resolve) => setTimeout(resolve, holdMs));
    }
  }
}

/** The other system: knows the payments that it was sent, and answers in the way that the key says. */
@Injectable()
class Bank {
  static current: Bank;

  constructor(readonly dataSource: DataSource) {
    Bank.current = this;
  }

  static readonly find: UnknownOutcomeResolver = async ({ key, derive }) => {
    const id = derive('pay');
    const [payment] = await effectsOf(Bank.current.dataSource, id);
    if (payment === undefined) {
      return 'absent';
    }
    return key.endsWith('unknown') ? 'unknown' : { response: { status: 201, body: { payment } } };
  };
}

interface Payment {
  /** The effect has happened when the process tells of it; before that, nothing has. */
  readonly until: 'declared' | 'paid';
  readonly declares: boolean;
  readonly holdMs?: number;
}

/** Pays, and holds on in the first attempt. */
@Controller('payments')
class PaymentsController {
  constructor(private readonly bank: Bank) {}

  @Post()
  @Idempotent()
  pay(@Body() payment: Payment, @CurrentIdempotency() once: IdempotencyContext) {
    return this.perform(payment, once);
  }

  @Post('rerun')
  @Idempotent({ onUnknownOutcome: 'rerun' })
  rerun(@Body() payment: Payment, @CurrentIdempotency() once: IdempotencyContext) {
    return this.perform(payment, once);
  }

  @Post('block')
  @Idempotent({ onUnknownOutcome: 'block' })
  block(@Body() payment: Payment, @CurrentIdempotency() once: IdempotencyContext) {
    return this.perform(payment, once);
  }

  @Post('ask')
  @Idempotent({ onUnknownOutcome: Bank.find })
  ask(@Body() payment: Payment, @CurrentIdempotency() once: IdempotencyContext) {
    return this.perform(payment, once);
  }

  private async perform({ until, declares, holdMs = 60_000 }: Payment, once: IdempotencyContext) {
    if (declares) {
      await once.effectStarted();
    }
    const hold = async (): Promise<void> => {
      process.send?.('effect');
      await new Promise((resolve) => setTimeout(resolve, once.attempt === 1 ? holdMs : 0));
    };
    if (until === 'declared') {
      await hold();
    }
    const payment = randomUUID();
    await this.bank.dataSource
      .createQueryBuilder()
      .insert()
      .into('effect')
      .values({ id: payment, name: once.derive('pay'), fence: String(once.fence) })
      .execute();
    if (until === 'paid') {
      await hold();
    }
    return { payment, attempt: once.attempt };
  }
}

@Module({
  imports: [TypeOrmModule.forRoot(given.dataSource), IdempotencyModule.forRoot(given.idempotency)],
  controllers: [OrdersController, PaymentsController],
  providers: [Bank],
})
class ShopModule {}

await serve(ShopModule, false);
