import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Transactions } from '../../database/transactions.js';
import type { Simulation } from '../pay-order.dto.js';
import { ChargeAttempt } from './charge-attempt.entity.js';
import { Charge } from './charge.entity.js';

export interface ChargeRequest {
  /** The provider decides once for one key, however often it is asked. */
  readonly idempotencyKey: string;
  readonly orderId: string;
  readonly amountCents: number;
  readonly simulate: Simulation;
  /** Stops waiting for the answer; what the provider has begun it may still do. */
  readonly signal: AbortSignal;
}

/** Nothing was charged, and nothing ever will be with this key. */
export class PaymentDeclined extends Error {
  constructor() {
    super('The payment provider has declined the payment.');
  }
}

/** Whether it was charged is not known. */
export class NoAnswer extends Error {
  constructor() {
    super('The payment provider did not answer.');
  }
}

/** Stands for another company's service: its ledger is its own and commits by itself. */
@Injectable()
export class FakePaymentProvider {
  constructor(private readonly transactions: Transactions) {}

  async charge(request: ChargeRequest): Promise<{ chargeId: string }> {
    const { idempotencyKey, simulate, signal } = request;
    await setTimeout(simulate.delayMs ?? 0, undefined, { signal });
    await this.transactions.run((manager) =>
      manager.insert(ChargeAttempt, { id: randomUUID(), idempotencyKey }),
    );
    if (simulate.failBefore) {
      throw new NoAnswer();
    }
    const { charge, isNew } = await this.decide(request);
    if (isNew && simulate.failAfter) {
      throw new NoAnswer();
    }
    if (charge.state === 'declined') {
      throw new PaymentDeclined();
    }
    return { chargeId: charge.id };
  }

  /** The unique key of the ledger decides between two requests that come at the same time. */
  private decide({ idempotencyKey, orderId, amountCents, simulate }: ChargeRequest) {
    const state: Charge['state'] = simulate.decline ? 'declined' : 'charged';
    const entry = { id: randomUUID(), idempotencyKey, orderId, amountCents, state };
    return this.transactions.run(async (manager) => {
      await manager.createQueryBuilder().insert().into(Charge).values(entry).orIgnore().execute();
      const charge = await manager.findOneByOrFail(Charge, { idempotencyKey });
      return { charge, isNew: charge.id === entry.id };
    });
  }
}
