import { Reflector } from '@nestjs/core';

/** Marks a route that needs no token. */
export const IS_PUBLIC = Reflector.createDecorator<void, true>({ transform: () => true });
export const Public = (): MethodDecorator & ClassDecorator => IS_PUBLIC();
