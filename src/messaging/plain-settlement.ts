import type { IncomingMessage } from './incoming-message.js';
import { refusalOf } from './refusal.js';
import type { Ended, Settlement } from './settlement.js';

/**
 * For transports that deliver once and know nothing of acknowledgements: requests get what there is to tell, and an
 * event that was processed before, or is being processed elsewhere, is skipped.
 */
export class PlainSettlement implements Settlement {
  constructor(private readonly message: IncomingMessage) {}

  isRejected(): boolean {
    return false;
  }

  settle({ end }: Ended): unknown {
    switch (end.type) {
      case 'done':
      case 'rejected':
        return end.value;
      case 'failed':
        if (end.isReplay && !this.message.isRequest) {
          return undefined; // processed before, and told of then
        }
        throw end.error;
      case 'refused': {
        const { code } = end.error;
        const isElsewhere = code === 'IDEMPOTENCY_IN_PROGRESS' || refusalOf(code) === 'done';
        if (isElsewhere && !this.message.isRequest) {
          return undefined;
        }
        throw end.error;
      }
    }
  }
}
