import { Controller } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { InjectRepository } from '@nestjs/typeorm';
import { Idempotent } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import { FULFILMENT_FIGURES, ID_FIELD, ORDER_PLACED } from '../messaging/order-placed.js';
import type { OrderPlaced } from '../messaging/order-placed.js';
import { FULFILMENT_DATABASE } from './fulfilment-database.js';
import { Reservation } from './reservation.entity.js';
import { SentMail } from './sent-mail.entity.js';

export interface FulfilmentFigures {
  readonly reservations: number;
  readonly mails: number;
}

@Controller()
export class FulfilmentController {
  constructor(
    @InjectRepository(Reservation, FULFILMENT_DATABASE)
    private readonly reservations: Repository<Reservation>,
    @InjectRepository(SentMail, FULFILMENT_DATABASE)
    private readonly mails: Repository<SentMail>,
  ) {}

  /**
   * However often the message comes, there is one reservation and one mail: both are committed together with the
   * record of the message's id, and only then is it acknowledged.
   */
  @EventPattern<string>(ORDER_PLACED)
  @Idempotent({
    consumer: 'fulfilment.order-placed',
    messageId: ID_FIELD,
    mode: 'transactional',
    ttl: '30d',
  })
  async reserve(@Payload() { orderId, sku, quantity }: OrderPlaced): Promise<void> {
    await this.reservations.insert({ orderId, sku, quantity });
    await this.mails.insert({ orderId, subject: `Your order of ${quantity} ${sku}` });
  }

  /** Needs no id: it changes nothing. */
  @MessagePattern(FULFILMENT_FIGURES)
  async figures(): Promise<FulfilmentFigures> {
    return { reservations: await this.reservations.count(), mails: await this.mails.count() };
  }
}
