import { Controller, Get, HttpCode, HttpStatus, Param, ParseEnumPipe, Put } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Public } from '../auth/public.decorator.js';
import { FulfilmentClient } from '../messaging/fulfilment.client.js';
import { Order } from '../orders/order.entity.js';
import { Stock } from '../orders/stock.entity.js';
import { Payment } from '../payments/payment.entity.js';
import { ChargeAttempt } from '../payments/provider/charge-attempt.entity.js';
import { Charge } from '../payments/provider/charge.entity.js';
import { Receipt } from '../receipts/receipt.entity.js';
import { Instances, ROLES } from './instances.js';
import type { Role } from './instances.js';

export interface Counters {
  readonly orders: number;
  /** How often the provider was asked to charge. */
  readonly chargeAttempts: number;
  /** How often it took money. */
  readonly charges: number;
  /** What the shop has booked. */
  readonly payments: number;
  readonly receipts: number;
  /** What the fulfilment service has reserved and mailed; -1 while it does not answer. */
  readonly reservations: number;
  readonly mails: number;
  /** Units left, by sku. */
  readonly stock: Record<string, number>;
}

/** What really happened, over all tenants: the place to look for duplicates. */
@Controller('lab')
export class LabController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly fulfilment: FulfilmentClient,
    private readonly instances: Instances,
  ) {}

  /** Ready when it answers. Needs no key: one that runs already stays. */
  @Put('instances/:role')
  @HttpCode(HttpStatus.NO_CONTENT)
  async startInstance(@Param('role', new ParseEnumPipe(ROLES)) role: Role): Promise<void> {
    await this.instances.start(role);
  }

  @Get('counters')
  @Public()
  async counters(): Promise<Counters> {
    const { manager } = this.dataSource;
    const stock = await manager.find(Stock, { order: { sku: 'ASC' } });
    return {
      orders: await manager.count(Order),
      chargeAttempts: await manager.count(ChargeAttempt),
      charges: await manager.countBy(Charge, { state: 'charged' }),
      payments: await manager.count(Payment),
      receipts: await manager.count(Receipt),
      ...(await this.fulfilment.figures()),
      stock: Object.fromEntries(stock.map(({ sku, quantity }) => [sku, quantity])),
    };
  }
}
