import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { defer, finalize, type Observable } from 'rxjs';
import { transportOf, type TransportContext } from '../read-message.js';
import { RabbitDelivery } from './delivery.js';

/**
 * For handlers that are not decorated beside one that is: both are given the same delivery, and a channel on which it
 * is settled twice is closed. It keeps nothing, as classes may belong to many applications.
 */
export const siblingInterceptor: NestInterceptor = {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'rpc' || transportOf(context) !== 'rabbitmq') {
      return next.handle();
    }
    const rabbit = context.switchToRpc().getContext<Required<TransportContext>>();
    const delivery = RabbitDelivery.of(rabbit as never);
    return defer(() => {
      delivery.siblingBegins();
      return next.handle();
    }).pipe(finalize(() => delivery.siblingEnds()));
  },
};
