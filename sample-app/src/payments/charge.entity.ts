import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One line in the provider's ledger: money that was taken. */
@Entity({ name: 'charge' })
export class Charge {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id!: string;

  @Index('charge_idempotency_key', { unique: true })
  @Column({ name: 'idempotency_key', type: 'varchar', length: 255 })
  idempotencyKey!: string;

  @Column({ name: 'order_id', type: 'varchar', length: 36 })
  orderId!: string;

  @Column({ name: 'amount_cents', type: 'int' })
  amountCents!: number;
}
