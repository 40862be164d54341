import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { Transactions } from '../database/transactions.js';
import { Charge } from './charge.entity.js';
import type { Simulation } from './pay-order.dto.js';

export interface ChargeRequest {
  /** The provider charges once for one key, however often it is asked. */
  readonly idempotencyKey: string;
  readonly orderId: string;
  readonly amountCents: number;
  readonly simulate: Simulation;
  /** Stops waiting for the answer; what the provider has begun it may still do. */
  readonly signal: AbortSignal;
}

/** `charged: false` is a promise that no money moved; `'unknown'` is not. */
export class PaymentFailed extends Error {
  constructor(readonly charged: false | 'unknown') {
    super('The payment provider failed.');
  }
}

/** Stands for another company's service: its ledger is its own and commits by itself. */
@Injectable()
export class FakePaymentProvider {
  constructor(
    @InjectRepository(Charge) private readonly ledger: Repository<Charge>,
    private readonly transactions: Transactions,
  ) {}

  async charge(request: ChargeRequest): Promise<Charge> {
    const { idempotencyKey, orderId, amountCents, simulate, signal } = request;
    await setTimeout(simulate.delayMs ?? 0, undefined, { signal });
    const earlier = await this.ledger.findOneBy({ idempotencyKey });
    if (earlier) {
      return earlier;
    }
    if (simulate.failBefore) {
      throw new PaymentFailed(false);
    }
    const charge = await this.enter({ id: randomUUID(), idempotencyKey, orderId, amountCents });
    if (simulate.failAfter) {
      throw new PaymentFailed('unknown');
    }
    return charge;
  }

  /** The unique key of the ledger decides between two requests that come at the same time. */
  private enter(charge: Charge): Promise<Charge> {
    return this.transactions.run(async (manager) => {
      await manager.createQueryBuilder().insert().into(Charge).values(charge).orIgnore().execute();
      return manager.findOneByOrFail(Charge, { idempotencyKey: charge.idempotencyKey });
    });
  }
}
