import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

@Entity({ name: 'receipt' })
export class Receipt {
  @PrimaryGeneratedColumn()
  number!: number;

  @Column({ name: 'order_id', type: 'varchar', length: 36 })
  orderId!: string;

  @Column({ name: 'total_cents', type: 'int' })
  totalCents!: number;
}
