import { setTimeout } from 'node:timers/promises';
import { Body, Controller, Headers, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { decorate, decorateMethod } from './decorate.mjs';
import { Sale, Stock, sell } from './shop.mjs';

/** What the handler waits for. */
const WORK = {
  /** nothing: what is measured is the library's alone */
  none: async () => {},
  /** a small wait, as for another service, in which duplicates can overtake */
  pause: () => setTimeout(5),
  /** as long as the order says, if it says so */
  asked: async ({ order: { waitMs } }) => waitMs && setTimeout(waitMs),
  /** one row in one commit, the least that an order costs */
  insert: ({ dataSource, order: { item, quantity } }) =>
    dataSource.query(`INSERT INTO bench_order (item, quantity) VALUES ('${item}', ${quantity})`),
  /** two statements that belong together, and somebody else sees to that */
  sell: ({ dataSource, order, key }) => sell(dataSource.manager, order, key),
  /** the same in a transaction of the handler's own */
  sellInTransaction: ({ dataSource, order, key }) =>
    dataSource.transaction((manager) => sell(manager, order, key)),
  /** one row, and then a wait: in a transaction, if there is one around it */
  sellSlowly: async ({ dataSource, order: { quantity }, key, workMs }) => {
    await dataSource.getRepository(Sale).insert({ key, quantity });
    await setTimeout(workMs);
  },
  /** a look, and then a wait without a connection */
  readSlowly: async ({ dataSource, workMs }) => {
    await dataSource.getRepository(Stock).findOneBy({ id: 1 });
    await setTimeout(workMs);
  },
};

const WITHOUT_DATABASE = ['none', 'pause', 'asked'];

/** `POST /orders`, the same for every contender; `decorators` are what protects it. */
export function ordersController(decorators, effects, { work: name = 'none', workMs }) {
  const work = WORK[name];
  const needsDatabase = !WITHOUT_DATABASE.includes(name);

  class OrdersController {
    constructor(dataSource) {
      this.dataSource = dataSource;
    }

    async place(order, key) {
      const number = await effects.add(key);
      await work({ dataSource: this.dataSource, order, key, workMs });
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
