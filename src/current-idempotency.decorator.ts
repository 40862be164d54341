import { createParamDecorator } from '@nestjs/common';
import { calls } from './call-context.js';

/**
 * The `IdempotencyContext` of the running operation: attempt, fence, abort signal, derived keys.
 * `undefined` in a request without a key, where the key is optional.
 */
export const CurrentIdempotency = createParamDecorator(() => calls.getStore()?.once);
