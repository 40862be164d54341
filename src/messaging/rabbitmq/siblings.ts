import { Inject, Injectable, UseInterceptors } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { MessageHandlers } from '../message-handlers.js';
import { SiblingInterceptor } from './sibling-interceptor.js';

/** Classes may belong to many applications. */
const bound = new WeakSet<object>();

/** Gives the handlers that stand beside decorated ones their interceptor, before Nest reads what is bound to them. */
@Injectable()
export class RabbitSiblings {
  constructor(
    @Inject(MessageHandlers) handlers: MessageHandlers,
    @Inject(ModuleRef) moduleRef: ModuleRef,
  ) {
    const interceptor = new SiblingInterceptor(moduleRef);
    for (const { module, prototype, name, value } of handlers.siblings) {
      if (!bound.has(value)) {
        bound.add(value);
        UseInterceptors(SiblingInterceptor)(prototype, name, { value });
      }
      // this application was scanned before it was bound, or Nest has one already
      if (!module.injectables.has(SiblingInterceptor)) {
        module.addInjectable({ provide: SiblingInterceptor, useValue: interceptor }, 'interceptor');
      }
    }
  }
}
