import { ConflictException, Injectable, NotFoundException } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { Stock } from './stock.entity.js';

/** What is on the shelves. Never below zero: the check and the change are one statement. */
@Injectable()
export class Inventory {
  /** Answers the price of the taken units in cents. 404 for an unknown sku, 409 when sold out. */
  async take(manager: EntityManager, sku: string, units: number): Promise<number> {
    const { affected } = await manager
      .createQueryBuilder()
      .update(Stock)
      .set({ quantity: () => 'quantity - :units' })
      .where('sku = :sku AND quantity >= :units', { sku, units })
      .execute();
    const stock = await manager.findOneBy(Stock, { sku });
    if (!stock) {
      throw new NotFoundException(`There is no "${sku}" in this shop.`);
    }
    if (!affected) {
      throw new ConflictException(`There is not enough "${sku}" in stock.`);
    }
    return stock.priceCents * units;
  }

  async putBack(manager: EntityManager, sku: string, units: number): Promise<void> {
    await manager.increment(Stock, { sku }, 'quantity', units);
  }
}
