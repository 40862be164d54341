import { jittered, pause } from '../../engine/timing.js';
import type { IncomingMessage } from '../incoming-message.js';
import { refusalOf } from '../refusal.js';
import { retryAfterMs, type Ended, type Settlement } from '../settlement.js';

/** `@golevelup/nestjs-rabbitmq` acknowledges by what the handler answers; a `Nack` is an answer. */
export class GolevelupSettlement implements Settlement {
  constructor(
    private readonly message: IncomingMessage,
    private readonly closing: AbortSignal,
  ) {}

  isRejected(_operation: string | undefined, value: unknown): boolean {
    return isNack(value);
  }

  async settle({ end, retryMs }: Ended): Promise<unknown> {
    switch (end.type) {
      case 'done':
        // a subscriber's answer only makes golevelup wonder
        return end.isReplay && !this.message.isRequest ? undefined : end.value;
      case 'rejected':
        return end.isParked ? nack(false) : end.value;
      case 'failed':
        if (end.isParked) {
          return nack(false);
        }
        if (end.isReplay && !this.message.isRequest) {
          return undefined;
        }
        // its default is to requeue at once, and again
        await pause(retryMs, this.closing);
        throw end.error;
      case 'refused': {
        const refusal = refusalOf(end.error.code);
        if (refusal === 'done' && !this.message.isRequest) {
          return undefined;
        }
        const comesAgain = refusal === 'later';
        if (comesAgain) {
          await pause(jittered(retryAfterMs(end.error)), this.closing);
        }
        return nack(comesAgain);
      }
    }
  }
}

/** Not a name that the compiler looks up: only applications that use the package have it. */
const GOLEVELUP: string = '@golevelup/nestjs-rabbitmq';

async function nack(comesAgain: boolean): Promise<object> {
  const { Nack } = (await import(GOLEVELUP)) as { Nack: new (requeue: boolean) => object };
  return new Nack(comesAgain);
}

function isNack(value: unknown): boolean {
  return (
    value !== null &&
    typeof value === 'object' &&
    (value.constructor as { name?: string } | undefined)?.name === 'Nack' &&
    'requeue' in value
  );
}
