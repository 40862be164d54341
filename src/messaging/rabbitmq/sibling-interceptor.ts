import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { MessageHandlers } from '../message-handlers.js';
import { transportOf, type TransportContext } from '../read-message.js';
import { RabbitDelivery } from './delivery.js';
import { RollCall } from './roll-call.js';

/**
 * For handlers that are not decorated beside one that is: both are given the same delivery, and a channel on which it
 * is settled twice is closed. Classes may belong to many applications, and only in some of them has a handler such
 * siblings.
 */
@Injectable()
export class SiblingInterceptor implements NestInterceptor {
  private handlers: MessageHandlers | null | undefined;

  constructor(@Inject(ModuleRef) private readonly moduleRef: ModuleRef) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() !== 'rpc' || transportOf(context) !== 'rabbitmq') {
      return next.handle();
    }
    const rabbit = context.switchToRpc().getContext<Required<TransportContext>>();
    const decorated = this.ofApplication()?.ofEvent(String(rabbit.getPattern())) ?? 0;
    return decorated === 0 ? next.handle() : from(beside(decorated, rabbit, next));
  }

  /** Its own, or none where it has no IdempotencyModule. */
  private ofApplication(): MessageHandlers | null | undefined {
    if (this.handlers === undefined) {
      try {
        this.handlers = this.moduleRef.get(MessageHandlers, { strict: false });
      } catch {
        this.handlers = null;
      }
    }
    return this.handlers;
  }
}

/** As with those that are decorated, nobody's subscription is listened to, and there is always a value. */
async function beside(
  decorated: number,
  rabbit: Required<TransportContext>,
  next: CallHandler,
): Promise<unknown> {
  const delivery = RabbitDelivery.of(rabbit as never);
  delivery.siblingBegins();
  try {
    return await lastValueFrom(next.handle(), { defaultValue: undefined });
  } catch (error) {
    await RollCall.of(rabbit.getMessage() as object, decorated).everybodyIsThere();
    throw error;
  } finally {
    delivery.siblingEnds();
  }
}
