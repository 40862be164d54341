import { ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Stock } from './stock.entity.js';

/** What is on the shelves. */
@Injectable()
export class Inventory {
  /** In cents, for one unit. 404 for an unknown sku. */
  async priceOf(manager: EntityManager, sku: string): Promise<number> {
    const stock = await manager.findOneBy(Stock, { sku });
    if (!stock) {
      throw new NotFoundException(`There is no "${sku}" in this shop.`);
    }
    return stock.priceCents;
  }

  /** Never below zero: the check and the change are one statement. 409 when there is not enough. */
  async take(manager: EntityManager, sku: string, units: number): Promise<void> {
    const { affected } = await manager
      .createQueryBuilder()
      .update(Stock)
      .set({ quantity: () => 'quantity - :units' })
      .where('sku = :sku AND quantity >= :units', { sku, units })
      .execute();
    if (!affected) {
      throw new ConflictException(`There is not enough "${sku}" in stock.`);
    }
  }

  async putBack(manager: EntityManager, sku: string, units: number): Promise<void> {
    await manager.increment(Stock, { sku }, 'quantity', units);
  }
}
