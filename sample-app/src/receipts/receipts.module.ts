import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { OrdersModule } from '../orders/orders.module.js';
import { Receipt } from './receipt.entity.js';
import { ReceiptsController } from './receipts.controller.js';
import { Receipts } from './receipts.js';

@Module({
  imports: [TypeOrmModule.forFeature([Receipt]), OrdersModule],
  controllers: [ReceiptsController],
  providers: [Receipts],
})
export class ReceiptsModule {}
