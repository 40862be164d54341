import { jittered } from '../../engine/timing.js';
import type { IncomingMessage } from '../incoming-message.js';
import { refusalOf } from '../refusal.js';
import { isParked, retryAfterMs, type Ended, type Settlement } from '../settlement.js';
import type { RabbitDelivery } from './delivery.js';
import { ACK, DEAD_LETTER, requeue, type Verdict } from './verdict.js';

/** For `noAck: false`: the delivery is settled for the handler, skipped duplicates included. */
export class RabbitSettlement implements Settlement {
  constructor(
    private readonly message: IncomingMessage,
    private readonly delivery: RabbitDelivery,
    /** How many handlers settle it together. */
    private readonly handlers: number,
    private readonly closing: AbortSignal,
  ) {}

  isRejected(operation: string | undefined): boolean {
    return this.delivery.saidBy(operation)?.type === 'nack';
  }

  settle(ended: Ended): unknown {
    const { end, operation } = ended;
    const said = this.delivery.saidBy(operation);
    // an acknowledgement of the handler holds for what is durable only, which is acknowledged anyway
    const verdict = said?.type === 'nack' && !isParked(end) ? said : this.verdict(ended);
    this.delivery.end(verdict, this.handlers, this.closing);
    switch (end.type) {
      case 'done':
      case 'rejected':
        return end.value;
      case 'failed':
        throw end.error;
      case 'refused':
        if (this.message.isRequest) {
          throw end.error;
        }
        return undefined;
    }
  }

  private verdict({ end, retryMs, onExhausted }: Ended): Verdict {
    if (this.message.isRequest) {
      return ACK; // who asked is told, and asks again
    }
    if (isParked(end)) {
      return onExhausted === 'park' ? ACK : DEAD_LETTER;
    }
    switch (end.type) {
      case 'done':
        return ACK;
      case 'rejected':
        return requeue(retryMs);
      case 'failed':
        return end.isReplay ? ACK : requeue(retryMs);
      case 'refused': {
        const { error } = end;
        switch (refusalOf(error.code)) {
          case 'done':
            return ACK;
          case 'later':
            return requeue(jittered(retryAfterMs(error)));
          default:
            return DEAD_LETTER;
        }
      }
    }
  }
}
