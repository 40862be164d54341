import type { ExecutionContext } from '@nestjs/common';
import type { IncomingMessage } from './incoming-message.js';

/** Options of `@Idempotent()` that message handlers take besides the common ones. */
export interface MessageOptions {
  /**
   * The stable name that the handler's messages are remembered under. Two handlers of one event have one each.
   * @default `Class.method`; renaming either forgets what was processed
   */
  consumer?: string;
  /**
   * Where a message's id is looked for when no header and no id of the transport brings one: the path of a field
   * of the payload, such as `'order.id'`. A function is asked first of all, and alone.
   * @default header `idempotency-key`, CloudEvents id with its source, the transport's message id
   */
  messageId?: string | ((message: IncomingMessage, context: ExecutionContext) => unknown);
  /**
   * Kafka: takes `topic:partition:offset` for the id when there is no other. It recognises redeliveries, but not a
   * message that its producer sent twice.
   * @default false
   */
  kafkaPosition?: boolean;
}

/** The same with every default filled in. */
export interface MessageSettings {
  readonly consumer: string;
  readonly messageId: MessageOptions['messageId'];
  readonly kafkaPosition: boolean;
}
