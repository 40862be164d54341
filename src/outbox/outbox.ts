import { Injectable } from '@nestjs/common';
import { calls } from '../call-context.js';
import type { OutgoingMessages, OutgoingOptions } from '../engine/outgoing.js';
import { integer, show } from '../option-values.js';
import { misconfigured } from '../options-check.js';
import type { ParkedMessage } from './message.js';
import type { OutboxCore } from './outbox-core.js';

export interface ListParkedOptions {
  /**
   * Messages per page, 1 to 1,000.
   * @default 100
   */
  readonly limit?: number;
  /** The `position` of the last message of the page before. */
  readonly after?: string;
}

/** Writes messages, and shows operators those that could not be sent. */
@Injectable()
export class Outbox implements OutgoingMessages {
  private core: OutboxCore | undefined;

  /** @internal when the application has started */
  open(core: OutboxCore): void {
    this.core = core;
  }

  /**
   * Writes a message, as `once.outbox.emit()` does: inside of an operation as one of its messages, with an id
   * derived from its key; elsewhere with a random id.
   *
   * @throws as `once.outbox.emit()`
   */
  async emit(pattern: string, payload: unknown, options?: OutgoingOptions): Promise<string> {
    const call = calls.getStore();
    if (call?.isShared === true && !call.isOver) {
      throw misconfigured(
        'Outbox.emit()',
        'it is called for many items of a batch at once, and cannot know whose message it is. Write ' +
          'item.once.outbox.emit(…), with the item that it tells of.',
      );
    }
    const messages =
      call?.once !== undefined && !call.isOver ? call.once.outbox : this.opened().writer;
    return messages.emit(pattern, payload, options);
  }

  /**
   * Messages whose attempts are used up, in the order in which they were written.
   *
   * @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` for options that are none, `…_STORE_UNAVAILABLE`
   */
  async listParked(options: ListParkedOptions = {}): Promise<ParkedMessage[]> {
    const { limit = 100, after } = options;
    const instead = integer(1, 1_000)(limit);
    if (instead !== undefined) {
      throw misconfigured('Outbox.listParked()', `option 'limit' is ${show(limit)}. ${instead}`);
    }
    if (after !== undefined && !/^\d{1,16}$/.test(after)) {
      throw misconfigured(
        'Outbox.listParked()',
        `option 'after' is ${show(after)}. Write the position of the last message of the page before.`,
      );
    }
    return this.opened().table.parked(limit, after);
  }

  /** @internal The oldest messages that are still to be sent. */
  pending(limit: number): Promise<ParkedMessage[]> {
    return this.opened().table.pending(limit);
  }

  /** Lets a parked message be sent again, with all its attempts. False when there is none with this id. */
  async redrive(id: string): Promise<boolean> {
    const { table, wakeUp } = this.opened();
    const isDriven = await table.redrive(id);
    wakeUp.call();
    return isDriven;
  }

  /** Deletes a parked message, which lets those behind it go. False when there is none with this id. */
  async discard(id: string): Promise<boolean> {
    const { table, wakeUp } = this.opened();
    const isGone = await table.discard(id);
    wakeUp.call();
    return isGone;
  }

  private opened(): OutboxCore {
    if (this.core === undefined) {
      throw misconfigured(
        'Outbox',
        'it was used before the application was initialised. Call `await app.init()` (or `app.listen()`) first.',
      );
    }
    return this.core;
  }
}
