import { Column, Entity, PrimaryColumn } from 'typeorm';

/** One line in the books of the shop: what an order was paid with. */
@Entity({ name: 'payment' })
export class Payment {
  @PrimaryColumn({ name: 'order_id', type: 'varchar', length: 36 })
  orderId!: string;

  /** By what the provider knows it. */
  @Column({ name: 'charge_id', type: 'varchar', length: 36 })
  chargeId!: string;

  @Column({ name: 'amount_cents', type: 'int' })
  amountCents!: number;
}
