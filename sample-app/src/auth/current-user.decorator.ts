import { createParamDecorator } from '@nestjs/common';
import type { ExecutionContext } from '@nestjs/common';
import type { AuthenticatedRequest, DemoUser } from './users.js';

/** The user that the bearer guard found. */
export const CurrentUser = createParamDecorator(
  (_data: unknown, context: ExecutionContext): DemoUser =>
    context.switchToHttp().getRequest<AuthenticatedRequest>().user,
);
