import { ConflictException, Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Idempotent } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import type { Order } from '../orders/order.entity.js';
import { Receipt } from './receipt.entity.js';

/** A date stays a Date when the result is answered again; an entity could not be kept. */
export interface IssuedReceipt {
  readonly number: number;
  readonly orderId: string;
  readonly totalCents: number;
  readonly issuedAt: Date;
}

@Injectable()
export class Receipts {
  constructor(@InjectRepository(Receipt) private readonly receipts: Repository<Receipt>) {}

  /** One number for one order, whoever calls it and how often: the order is the key, and no client needs one. */
  @Idempotent({
    key: (order: Order) => order.id,
    scope: (order: Order) => order.tenant,
    mode: 'transactional',
    onConcurrent: 'wait',
    ttl: '30d',
  })
  async issue(order: Order): Promise<IssuedReceipt> {
    if (order.state !== 'paid') {
      throw new ConflictException(
        `The order is ${order.state}: there is a receipt once it is paid.`,
      );
    }
    const { id: orderId, totalCents } = order;
    const { number } = await this.receipts.save({ orderId, totalCents });
    return { number, orderId, totalCents, issuedAt: new Date() };
  }
}
