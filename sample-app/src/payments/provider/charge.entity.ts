import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One line in the provider's ledger: what became of one of its idempotency keys, for good. */
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

  @Column({ type: 'varchar', length: 16, default: 'charged' })
  state!: 'charged' | 'declined';
}
