import { Column, Entity, PrimaryColumn } from 'typeorm';

@Entity({ name: 'stock' })
export class Stock {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;

  @Column({ name: 'price_cents', type: 'int' })
  priceCents!: number;
}
