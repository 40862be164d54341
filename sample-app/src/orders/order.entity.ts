import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** `paying` is held by one payment key, so that two payments of one order never overlap. */
export type OrderState = 'placed' | 'paying' | 'paid' | 'cancelled';

@Entity({ name: 'orders' })
@Index('orders_tenant_placed_at', ['tenant', 'placedAt'])
export class Order {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id!: string;

  @Column({ type: 'varchar', length: 64 })
  tenant!: string;

  @Column({ type: 'varchar', length: 64 })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;

  @Column({ name: 'total_cents', type: 'int' })
  totalCents!: number;

  @Column({ type: 'varchar', length: 16 })
  state!: OrderState;

  @Column({ type: 'varchar', length: 500 })
  note!: string;

  /** The provider's idempotency key of the payment that holds, or paid, this order; or nothing. */
  @Column({ name: 'payment_key', type: 'varchar', length: 255 })
  paymentKey!: string;

  /** Rises with every change; the ETag of the order. */
  @Column({ type: 'int' })
  version!: number;

  /** ISO 8601 in UTC: the same text in every database, and it sorts by time. */
  @Column({ name: 'placed_at', type: 'varchar', length: 24 })
  placedAt!: string;
}
