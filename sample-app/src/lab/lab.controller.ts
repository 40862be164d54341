import { Controller, Get } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Public } from '../auth/public.decorator.js';
import { Order } from '../orders/order.entity.js';
import { Stock } from '../orders/stock.entity.js';
import { Charge } from '../payments/charge.entity.js';

export interface Counters {
  readonly orders: number;
  readonly charges: number;
  /** Units left, by sku. */
  readonly stock: Record<string, number>;
}

/** What really happened, over all tenants: the place to look for duplicates. */
@Controller('lab')
export class LabController {
  constructor(private readonly dataSource: DataSource) {}

  @Get('counters')
  @Public()
  async counters(): Promise<Counters> {
    const { manager } = this.dataSource;
    const stock = await manager.find(Stock, { order: { sku: 'ASC' } });
    return {
      orders: await manager.count(Order),
      charges: await manager.count(Charge),
      stock: Object.fromEntries(stock.map(({ sku, quantity }) => [sku, quantity])),
    };
  }
}
