import { jittered, pause } from '../../engine/timing.js';
import type { IncomingMessage } from '../incoming-message.js';
import { refusalOf } from '../refusal.js';
import { isParked, retryAfterMs, type Ended, type Settlement } from '../settlement.js';

/** `@golevelup/nestjs-rabbitmq` acknowledges by what the handler answers; a `Nack` is an answer. */
export class GolevelupSettlement implements Settlement {
  constructor(
    private readonly message: IncomingMessage,
    private readonly closing: AbortSignal,
  ) {}

  isRejected(_operation: string | undefined, value: unknown): boolean {
    return isNack(value);
  }

  async settle({ end, retryMs, onExhausted }: Ended): Promise<unknown> {
    if (isParked(end)) {
      // to a request an acknowledgement would be an answer
      const isDone = onExhausted === 'park' && !this.message.isRequest;
      return isDone ? undefined : nack(false);
    }
    switch (end.type) {
      case 'done':
        // a subscriber's answer only makes golevelup wonder
        return end.isReplay && !this.message.isRequest ? undefined : end.value;
      case 'rejected':
        return end.value;
      case 'failed':
        if (end.isReplay && !this.message.isRequest) {
          return undefined;
        }
        // its default is to requeue at once, and again
        await this.putOff(retryMs);
        throw end.error;
      case 'refused': {
        const refusal = refusalOf(end.error.code);
        if (refusal === 'done' && !this.message.isRequest) {
          return undefined;
        }
        const comesAgain = refusal === 'later';
        if (comesAgain) {
          await this.putOff(jittered(retryAfterMs(end.error)));
        }
        return nack(comesAgain);
      }
    }
  }

  private async putOff(ms: number): Promise<void> {
    await pause(ms, this.closing);
    if (this.closing.aborted) {
      await pause(CLOSING_MS);
    }
  }
}

/**
 * How long a delivery is held while the application closes. Given back at once it would come straight back, until
 * golevelup cancels its consumers, and held for good it would keep golevelup from closing.
 */
const CLOSING_MS = 1_000;

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
