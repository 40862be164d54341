import { Column, Entity, PrimaryColumn } from 'typeorm';

/** One time that the provider was asked to charge. */
@Entity({ name: 'charge_attempt' })
export class ChargeAttempt {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id!: string;

  @Column({ name: 'idempotency_key', type: 'varchar', length: 255 })
  idempotencyKey!: string;
}
