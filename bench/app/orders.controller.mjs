import { setTimeout } from 'node:timers/promises';
import { Body, Controller, Headers, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { decorate, decorateMethod } from './decorate.mjs';

/** What the handler waits for. */
const WORK = {
  /** nothing: what is measured is the library's alone */
  none: async () => {},
  /** a small wait, as for another service, in which duplicates can overtake */
  pause: () => setTimeout(5),
  /** one row in one commit, the least that an order costs */
  insert: (dataSource, { item, quantity }) =>
    dataSource.query(`INSERT INTO bench_order (item, quantity) VALUES ('${item}', ${quantity})`),
};

/** `POST /orders`, the same for every contender; `decorators` are what protects it. */
export function ordersController(decorators, effects, workName = 'none') {
  const work = WORK[workName];
  const needsDatabase = workName === 'insert';

  class OrdersController {
    constructor(dataSource) {
      this.dataSource = dataSource;
    }

    async place(order, key) {
      const number = await effects.add(key);
      await work(this.dataSource, order);
      return { id: number, ...order, status: 'placed', note: NOTE };
    }
  }

  decorate(OrdersController, [Controller('orders')]);
  Reflect.defineMetadata('design:paramtypes', needsDatabase ? [DataSource] : [], OrdersController);
  decorateMethod(
    OrdersController,
    'place',
    [Post(), ...decorators],
    [Body(), Headers('idempotency-key')],
  );
  return OrdersController;
}

/** Makes the response about as long as an order's is: 0.4 KB. */
const NOTE = 'leave it with the neighbour, please; '.repeat(8);
