import { Controller, HttpCode, HttpStatus, Param, Post } from '@nestjs/common';
import { CurrentUser } from '../auth/current-user.decorator.js';
import type { DemoUser } from '../auth/users.js';
import { OrderIdPipe } from '../orders/order-id.pipe.js';
import { OrdersService } from '../orders/orders.service.js';
import { Receipts } from './receipts.js';
import type { IssuedReceipt } from './receipts.js';

@Controller('orders')
export class ReceiptsController {
  constructor(
    private readonly orders: OrdersService,
    private readonly receipts: Receipts,
  ) {}

  /** Needs no key: what it calls has one of its own. */
  @Post(':id/receipt')
  @HttpCode(HttpStatus.OK)
  async issue(
    @CurrentUser() user: DemoUser,
    @Param('id', OrderIdPipe) id: string,
  ): Promise<IssuedReceipt> {
    return this.receipts.issue(await this.orders.get(user.tenant, id));
  }
}
