import { randomUUID } from 'node:crypto';
import {
  ConflictException,
  Injectable,
  NotFoundException,
  PreconditionFailedException,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { In, Repository } from 'typeorm';
import type { EntityManager } from 'typeorm';
import { Transactions } from '../database/transactions.js';
import { Inventory } from './inventory.js';
import { Order } from './order.entity.js';
import { etag } from './order.view.js';
import type { ChangeOrder, PlaceOrder } from './orders.dto.js';
import { updateOrder } from './update-order.js';

const LIST_LIMIT = 100;
const CHANGED_MEANWHILE = 'The order has changed: read it again and repeat with its new ETag.';

/** Orders of one tenant at a time: those of another one do not exist for the caller. */
@Injectable()
export class OrdersService {
  constructor(
    @InjectRepository(Order) private readonly orders: Repository<Order>,
    private readonly inventory: Inventory,
    private readonly transactions: Transactions,
  ) {}

  /**
   * Part of a transactional operation, or of the transaction that `manager` belongs to: when the shelf turns out to
   * be empty, there is no order either.
   */
  async place(
    tenant: string,
    { sku, quantity }: PlaceOrder,
    manager = this.orders.manager,
  ): Promise<Order> {
    const order: Order = {
      id: randomUUID(),
      tenant,
      sku,
      quantity,
      totalCents: (await this.inventory.priceOf(manager, sku)) * quantity,
      state: 'placed',
      note: '',
      paymentKey: '',
      version: 1,
      placedAt: new Date().toISOString(),
    };
    await manager.insert(Order, order);
    await this.inventory.take(manager, sku, quantity);
    return order;
  }

  list(tenant: string): Promise<Order[]> {
    return this.orders.find({
      where: { tenant },
      order: { placedAt: 'DESC', id: 'ASC' },
      take: LIST_LIMIT,
    });
  }

  get(tenant: string, id: string): Promise<Order> {
    return this.read(this.orders.manager, tenant, id);
  }

  /** Changes the order only if it is still the version that the caller has seen. */
  change(tenant: string, id: string, ifMatch: string, changes: ChangeOrder): Promise<Order> {
    return this.transactions.run(async (manager) => {
      const order = await this.read(manager, tenant, id);
      const tags = ifMatch.split(',').map((tag) => tag.trim());
      if (!tags.includes('*') && !tags.includes(etag(order))) {
        throw new PreconditionFailedException(CHANGED_MEANWHILE);
      }
      const note = changes.note ?? order.note;
      const quantity = changes.quantity ?? order.quantity;
      const totalCents = (order.totalCents / order.quantity) * quantity;
      if (quantity !== order.quantity && order.state !== 'placed') {
        throw new ConflictException(`The order is ${order.state}: its quantity is final.`);
      }
      const { version } = order;
      if (!(await updateOrder(manager, { id, version }, { quantity, totalCents, note }))) {
        throw new PreconditionFailedException(CHANGED_MEANWHILE);
      }
      if (quantity > order.quantity) {
        await this.inventory.take(manager, order.sku, quantity - order.quantity);
      } else if (quantity < order.quantity) {
        await this.inventory.putBack(manager, order.sku, order.quantity - quantity);
      }
      return this.read(manager, tenant, id);
    });
  }

  setNote(tenant: string, id: string, note: string): Promise<Order> {
    return this.transactions.run(async (manager) => {
      const order = await this.read(manager, tenant, id);
      if (order.note === note) {
        return order;
      }
      await updateOrder(manager, { id }, { note });
      return this.read(manager, tenant, id);
    });
  }

  /** An order that is cancelled already stays as it is: its units go back to the shelf once. */
  cancel(tenant: string, id: string): Promise<Order> {
    return this.transactions.run(async (manager) => {
      await this.cancelPlaced(manager, tenant, id);
      const order = await this.read(manager, tenant, id);
      if (order.state !== 'cancelled') {
        throw new ConflictException(`The order is ${order.state}: it can not be cancelled.`);
      }
      return order;
    });
  }

  /** Does nothing for an order that is gone already. */
  delete(tenant: string, id: string): Promise<void> {
    return this.transactions.run(async (manager) => {
      await this.cancelPlaced(manager, tenant, id);
      await manager.delete(Order, { id, tenant, state: In(['cancelled', 'paid']) });
      if (await manager.existsBy(Order, { id, tenant })) {
        throw new ConflictException('The order is being paid: it can not be deleted now.');
      }
    });
  }

  private async cancelPlaced(manager: EntityManager, tenant: string, id: string): Promise<void> {
    if (await updateOrder(manager, { id, tenant, state: 'placed' }, { state: 'cancelled' })) {
      // Read after the update, which locked the row: nobody changes its quantity meanwhile.
      const order = await this.read(manager, tenant, id);
      await this.inventory.putBack(manager, order.sku, order.quantity);
    }
  }

  private async read(manager: EntityManager, tenant: string, id: string): Promise<Order> {
    const order = await manager.findOneBy(Order, { id, tenant });
    if (!order) {
      throw new NotFoundException('There is no such order.');
    }
    return order;
  }
}
