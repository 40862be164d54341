import { Body, Controller, HttpCode, HttpStatus, Param, Post, Res } from '@nestjs/common';
import type { Response } from 'express';
import { CurrentIdempotency, Idempotent } from 'nestjs-idempotency';
import type { IdempotencyContext } from 'nestjs-idempotency';
import { CurrentUser } from '../auth/current-user.decorator.js';
import type { DemoUser } from '../auth/users.js';
import { OrderIdPipe } from '../orders/order-id.pipe.js';
import { showOrder } from '../orders/order.view.js';
import type { OrderView } from '../orders/order.view.js';
import { PayOrder } from './pay-order.dto.js';
import { PaymentsService } from './payments.service.js';

@Controller('orders')
export class PaymentsController {
  constructor(private readonly payments: PaymentsService) {}

  /**
   * Money moves at another company, which no transaction of ours can undo: so it is done in steps, and a retry
   * goes on where the attempt before it stopped. A declined payment (402) is an outcome too, and is replayed.
   */
  @Post(':id/pay')
  @HttpCode(HttpStatus.OK)
  @Idempotent({ lease: '5s', errors: 'store-client-errors' })
  async pay(
    @CurrentUser() user: DemoUser,
    @Param('id', OrderIdPipe) orderId: string,
    @Body() dto: PayOrder,
    @CurrentIdempotency() once: IdempotencyContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OrderView> {
    const order = await this.payments.pay(user.tenant, orderId, dto.simulate ?? {}, once);
    return showOrder(order, response);
  }
}
