import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** No constraint keeps an order from being reserved twice: only the library does. */
@Entity({ name: 'reservation' })
export class Reservation {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column({ name: 'order_id', type: 'varchar', length: 36 })
  orderId!: string;

  @Column({ type: 'varchar', length: 64 })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;
}
