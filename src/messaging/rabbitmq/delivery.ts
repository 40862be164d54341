import { Logger } from '@nestjs/common';
import { calls } from '../../call-context.js';
import { pause } from '../../engine/timing.js';
import { ACK, DEAD_LETTER, requeue, together, type Verdict } from './verdict.js';

/** The part of an amqplib channel that settles deliveries. */
interface Channel {
  ack(message: object, allUpTo?: boolean): void;
  nack(message: object, allUpTo?: boolean, requeue?: boolean): void;
  reject(message: object, requeue?: boolean): void;
}

interface RabbitContext {
  getArgs(): unknown[];
  getMessage(): object;
}

const deliveries = new WeakMap<object, RabbitDelivery>();
const logger = new Logger('Idempotency');

/**
 * One delivery of RabbitMQ that the consumer has to settle (`noAck: false`), shared by all its handlers. What a
 * handler says to the channel is taken down, and carried out once when every one of them has ended: settled twice,
 * a delivery closes its channel.
 */
export class RabbitDelivery {
  private readonly said = new Map<string | undefined, Verdict>();
  private readonly ended: Verdict[] = [];
  private readonly channel: Channel;
  /** Handlers that are not decorated, and run. */
  private siblings = 0;
  private carriesOut: (() => void) | undefined;

  static of(context: RabbitContext): RabbitDelivery {
    const message = context.getMessage();
    const delivery = deliveries.get(message) ?? new RabbitDelivery(context, message);
    deliveries.set(message, delivery);
    return delivery;
  }

  private constructor(
    context: RabbitContext,
    private readonly message: object,
  ) {
    const args = context.getArgs();
    this.channel = args[1] as Channel;
    // the handlers get their channel from here
    args[1] = this.listening();
  }

  /** What the handler of this operation has said to the channel, if anything. */
  saidBy(operation: string | undefined): Verdict | undefined {
    return this.said.get(operation);
  }

  siblingBegins(): void {
    this.siblings += 1;
  }

  siblingEnds(): void {
    this.siblings -= 1;
    this.carryOutWhenAllEnded();
  }

  /**
   * One of its handlers has ended, and its outcome is durable.
   *
   * @param handlers how many of them tell this
   */
  end(verdict: Verdict, handlers: number, closing: AbortSignal): void {
    this.ended.push(verdict);
    if (this.ended.length === handlers) {
      this.carriesOut = () => {
        const unprotected = this.said.get(undefined);
        const verdicts = unprotected ? [...this.ended, unprotected] : this.ended;
        void this.carryOut(together(verdicts), closing);
      };
      this.carryOutWhenAllEnded();
    }
  }

  private carryOutWhenAllEnded(): void {
    if (this.siblings === 0) {
      const { carriesOut } = this;
      this.carriesOut = undefined;
      carriesOut?.();
    }
  }

  private async carryOut(verdict: Verdict, closing: AbortSignal): Promise<void> {
    if (verdict.type === 'nack' && verdict.delayMs > 0) {
      await pause(verdict.delayMs, closing);
    }
    if (verdict.type === 'nack' && verdict.requeue && closing.aborted) {
      // given back now, it would come straight back to us; the closing of the channel gives it to others
      return;
    }
    try {
      if (verdict.type === 'ack') {
        this.channel.ack(this.message);
      } else {
        this.channel.nack(this.message, false, verdict.requeue);
      }
    } catch {
      // the channel was lost, and with it the delivery: it comes again, and is a duplicate then
      logger.debug('A delivery of RabbitMQ could not be settled, because its channel is closed.');
    }
  }

  private listening(): Channel {
    const take = (message: object, verdict: Verdict, pass: () => void): void => {
      if (message !== this.message) {
        return pass();
      }
      this.said.set(handlersOperation(), verdict);
    };
    const { channel } = this;
    const own: Channel = {
      ack: (message, allUpTo) => take(message, ACK, () => channel.ack(message, allUpTo)),
      nack: (message, allUpTo, again = true) =>
        take(message, again ? requeue(0) : DEAD_LETTER, () =>
          channel.nack(message, allUpTo, again),
        ),
      reject: (message, again = true) =>
        take(message, again ? requeue(0) : DEAD_LETTER, () => channel.reject(message, again)),
    };
    return new Proxy(channel, {
      get: (target, name) => {
        if (Object.hasOwn(own, name)) {
          return own[name as keyof Channel];
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }
}

/** Of the handler, however many operations it has begun inside of its own. */
function handlersOperation(): string | undefined {
  let call = calls.getStore();
  while (call?.outer !== undefined) {
    call = call.outer;
  }
  return call?.operation?.id;
}
