import {
  Body,
  Controller,
  Delete,
  Get,
  Headers,
  HttpCode,
  HttpException,
  HttpStatus,
  Param,
  Patch,
  Post,
  Put,
  Res,
} from '@nestjs/common';
import type { Response } from 'express';
import { CurrentIdempotency, Idempotent } from 'nestjs-idempotency';
import type { IdempotencyContext } from 'nestjs-idempotency';
import { CurrentUser } from '../auth/current-user.decorator.js';
import type { DemoUser } from '../auth/users.js';
import { ORDER_PLACED, orderPlaced } from '../messaging/order-placed.js';
import { OrderIdPipe } from './order-id.pipe.js';
import { orderView, showOrder } from './order.view.js';
import type { OrderView } from './order.view.js';
import { ChangeOrder, PlaceOrder, SetNote } from './orders.dto.js';
import { OrdersService } from './orders.service.js';

@Controller('orders')
export class OrdersController {
  constructor(private readonly orders: OrdersService) {}

  /**
   * Every call would place another order: only the client's key tells a retry from a new wish. All of it is in
   * our own database, so the order, what it takes off the shelf, the message about it and the key's record commit
   * together.
   */
  @Post()
  @Idempotent({ mode: 'transactional' })
  async place(
    @CurrentUser() user: DemoUser,
    @Body() dto: PlaceOrder,
    @CurrentIdempotency() once: IdempotencyContext,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OrderView> {
    const order = await this.orders.place(user.tenant, dto);
    await once.outbox.emit(ORDER_PLACED, orderPlaced(order));
    response.location(`/orders/${order.id}`);
    return showOrder(order, response);
  }

  @Get()
  async list(@CurrentUser() user: DemoUser): Promise<OrderView[]> {
    return (await this.orders.list(user.tenant)).map(orderView);
  }

  @Get(':id')
  async get(
    @CurrentUser() user: DemoUser,
    @Param('id', OrderIdPipe) id: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OrderView> {
    return showOrder(await this.orders.get(user.tenant, id), response);
  }

  /** Needs no key: once the order has changed, its version has too, and a retry gets 412. */
  @Patch(':id')
  async change(
    @CurrentUser() user: DemoUser,
    @Param('id', OrderIdPipe) id: string,
    @Headers('if-match') ifMatch: string | undefined,
    @Body() dto: ChangeOrder,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OrderView> {
    if (!ifMatch) {
      throw new HttpException(
        'Send the ETag of the order that you have read as If-Match.',
        HttpStatus.PRECONDITION_REQUIRED,
      );
    }
    return showOrder(await this.orders.change(user.tenant, id, ifMatch, dto), response);
  }

  /** Needs no key: setting the same note twice leaves the same note. */
  @Put(':id/note')
  async setNote(
    @CurrentUser() user: DemoUser,
    @Param('id', OrderIdPipe) id: string,
    @Body() dto: SetNote,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OrderView> {
    return showOrder(await this.orders.setNote(user.tenant, id, dto.note), response);
  }

  /** Needs no key: an order that is gone stays gone. */
  @Delete(':id')
  @HttpCode(HttpStatus.NO_CONTENT)
  async delete(@CurrentUser() user: DemoUser, @Param('id', OrderIdPipe) id: string): Promise<void> {
    await this.orders.delete(user.tenant, id);
  }

  /** Its state protects it already, so the key is welcome and not required. */
  @Post(':id/cancel')
  @HttpCode(HttpStatus.OK)
  @Idempotent({ required: false })
  async cancel(
    @CurrentUser() user: DemoUser,
    @Param('id', OrderIdPipe) id: string,
    @Res({ passthrough: true }) response: Response,
  ): Promise<OrderView> {
    return showOrder(await this.orders.cancel(user.tenant, id), response);
  }
}
