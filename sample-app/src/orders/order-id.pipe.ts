import { Injectable, NotFoundException, ParseUUIDPipe } from '@nestjs/common';

/** What is no UUID is the id of no order. */
@Injectable()
export class OrderIdPipe extends ParseUUIDPipe {
  constructor() {
    super({ exceptionFactory: () => new NotFoundException('There is no such order.') });
  }
}
