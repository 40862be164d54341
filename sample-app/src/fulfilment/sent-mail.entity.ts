import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** The mail that has left the house. */
@Entity({ name: 'sent_mail' })
export class SentMail {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column({ name: 'order_id', type: 'varchar', length: 36 })
  orderId!: string;

  @Column({ type: 'varchar', length: 200 })
  subject!: string;
}
