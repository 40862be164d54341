import { Injectable, UnauthorizedException } from '@nestjs/common';
import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { IS_PUBLIC } from './public.decorator.js';
import { DEMO_USERS } from './users.js';
import type { AuthenticatedRequest } from './users.js';

/** Guards run before interceptors: the idempotency key of a refused caller is never claimed. */
@Injectable()
export class BearerGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    if (this.reflector.getAllAndOverride(IS_PUBLIC, [context.getHandler(), context.getClass()])) {
      return true;
    }
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    const token = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    const user = token === undefined ? undefined : DEMO_USERS.get(token);
    if (!user) {
      throw new UnauthorizedException(
        'Send "Authorization: Bearer alice" or "Authorization: Bearer bob".',
      );
    }
    request.user = user;
    return true;
  }
}
