import type { EntityManager, FindOptionsWhere } from 'typeorm';
import { Order } from './order.entity.js';

/**
 * Checks and changes an order in one statement: of two that start from the same state only one
 * answers true. Checking first and writing afterwards would let both through.
 */
export async function updateOrder(
  manager: EntityManager,
  where: FindOptionsWhere<Order>,
  changes: Partial<Omit<Order, 'id' | 'tenant' | 'version'>>,
): Promise<boolean> {
  const { affected } = await manager.update(Order, where, {
    ...changes,
    version: () => 'version + 1',
  });
  return affected === 1;
}
