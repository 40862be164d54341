import type { IncomingMessage } from './incoming-message.js';
import { refusalOf } from './refusal.js';
import type { Ended, Settlement } from './settlement.js';

/** Kafka commits what a handler returns from, and comes again with what it throws. */
export class KafkaSettlement implements Settlement {
  constructor(private readonly message: IncomingMessage) {}

  isRejected(): boolean {
    return false;
  }

  async settle({ end }: Ended): Promise<unknown> {
    switch (end.type) {
      case 'done':
      case 'rejected':
        return end.value;
      case 'failed':
        if ((end.isParked || end.isReplay) && !this.message.isRequest) {
          return undefined; // it goes no further, and those behind it do
        }
        throw end.error;
      case 'refused': {
        const { error } = end;
        const refusal = refusalOf(error.code);
        if (refusal === 'wrong' || (this.message.isRequest && refusal !== 'later')) {
          throw error;
        }
        if (refusal === 'later' && !this.message.isRequest) {
          const { KafkaRetriableException } = await import('@nestjs/microservices');
          throw new KafkaRetriableException(`${error.code}: ${error.message}`);
        }
        if (refusal === 'later') {
          throw error;
        }
        return undefined; // it would block its partition for ever
      }
    }
  }
}
