import { Body, Controller, Get, Headers, Post } from '@nestjs/common';
import { Idempotent } from 'nestjs-idempotency';
import { DataSource } from 'typeorm';
import { decorate, decorateMethod } from './decorate.mjs';
import { Stock, sell } from './shop.mjs';

/** Other routes of the same application: `GET /stock` reads a row, `POST /sales` is transactional and short. */
export class BystandersController {
  constructor(dataSource) {
    this.dataSource = dataSource;
  }

  stock() {
    return this.dataSource.getRepository(Stock).findOneBy({ id: 1 });
  }

  async sell(order, key) {
    await sell(this.dataSource.manager, order, key);
    return { status: 'sold' };
  }
}

decorate(BystandersController, [Controller()]);
Reflect.defineMetadata('design:paramtypes', [DataSource], BystandersController);
decorateMethod(BystandersController, 'stock', [Get('stock')]);
decorateMethod(
  BystandersController,
  'sell',
  [Post('sales'), Idempotent({ mode: 'transactional' })],
  [Body(), Headers('idempotency-key')],
);
