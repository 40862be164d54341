import { Column, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';

/** How much of an article is left. */
@Entity({ name: 'chaos_stock' })
export class Stock {
  @PrimaryColumn({ type: 'varchar', length: 20 })
  sku!: string;

  @Column({ type: 'int' })
  quantity!: number;
}

/** What was sold: one row for every time that an intent has had its effect. */
@Entity({ name: 'chaos_ledger' })
export class LedgerEntry {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column({ type: 'varchar', length: 80 })
  intent!: string;

  /** Made anew by every run, so that two runs never look alike. */
  @Column({ type: 'varchar', length: 36 })
  nonce!: string;

  @Column({ type: 'varchar', length: 20 })
  sku!: string;

  @Column({ type: 'int' })
  amount!: number;

  @Column({ type: 'varchar', length: 10 })
  variant!: string;

  @Column({ type: 'varchar', length: 20 })
  fence!: string;
}
